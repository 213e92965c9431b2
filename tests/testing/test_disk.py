"""The simulated disk: what is synced survives, what is not is there whole or not at all."""

from __future__ import annotations

from random import Random

import pytest

from conflux.errors import DiskFull, StorageFailed
from conflux.raft.entry import Entry, Kind
from conflux.testing.clock import Schedule, SimulatedClock
from conflux.testing.disk import DiskKnobs, Platter, SimulatedCrash, SimulatedDisk

ENTRIES = (Entry(1, 1, Kind.NOOP, b"a"), Entry(2, 1, Kind.RECORDS, b"b"))


class Bench:
    def __init__(self, **knobs) -> None:
        self.platter = Platter()
        self.platter.knobs = DiskKnobs(**knobs)
        self.clock = SimulatedClock(Schedule())
        self.random = Random(1)
        self.written: list[tuple] = []
        self.disk = self.open()

    def open(self) -> SimulatedDisk:
        return SimulatedDisk(self.platter, self.clock, self.random, lambda *write: self.written.append(write))

    def persist(self, term: int = 1) -> None:
        self.disk.persist(term=term, vote="me", entries=ENTRIES, commit_index=1)


def test_what_is_synced_survives():
    bench = Bench()
    bench.persist()
    bench.disk.record_facts({"self": b"me"})
    again = bench.open()
    restored = again.restored()
    assert (restored.term, restored.vote, restored.commit_index, restored.last_index) == (1, "me", 1, 2)
    assert again.read(1, 2, 100) == [*ENTRIES]
    assert again.facts() == {"self": b"me"}
    assert bench.platter.entry(2) == ENTRIES[1]
    assert bench.platter.entry(3) is None
    assert bench.written == [(1, "me", ENTRIES)]


@pytest.mark.parametrize("kept", [0.0, 1.0])
def test_a_crash_in_the_middle_of_a_write_keeps_all_or_nothing(kept):
    bench = Bench(crash=1.0, kept=kept)
    with pytest.raises(SimulatedCrash):
        bench.persist()
    restored = bench.open().restored()
    assert (restored.term, restored.vote, restored.last_index) == ((1, "me", 2) if kept else (0, None, 0))
    assert len(bench.written) == int(kept)


def test_no_program_survives_a_crash():
    assert not issubclass(SimulatedCrash, Exception)


def test_a_full_disk_writes_nothing_and_takes_the_same_write_later():
    bench = Bench()
    bench.platter.full_until_s = 1002.0
    with pytest.raises(DiskFull):
        bench.persist()
    with pytest.raises(DiskFull):
        bench.disk.record_facts({"a": b""})
    assert bench.open().restored().term == 0
    bench.clock.work(2.0)
    bench.disk = bench.open()
    bench.persist()
    assert bench.open().restored().term == 1


def test_a_failing_disk_ends_the_node():
    bench = Bench(failure=1.0)
    with pytest.raises(StorageFailed) as raised:
        bench.persist()
    assert not isinstance(raised.value, DiskFull)


def test_a_sync_takes_time():
    bench = Bench(sync_s=0.25)
    bench.persist()
    assert bench.clock.busy_s == 0.25
    bench.platter.knobs = DiskKnobs(sync_s=0.0, slow=1.0, slow_s_max=2.0)
    bench.disk.record_facts({"a": b""})
    assert 0.25 < bench.clock.busy_s < 2.25
    bench.platter.stalled_until_s = 1010.0
    bench.disk.record_facts({"a": b""})
    assert bench.clock.true_s == 1010.0
