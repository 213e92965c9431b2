"""A node that comes back with a long log serves again soon: the time grows with the log, not with its square."""

from __future__ import annotations

import time
from collections.abc import Callable

from conflux.raft.entry import Entry, Kind
from conflux.storage.lmdb_storage import LmdbStorage
from conflux.store.records import noop_payload
from tests.faults.cluster import FaultCluster

ENTRIES = 20_000
SECONDS_MAX = 15.0


def lengthen_log(cluster: FaultCluster, label: str, count: int) -> None:
    """Add committed entries to the log of a stopped node."""
    storage = LmdbStorage.open(cluster.directory / label, create=False)
    try:
        restored = storage.restored()
        last = storage.read(restored.last_index, restored.last_index, 1)[0]
        entries = []
        for _ in range(count):
            payload = noop_payload(last.payload, app_version=1, wall_time_us=0)
            last = Entry(last.index + 1, restored.term, Kind.NOOP, payload)
            entries.append(last)
        storage.persist(term=restored.term, vote=restored.vote, entries=entries, commit_index=last.index)
    finally:
        storage.close()


def test_a_node_folds_a_long_log_in_time_that_grows_with_its_length(make_cluster: Callable[..., FaultCluster]) -> None:
    cluster = make_cluster(1)
    cluster.client.perform("append", "before", timeout=20)
    cluster.kill("n1")
    lengthen_log(cluster, "n1", ENTRIES)
    began_s = time.monotonic()
    cluster.start(seconds=round(SECONDS_MAX))
    assert cluster.client.get_state(timeout=SECONDS_MAX)["length"] == 1
    assert time.monotonic() - began_s < SECONDS_MAX
