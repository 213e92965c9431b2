"""A node that comes back with a long log reads each entry of it once, however small the slices in which it folds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from msgspec import structs

from conflux.node.clock import SystemClock
from conflux.node.replica import Replica
from conflux.node.slowness import Slowness
from conflux.raft.entry import Entry, Kind
from conflux.raft.options import Options
from conflux.storage.lmdb_storage import LmdbStorage
from conflux.store.machine import Machine
from conflux.store.membership import Member, Membership
from conflux.store.records import noop_payload
from tests.faults.cluster import FaultCluster
from tests.faults.journal import app

ENTRIES = 20_000


def lengthen_log(directory: Path, count: int) -> int:
    """Add committed entries to the log of a node that rests; gives the last one's index."""
    storage = LmdbStorage.open(directory, create=False)
    try:
        restored = storage.restored()
        index, payload = restored.last_index, None
        if index:
            payload = storage.read(index, index, 1)[0].payload
        term, entries = max(restored.term, 1), []
        for _ in range(count):
            index += 1
            payload = noop_payload(payload, app_version=1, wall_time_us=0)
            entries.append(Entry(index, term, Kind.NOOP, payload))
        storage.persist(term=term, vote=restored.vote, entries=entries, commit_index=index)
        return index
    finally:
        storage.close()


class Counting:
    """A storage that counts what is read from it."""

    def __init__(self, storage: LmdbStorage) -> None:
        self.entries_read = 0
        self._storage = storage

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def read(self, first: int, last: int, bytes_max: int) -> list[Entry]:
        entries = self._storage.read(first, last, bytes_max)
        self.entries_read += len(entries)
        return entries


class Silent:
    """An observer to whom nothing is news."""

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *_news: None


def test_each_entry_is_read_once_though_one_is_folded_at_a_time(tmp_path: Path) -> None:
    LmdbStorage.open(tmp_path / "n1", create=True).close()
    lengthen_log(tmp_path / "n1", ENTRIES)
    storage = Counting(LmdbStorage.open(tmp_path / "n1", create=False))
    replica = Replica(
        identity="a",
        options=Options(),
        storage=storage,  # type: ignore[arg-type]
        app=app,
        machine=structs.replace(Machine.initial(app), membership=Membership.made_of([Member("a", "n1", "key")])),
        clock=SystemClock(),
        random=Random(1),
        send=lambda envelope: None,
        observer=Silent(),  # type: ignore[arg-type]
        slow_disk_s=1.0,
        slowness=Slowness(1.0),
    )
    replica.flush()
    slices = 0
    while replica.is_behind:
        replica.apply(0.0)
        slices += 1
    storage.close()
    entries = ENTRIES + 1  # a node alone leads at once: its term's first entry comes on top
    assert (slices, replica.machine.index, storage.entries_read) == (entries, entries, entries)


def test_a_node_with_a_long_log_serves_again(make_cluster: Callable[..., FaultCluster]) -> None:
    cluster = make_cluster(1)
    cluster.client.perform("append", "before", timeout=20)
    cluster.kill("n1")
    last = lengthen_log(cluster.directory / "n1", ENTRIES)
    cluster.start()
    assert cluster.client.get_state(timeout=20)["length"] == 1
    assert cluster.rows()["n1"]["commit_index"] > last
