"""What simulated clients ask of the cluster: the app, and the calls made to it."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any, TypeAlias

from pyrsistent import PVector, pvector

from conflux.app import App, now

# (chance, a number never used before) → a method's name and its arguments
DrawCall: TypeAlias = Callable[[Random, int], tuple[str, list[Any]]]


def journal() -> App[PVector[Any], dict[str, Any]]:
    """The simulation's own app: an append-only list of numbers, so that its state *is* the order of what happened.

    Its methods take every way out that a method has, and most of their outcomes depend on how long the list is: an
    outcome that was judged against any other state than the one at its place in the log is wrong.
    """
    app: App[PVector[Any], dict[str, Any]] = App(name="journal")
    app.methods.update(
        append=append,
        append_at=append_at,
        append_at_odd=append_at_odd,
        append_stamped=append_stamped,
        append_poison=append_poison,
        refuse=refuse,
    )
    app.reduce = reduce
    return app


def append(state: PVector[Any], number: int, padding: str = "") -> dict[str, Any]:
    """Dispatches always."""
    return {"type": "append", "number": number, "padding": padding}


def append_at(state: PVector[Any], number: int, remainder: int) -> dict[str, Any]:
    """Rejected where the list has another length, modulo 3."""
    if len(state) % 3 != remainder:
        raise ValueError(f"the list has {len(state)} elements")
    return {"type": "append", "number": number}


def append_at_odd(state: PVector[Any], number: int) -> dict[str, Any] | None:
    """Dispatches nothing where the list has an even length."""
    return {"type": "append", "number": number} if len(state) % 2 else None


def append_stamped(state: PVector[Any], number: int) -> dict[str, Any]:
    """Asks for log time."""
    return {"type": "append", "number": number, "at": now()}


def append_poison(state: PVector[Any], number: int) -> dict[str, Any]:
    """The reducer refuses it on every second length."""
    return {"type": "poison", "number": number}


def refuse(state: PVector[Any], number: int) -> Exception:
    """Rejected always, without being raised."""
    return LookupError(f"{number} is not among {len(state)}")


def reduce(state: PVector[Any] | None, action: dict[str, Any] | None) -> PVector[Any]:
    """Fold an action into the list."""
    numbers: PVector[Any] = pvector() if state is None else state
    match action:
        case {"type": "append", "number": number}:
            return numbers.append(number)
        case {"type": "poison", "number": number}:
            if len(numbers) % 2:
                raise ArithmeticError(f"poisoned at {len(numbers)}")
            return numbers.append(number)
        case _:
            return numbers


def draw_journal_call(random: Random, number: int) -> tuple[str, list[Any]]:
    """A call of the journal."""
    kind = random.random()
    if kind < 0.5:
        return "append", [number, "x" * random.choice([0, 0, 3, 200])]
    if kind < 0.65:
        return "append_at", [number, number % 3]
    if kind < 0.75:
        return "append_at_odd", [number]
    if kind < 0.82:
        return "append_stamped", [number]
    if kind < 0.92:
        return "append_poison", [number]
    if kind < 0.97:
        return "refuse", [number]
    return random.choice([("no_such_method", [number]), ("append_at", [number])])
