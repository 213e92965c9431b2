"""The memory twin of `LmdbStorage`: the same promises and refusals, for nodes that live in one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from msgspec import structs

from conflux.errors import Closed, Damaged
from conflux.raft.entry import Entry, Kind
from conflux.raft.invariant import invariant
from conflux.storage import layout
from conflux.storage.interface import Restored
from conflux.storage.layout import HardState
from conflux.storage.memory_snapshots import MemorySnapshots
from conflux.storage.rules import check_base, check_persist, check_range, next_hard_state, usable


class MemoryStorage:
    """`conflux.storage.interface.Storage` without a disk. What it holds is gone with the last reference to it."""

    def __init__(self) -> None:
        """A new node's storage: all zeros."""
        self._hard = HardState()
        self._log: list[Entry] = []
        self._facts: dict[str, bytes] = {}
        self._snapshots = MemorySnapshots()
        self._closed = False
        self._restored = Restored()

    def reopened(self) -> MemoryStorage:
        """What a restart would find: a new storage with this one's content. This one is closed."""
        twin = MemoryStorage()
        twin._hard = self._hard
        twin._log = list(self._log)
        twin._facts = dict(self._facts)
        twin._restored = twin._found()
        twin._snapshots = twin._usable(self._snapshots)
        twin._restored = replace(twin._restored, commit_index=twin._known_committed())
        twin._hard = structs.replace(twin._hard, commit_index=twin._restored.commit_index)
        self.close()
        return twin

    def restored(self) -> Restored:
        """What was there when it was made."""
        self._check_usable()
        return self._restored

    def persist(self, *, term: int, vote: str | None, entries: Sequence[Entry], commit_index: int) -> None:
        """Keep term, vote, commit index and `entries`; see `Storage.persist`."""
        self._check_usable()
        hard = next_hard_state(self._hard, term, vote, commit_index)
        check_persist(self._hard, hard, self._last_index, entries, self._term_at)
        if entries:
            del self._log[self._position(entries[0].index) :]
            self._log.extend(entries)
        self._hard = hard

    def read(self, first: int, last: int, bytes_max: int) -> list[Entry]:
        """Entries first..last; see `Storage.read`. Raises KeyError if `first` isn't in the log."""
        self._check_usable()
        check_range(first, last)
        if not self._hard.snapshot_index < first <= self._last_index:
            raise KeyError(first)
        if first == last:
            return [self._log[self._position(first)]]
        entries: list[Entry] = []
        payload_bytes = 0
        for entry in self._log[self._position(first) : self._position(last) + 1]:
            payload_bytes += len(entry.payload)
            if entries and payload_bytes > bytes_max:
                break
            entries.append(entry)
        return entries

    @property
    def snapshots(self) -> MemorySnapshots:
        """The snapshots; see `Storage.snapshots`."""
        self._check_usable()
        return self._snapshots

    def install_base(self, index: int, term: int, *, keep_log: bool) -> None:
        """Let the log begin after `index`; see `Storage.install_base`."""
        self._check_usable()
        if (index, term) == (self._hard.snapshot_index, self._hard.snapshot_term):
            return
        check_base(self._hard, index, term, self._last_index, self._term_at, keep_log=keep_log)
        invariant(self._snapshots.holds(index, term), "the log begins after a finished snapshot")
        self._log = self._log[self._position(index) + 1 :] if keep_log else []
        commit_index = max(self._hard.commit_index, index)
        self._hard = structs.replace(self._hard, snapshot_index=index, snapshot_term=term, commit_index=commit_index)

    def compact_some(self) -> bool:
        """Nothing is left behind here."""
        self._check_usable()
        return False

    def facts(self) -> dict[str, bytes]:
        """The facts that were recorded."""
        self._check_usable()
        return dict(self._facts)

    def record_facts(self, facts: Mapping[str, bytes]) -> None:
        """Keep these facts beside those that are there."""
        self._check_usable()
        for name in facts:
            layout.fact_key(name)  # refuses what the disk would refuse
        self._facts.update((name, bytes(content)) for name, content in facts.items())

    def reached(self) -> tuple[int, int]:
        """(index, term) of the snapshot behind which the log begins; zeros where it begins with the first entry."""
        return self._hard.snapshot_index, self._hard.snapshot_term

    def close(self) -> None:
        """Refuse further use. Calling twice is harmless."""
        self._closed = True

    @property
    def _last_index(self) -> int:
        return self._hard.snapshot_index + len(self._log)

    def _position(self, index: int) -> int:
        return index - self._hard.snapshot_index - 1

    def _term_at(self, index: int) -> int:
        return self._hard.snapshot_term if index == self._hard.snapshot_index else self._log[self._position(index)].term

    def _check_usable(self) -> None:
        if self._closed:
            raise Closed("the storage was closed")

    def _usable(self, snapshots: MemorySnapshots) -> MemorySnapshots:
        """Those that a restart finds."""
        headers = usable(snapshots.all(), self._restored, self._term_at)
        if self._hard.snapshot_index and not headers:
            raise Damaged(f"the log begins after entry {self._hard.snapshot_index}, and no snapshot reaches to it")
        return MemorySnapshots([each for each in snapshots.finished() if each.header in headers])

    def _known_committed(self) -> int:
        """What a snapshot includes was committed."""
        return max([self._hard.commit_index, *(header.index for header in self._snapshots.all())])

    def _found(self) -> Restored:
        term_starts: list[tuple[int, int]] = []
        for entry in self._log:
            if not term_starts or entry.term > term_starts[-1][1]:
                term_starts.append((entry.index, entry.term))
        return Restored(
            term=self._hard.term,
            vote=self._hard.vote,
            commit_index=self._hard.commit_index,
            snapshot_index=self._hard.snapshot_index,
            snapshot_term=self._hard.snapshot_term,
            last_index=self._last_index,
            last_term=self._log[-1].term if self._log else self._hard.snapshot_term,
            term_starts=tuple(term_starts),
            membership_indices=tuple(entry.index for entry in self._log if entry.kind is Kind.MEMBERSHIP),
        )
