"""What must hold for a write, whatever it is written to. Pure, and shared by the disk and its memory twin."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from conflux import limits
from conflux.raft.entry import Entry
from conflux.raft.invariant import invariant
from conflux.storage.layout import HardState


def check_persist(
    before: HardState, after: HardState, last_index: int, entries: Sequence[Entry], term_at: Callable[[int], int]
) -> None:
    """Raise InvariantViolated unless `entries` may be written over a log that ends at `last_index`.

    Args:
        term_at: the term of the entry at an index of the log, or of the snapshot at its index.
    """
    invariant(after.term >= before.term, "the term never goes back")
    invariant(after.term <= limits.NUMBER_MAX, "terms stay far from a wrap")
    invariant(
        after.term > before.term or before.vote is None or after.vote == before.vote,
        "a vote is never changed within its term",
    )
    if entries:
        _check_entries(before, after, last_index, entries, term_at)
    last_index = entries[-1].index if entries else last_index
    invariant(after.commit_index <= last_index, "the commit index never runs ahead of the log")


def next_hard_state(before: HardState, term: int, vote: str | None, commit_index: int) -> HardState:
    """The hard state after a persist. A commit index that lags is taken for what it is: no news."""
    return replace(before, term=term, vote=vote, commit_index=max(before.commit_index, commit_index))


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
