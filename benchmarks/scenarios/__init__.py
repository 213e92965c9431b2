"""What is measured besides throughput: each scenario gives rows, a flat dict each.

`SCENARIOS` has them by name; `python -m benchmarks.run --only NAME` runs one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from benchmarks.scenarios.context import Context
from benchmarks.scenarios.failover import failover
from benchmarks.scenarios.generator import generator
from benchmarks.scenarios.growth import action_sizes, cluster_sizes, state_sizes
from benchmarks.scenarios.reads import reads
from benchmarks.scenarios.recovery import catch_up, recovery
from benchmarks.scenarios.start_up import start_up
from benchmarks.scenarios.syncs import syncs
from benchmarks.scenarios.watchers import watchers

SCENARIOS: dict[str, Callable[[Context], list[dict[str, Any]]]] = {
    "failover": failover,
    "recovery": recovery,
    "catch-up": catch_up,
    "reads": reads,
    "watchers": watchers,
    "start-up": start_up,
    "cluster-sizes": cluster_sizes,
    "action-sizes": action_sizes,
    "state-sizes": state_sizes,
    "syncs": syncs,
    "generator": generator,
}
