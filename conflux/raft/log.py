"""The replicated log as the core sees it: all terms, the newest entries, and a reader for the rest.

Rule: entries above `stable_index` are not on this node's disk yet and are always held here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from conflux.raft.entry import Entry
from conflux.raft.invariant import invariant
from conflux.raft.terms import TermRuns


class EntryReader(Protocol):
    """Reads entries that are on disk."""

    def read(self, first: int, last: int, bytes_max: int) -> Sequence[Entry]:
        """Entries from `first` on, at least one, none past `last`, as many as `bytes_max` of payload allows."""
        ...


class Log:
    """Indices run from `first_index` to `last_index`; what came before is in a snapshot."""

    def __init__(
        self,
        reader: EntryReader,
        *,
        snapshot_index: int = 0,
        snapshot_term: int = 0,
        last_index: int = 0,
        term_starts: tuple[tuple[int, int], ...] = (),
        cache_bytes_max: int,
    ) -> None:
        self.snapshot_index = snapshot_index
        self.snapshot_term = snapshot_term
        self.last_index = last_index
        self.stable_index = last_index
        self._reader = reader
        self._terms = TermRuns(term_starts)
        self._cache: list[Entry] = []  # the log's end, without a gap
        self._cache_bytes = 0
        self._cache_bytes_max = cache_bytes_max

    @property
    def first_index(self) -> int:
        return self.snapshot_index + 1

    @property
    def last_term(self) -> int:
        return self.term_at(self.last_index)

    @property
    def term_starts(self) -> tuple[tuple[int, int], ...]:
        return self._terms.runs()

    @property
    def terms_rise(self) -> bool:
        """True where each run of equal terms begins later than the one before it, with a later term: always."""
        return self._terms.rise()

    @property
    def _cache_first(self) -> int:
        return self.last_index + 1 - len(self._cache)

    def term_at(self, index: int) -> int:
        """Term of the entry at `index`, which is the snapshot's index or in the log."""
        if index == self.snapshot_index:
            return self.snapshot_term
        invariant(self.snapshot_index < index <= self.last_index, "only entries of the log have a term")
        return self._terms.at(index)

    def matches(self, index: int, term: int) -> bool:
        """True where this log holds an entry of `term` at `index` (the consistency check of section 5.3)."""
        return self.snapshot_index <= index <= self.last_index and self.term_at(index) == term

    def first_index_of_term_at(self, index: int) -> int:
        """First index in the log of the term that the entry at `index` has."""
        if index <= self.snapshot_index:
            return self.first_index
        return max(self._terms.first_index_of_run(index), self.first_index)

    def last_index_at_or_below_term(self, term: int) -> int:
        """Highest index whose entry has a term of at most `term`; the snapshot's where there is none."""
        return max(self._terms.last_index_at_or_below(term, self.last_index), self.snapshot_index)

    def append(self, entry: Entry) -> None:
        """Add an entry behind the last one."""
        invariant(entry.index == self.last_index + 1, "an entry follows the last one")
        self._terms.append(entry.index, entry.term)
        self._cache.append(entry)
        self._cache_bytes += len(entry.payload)
        self.last_index = entry.index

    def truncate_from(self, first: int) -> None:
        """Drop all entries from `first` on."""
        invariant(first > self.snapshot_index, "a snapshot's entries are committed and stay")
        kept = max(0, first - self._cache_first)
        self._cache_bytes -= sum(len(entry.payload) for entry in self._cache[kept:])
        del self._cache[kept:]
        self._terms.truncate(first)
        self.last_index = first - 1
        self.stable_index = min(self.stable_index, self.last_index)

    def compact(self, index: int) -> None:
        """A snapshot includes all entries up to `index`: the log begins behind it."""
        invariant(self.snapshot_index <= index <= self.stable_index, "a log is cut inside of what is on disk")
        self.snapshot_term = self.term_at(index)
        self.snapshot_index = index
        gone = max(0, index + 1 - self._cache_first)
        self._cache_bytes -= sum(len(entry.payload) for entry in self._cache[:gone])
        del self._cache[:gone]
        self._terms.forget(index)

    def reset(self, index: int, term: int) -> None:
        """A snapshot takes the place of the whole log."""
        self.snapshot_index, self.snapshot_term = index, term
        self.last_index = self.stable_index = index
        self._cache, self._cache_bytes = [], 0
        self._terms = TermRuns()

    def entries(self, first: int, last: int, bytes_max: int) -> tuple[Entry, ...]:
        """Entries from `first` on, at least one, none past `last`, as many as `bytes_max` of payload allows."""
        invariant(self.snapshot_index < first <= last <= self.last_index, "only entries of the log are read")
        cache_first = self._cache_first
        if first < cache_first:
            return tuple(self._reader.read(first, min(last, cache_first - 1), bytes_max))
        start = stop = first - cache_first
        size = 0
        while stop <= last - cache_first:
            size += len(self._cache[stop].payload)
            if size > bytes_max and stop > start:
                break
            stop += 1
        return tuple(self._cache[start:stop])

    def unstable(self) -> tuple[Entry, ...]:
        """The entries that are not on this node's disk yet."""
        return tuple(self._cache[self.stable_index + 1 - self._cache_first :])

    def last_payload(self) -> bytes | None:
        """Payload of the last entry; None in an empty log."""
        if self.last_index == self.snapshot_index:
            return None
        return self.entries(self.last_index, self.last_index, 1)[0].payload

    def forget(self, applied_index: int) -> None:
        """Free cached entries, oldest first, that are on disk and applied, once the cache is over its limit."""
        if self._cache_bytes <= self._cache_bytes_max:
            return
        count, spare = 0, min(applied_index, self.stable_index) + 1 - self._cache_first
        while count < spare and self._cache_bytes > self._cache_bytes_max // 2:
            self._cache_bytes -= len(self._cache[count].payload)
            count += 1
        del self._cache[:count]
