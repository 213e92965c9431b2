"""What must hold for a write, whatever it is written to. Pure, and shared by the disk and its memory twin."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from conflux import limits
from conflux.raft.entry import Entry
from conflux.raft.invariant import invariant
from conflux.storage.interface import Restored, SnapshotHeader
from conflux.storage.layout import HardState


def check_persist(
    before: HardState, after: HardState, last_index: int, entries: Sequence[Entry], term_at: Callable[[int], int]
) -> None:
    """Raise InvariantViolated unless `entries` may be written over a log that ends at `last_index`.

    Args:
        term_at: the term of the entry at an index of the log, or of the snapshot at its index.
    """
    if after.term != before.term or after.vote != before.vote:
        invariant(after.term >= before.term, "the term never goes back")
        invariant(after.term <= limits.NUMBER_MAX, "terms stay far from a wrap")
        invariant(after.term > before.term or before.vote is None, "a vote is never changed within its term")
    if entries:
        _check_entries(before, after, last_index, entries, term_at)
    last_index = entries[-1].index if entries else last_index
    invariant(after.commit_index <= last_index, "the commit index never runs ahead of the log")


def next_hard_state(before: HardState, term: int, vote: str | None, commit_index: int) -> HardState:
    """The hard state after a persist. A commit index that lags is taken for what it is: no news."""
    return replace(before, term=term, vote=vote, commit_index=max(before.commit_index, commit_index))


def check_base(
    before: HardState, index: int, term: int, last_index: int, term_at: Callable[[int], int], *, keep_log: bool
) -> None:
    """Raise InvariantViolated unless the log may begin after `index`; see `Storage.install_base`."""
    invariant(index >= before.snapshot_index, "the base never goes back")
    invariant(term >= before.snapshot_term, "terms of bases never go back")
    invariant(term <= before.term, "no base is of a term that the node hasn't reached")
    invariant(index <= limits.NUMBER_MAX, "indices stay far from a wrap")
    held = index <= last_index and term_at(index) == term
    invariant(held == keep_log, "the log is kept where it holds the snapshot's last entry, and only there")
    invariant(held or index > before.commit_index, "a committed entry is never dropped for a snapshot before it")


def usable(
    headers: Iterable[SnapshotHeader], restored: Restored, term_at: Callable[[int], int]
) -> list[SnapshotHeader]:
    """Those snapshots, newest first, from which the log goes on; `restored` says what the log is."""
    return sorted(
        (
            header
            for header in headers
            if restored.snapshot_index <= header.index <= restored.last_index and term_at(header.index) == header.term
        ),
        key=lambda header: header.index,
        reverse=True,
    )


def check_header(header: SnapshotHeader) -> None:
    """Raise InvariantViolated unless a snapshot may have this header."""
    numbers = (header.index, header.term, header.revision)
    invariant(all(0 <= number <= limits.NUMBER_MAX for number in numbers), "a header's numbers stay far from a wrap")
    invariant(header.index > 0, "a snapshot includes an entry")
    invariant(len(header.fields) <= limits.SNAPSHOT_FIELDS_BYTES_MAX, "a header's fields are small")


def check_chunk(chunk: bytes) -> None:
    """Raise InvariantViolated unless this may be a chunk of a snapshot."""
    invariant(0 < len(chunk) <= limits.SNAPSHOT_CHUNK_BYTES, "a chunk has a byte, and not too many")


def check_range(first: int, last: int) -> None:
    """Raise InvariantViolated unless first..last is a range of indices."""
    invariant(first <= last, "a range of the log begins at or before its end")


def _check_entries(
    before: HardState, after: HardState, last_index: int, entries: Sequence[Entry], term_at: Callable[[int], int]
) -> None:
    first = entries[0].index
    invariant(first > before.snapshot_index, "entries below the snapshot are never written")
    invariant(first > before.commit_index, "a committed entry is never replaced")
    invariant(first <= last_index + 1, "the log has no gap")
    invariant(entries[-1].index <= limits.NUMBER_MAX, "indices stay far from a wrap")
    previous_term = term_at(first - 1)
    for expected_index, entry in enumerate(entries, first):
        invariant(entry.index == expected_index, "the entries of one write are contiguous")
        invariant(entry.term >= previous_term, "terms in the log never go back")
        previous_term = entry.term
    invariant(previous_term <= after.term, "no entry is of a term that the node hasn't reached")
