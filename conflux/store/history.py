"""Committed actions of the past, out of the log. A revision's entry is found by binary search over headers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from conflux.raft.entry import Entry
from conflux.store.records import Calls, header_of, method_names, next_revision_of, records_of
from conflux.wire.clients import Event

ReadEntries = Callable[[int, int, int], Sequence[Entry]]  # (first, last, most bytes) → entries, at least one


def entry_of_revision(read: ReadEntries, first: int, last: int, revision: int) -> int:
    """Index of the first entry in first..last that ends at `revision` or later; `last` + 1 where none does."""
    low, high = first, last + 1
    while low < high:
        middle = (low + high) // 2
        if next_revision_of(read(middle, middle, 1)[0].payload) > revision:
            high = middle
        else:
            low = middle + 1
    return low


def events_of(entry: Entry) -> list[Event]:
    """The actions that an entry dispatched, in order."""
    header = header_of(entry.payload)
    if not header.actions:
        return []
    events: list[Event] = []
    revision = header.first_revision
    for record in records_of(entry.payload):
        if not isinstance(record, Calls):
            continue
        for method, outcome in zip(method_names(record), record.outcomes, strict=True):
            if type(outcome) is bytes:
                events.append(Event(revision, entry.index, entry.term, header.wall_time_us, method, outcome))
                revision += 1
    return events
