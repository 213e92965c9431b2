"""A disk in one thread: what is synced survives a crash, and much may go wrong on the way there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from conflux.errors import DiskFull, StorageFailed
from conflux.raft.entry import Entry
from conflux.storage.interface import Restored
from conflux.storage.memory import MemoryStorage
from conflux.storage.memory_snapshots import MemorySnapshots
from conflux.testing.clock import SimulatedClock

READ_ENTRIES_MAX = 64
TORN = 0.3  # of the transactions that a crash does not keep, these are there in part


class SimulatedCrash(BaseException):
    """The machine dies here. No program can catch that; the simulation does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskKnobs:
    """How bad a disk is. Chances are per write; the defaults are a good disk."""

    sync_s: float = 0.0001
    slow: float = 0.0  # chance of a sync to take up to `slow_s_max`
    slow_s_max: float = 0.1
    crash: float = 0.0  # chance of the machine to die in the middle of a write
    failure: float = 0.0  # chance of the disk to refuse, for good
    kept: float = 0.5  # chance of such a transaction to be there afterwards: whole or not at all, it is one


class Platter:
    """What stays of a disk while machines come and go."""

    def __init__(self) -> None:
        self.knobs = DiskKnobs()
        self.counts: Counter[str] = Counter()
        self.storage = MemoryStorage()
        self.full_until_s = 0.0
        self.stalled_until_s = 0.0  # no sync returns before

    def entry(self, index: int) -> Entry | None:
        """The entry that a restart would find at `index`."""
        try:
            return self.storage.read(index, index, 1)[0]
        except KeyError:
            return None

    def term_at(self, index: int) -> int | None:
        """Term of the entry at `index`, or of the snapshot that ends there; None where the log holds neither."""
        restored = self.storage.reached()
        if index == restored[0]:
            return restored[1]
        entry = self.entry(index)
        return entry.term if entry is not None else None

    def holds(self, entry: Entry) -> bool:
        """True where a restart would find this committed entry, or a snapshot that includes it."""
        return entry.index <= self.storage.reached()[0] or self.entry(entry.index) == entry


Written = Callable[[int, "str | None", Sequence[Entry]], None]


class SimulatedDisk:
    """One opening of a platter, as `Storage`.

    Args:
        written: told of each write that reached the platter: term, vote, entries.
    """

    def __init__(self, platter: Platter, clock: SimulatedClock, random: Random, written: Written) -> None:
        platter.storage = platter.storage.reopened()
        self.syncs = 0
        self._platter = platter
        self._clock = clock
        self._random = random
        self._written = written

    def restored(self) -> Restored:
        """See `Storage`."""
        return self._platter.storage.restored()

    def persist(self, *, term: int, vote: str | None, entries: Sequence[Entry], commit_index: int) -> None:
        """See `Storage`."""

        def write() -> None:
            self._platter.storage.persist(term=term, vote=vote, entries=entries, commit_index=commit_index)
            self._written(term, vote, entries)

        self._sync(write)

    def read(self, first: int, last: int, bytes_max: int) -> list[Entry]:
        """See `Storage`."""
        return self._platter.storage.read(first, min(last, first + READ_ENTRIES_MAX - 1), bytes_max)

    @property
    def snapshots(self) -> MemorySnapshots:
        """See `Storage`."""
        return self._platter.storage.snapshots

    def install_base(self, index: int, term: int, *, keep_log: bool) -> None:
        """See `Storage`."""
        self._sync(lambda: self._platter.storage.install_base(index, term, keep_log=keep_log))

    def compact_some(self) -> bool:
        """See `Storage`."""
        return self._platter.storage.compact_some()

    def facts(self) -> dict[str, bytes]:
        """See `Storage`."""
        return self._platter.storage.facts()

    def record_facts(self, facts: Mapping[str, bytes]) -> None:
        """See `Storage`."""
        self._sync(lambda: self._platter.storage.record_facts(facts))

    def close(self) -> None:
        """See `Storage`; what a restart finds stays."""

    def _sync(self, write: Callable[[], None]) -> None:
        platter, random = self._platter, self._random
        knobs = platter.knobs
        if self._clock.true_s < platter.full_until_s:
            platter.counts["writes refused: disk full"] += 1
            raise DiskFull("no space left on the simulated disk")
        self._clock.work(knobs.sync_s)
        if knobs.slow and random.random() < knobs.slow:
            platter.counts["slow syncs"] += 1
            self._clock.work(random.random() * knobs.slow_s_max)
        self._clock.work(max(0.0, platter.stalled_until_s - self._clock.true_s))
        ends_badly = random.random() if knobs.crash or knobs.failure else 1.0
        if ends_badly >= knobs.crash + knobs.failure:
            self.syncs += 1
            write()
            return
        kept = random.random() < knobs.kept
        if kept:
            write()
        if ends_badly < knobs.crash:
            # A torn transaction is found out by its checksum, and counts as lost: LMDB goes on from the page before.
            lost = "torn" if random.random() < TORN else "lost"
            platter.counts[f"crashes during a write, {'kept' if kept else lost}"] += 1
            raise SimulatedCrash
        platter.counts["disk failures"] += 1
        raise StorageFailed("input/output error of the simulated disk")
