"""Linearizability, where the order is not known: the search of Wing and Gong with Lowe's memory of what was tried.

For small histories of one object: how long it takes grows with how many operations overlap, not with their number.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from enum import Enum
from math import inf
from typing import Any

LOOKS_MAX = 10_000


class Verdict(Enum):
    """What a search ends with."""

    LINEARIZABLE = "linearizable"
    ILLEGAL = "illegal"
    TOO_LONG = "too long to search"


@dataclass(frozen=True, slots=True)
class Operation:
    """What one client did to the object, and what it was told; returned at infinity where nobody was told."""

    what: Any
    told: Any
    invoked_s: float
    returned_s: float = inf


# (state, what, told) → the state after it; None where the object would not have said so in that state.
Model = Callable[[Any, Any, Any], "tuple[Hashable] | None"]


def search(operations: Sequence[Operation], model: Model, initial: Hashable, looks_max: int = LOOKS_MAX) -> Verdict:
    """Is there an order that keeps to real time and in which the object says what was told?

    An operation of which nobody was told may have its place in the order, or none.
    """
    ordered = sorted(operations, key=lambda operation: operation.invoked_s)
    needed = sum(1 << place for place, each in enumerate(ordered) if each.returned_s < inf)
    seen: set[tuple[int, Hashable]] = set()
    stack: list[tuple[int, Hashable]] = [(0, initial)]
    looks = 0
    while stack:
        done, state = stack.pop()
        if done & needed == needed:
            return Verdict.LINEARIZABLE
        looks += 1
        if looks > looks_max:
            return Verdict.TOO_LONG
        for place in sorted(_next_ones(ordered, done), key=lambda place: ordered[place].returned_s, reverse=True):
            operation = ordered[place]
            after = model(state, operation.what, operation.told)
            if after is None or (operation.returned_s == inf and after[0] == state):
                continue  # what nobody was told of and changes nothing needs no place
            step = (done | 1 << place, after[0])
            if step not in seen:
                seen.add(step)
                stack.append(step)
    return Verdict.ILLEGAL


def is_proof(order: Sequence[Operation], model: Model, initial: Hashable) -> bool:
    """Does this order keep to real time, and would the object have said in it what was told?

    One such order is all that linearizability asks for, wherever it comes from. It must hold every operation of which
    somebody was told; of the others, those that can't stand where they do are left out.
    """
    state, latest_s = initial, -inf
    for operation in order:
        after = model(state, operation.what, operation.told)
        if after is None and operation.returned_s == inf:
            continue
        latest_s = max(latest_s, operation.invoked_s)
        if after is None or operation.returned_s < latest_s:  # over before one that stands before it had begun
            return False
        (state,) = after
    return True


def _next_ones(ordered: Sequence[Operation], done: int) -> list[int]:
    """Those that may come next: not done, and begun before any other that is not done was over."""
    found = []
    first_return_s = inf
    for place in range((~done & (done + 1)).bit_length() - 1, len(ordered)):
        operation = ordered[place]
        if operation.invoked_s > first_return_s:
            break
        if not done >> place & 1:
            found.append(place)
            first_return_s = min(first_return_s, operation.returned_s)
    return [place for place in found if ordered[place].invoked_s <= first_return_s]
