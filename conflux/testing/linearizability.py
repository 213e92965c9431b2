"""Linearizability, where the order is known: each operation has a slot in it, and real time must agree with the slots.

For an append-only list the order is known from the list itself (`check_append_only`): if each append adds a value never
used before, the longest list read *is* the order. Both checks are exact, and take n log n.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from conflux.testing.violation import require


@dataclass(frozen=True, slots=True)
class Slotted:
    """An operation with its place in the order; those of one slot may be in any order among themselves."""

    slot: int
    invoked_s: float
    returned_s: float  # infinite where nobody was told
    what: Any


@dataclass(frozen=True, slots=True)
class Append:
    """A client appended a value."""

    value: Any
    invoked_s: float
    returned_s: float = inf
    acknowledged: bool = True


@dataclass(frozen=True, slots=True)
class ListRead:
    """A client read the list."""

    values: Sequence[Any]
    invoked_s: float
    returned_s: float


def check_real_time(operations: Sequence[Slotted]) -> None:
    """No operation returned before one with a lower slot was even invoked."""
    latest: Slotted | None = None  # invoked last, among those of strictly lower slots
    ordered = sorted(operations, key=lambda operation: operation.slot)
    first = 0
    for operation in ordered:
        while ordered[first].slot < operation.slot:
            if latest is None or ordered[first].invoked_s > latest.invoked_s:
                latest = ordered[first]
            first += 1
        if latest is not None:
            sentence = "an operation was over before one that comes before it began: {}, {}"
            require(operation.returned_s >= latest.invoked_s, sentence, operation, latest)


def check_append_only(appends: Sequence[Append], reads: Sequence[ListRead]) -> None:
    """The exact check of a history of an append-only list; end it with a read after everything is over."""
    final = max((read.values for read in reads), key=len, default=())
    places = {value: place for place, value in enumerate(final)}
    require(len(places) == len(final), "each value is in the list once")
    known = {append.value for append in appends}
    require(all(value in known for value in final), "the list holds only what was appended")
    operations = []
    for read in reads:
        same = all(a == b for a, b in zip(read.values, final, strict=False))
        require(same, "each read is a prefix of the longest: {}", read)
        operations.append(Slotted(2 * len(read.values), read.invoked_s, read.returned_s, read))
    for append in appends:
        if append.value in places:
            returned_s = append.returned_s if append.acknowledged else inf
            operations.append(Slotted(2 * places[append.value] + 1, append.invoked_s, returned_s, append))
        elif append.acknowledged:
            operations.append(Slotted(2 * len(final) + 1, append.invoked_s, append.returned_s, append))
    check_real_time(operations)
