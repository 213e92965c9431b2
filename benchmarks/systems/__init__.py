"""What can be measured: each system starts a cluster of N processes on loopback, and drives it.

`SYSTEMS` has them all, in the order in which they take turns.
"""

from __future__ import annotations

from benchmarks.systems.cluster import Cluster
from benchmarks.systems.conflux_js import ConfluxJs
from benchmarks.systems.embedded import ConfluxInside
from benchmarks.systems.etcd import Etcd
from benchmarks.systems.given import GivenPrototype
from benchmarks.systems.outside import ConfluxOutside
from benchmarks.systems.prototype import DataPath
from benchmarks.systems.pysyncobj import PySyncObjDefault, PySyncObjTuned
from benchmarks.systems.redis import Redis

SYSTEMS: dict[str, type[Cluster]] = {
    each.name: each
    for each in (
        ConfluxOutside,
        Etcd,
        Redis,
        ConfluxInside,
        DataPath,
        GivenPrototype,
        PySyncObjTuned,
        PySyncObjDefault,
        ConfluxJs,
    )
}
