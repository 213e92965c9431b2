"""The simulation's other app: registers with compare-and-set, whose history is judged by what clients saw alone."""

from __future__ import annotations

from collections import Counter, defaultdict
from math import inf
from random import Random
from typing import Any, TypeAlias

from pyrsistent import PMap, pmap

from conflux.app import App
from conflux.client.committed import Committed
from conflux.errors import Closed, MethodRejected, NotApplied, UnknownMethod
from conflux.testing.history import Call, History, Read
from conflux.testing.judge import Judge
from conflux.testing.search import Operation, Verdict, is_proof, search
from conflux.testing.violation import require

CALLS_OF_ONE_REGISTER = 16  # then comes another: a search takes the longer the more there is in it
VALUES = 4  # few, so that a compare often finds what it expects
READ = "read"

Registers = PMap[str, int]
_Slotted: TypeAlias = tuple[float, Operation]  # with its slot, as `Placed` counts them; infinite where it has none


def registers() -> App[Registers, dict[str, Any]]:
    """A map of numbers."""
    app: App[Registers, dict[str, Any]] = App(name="registers")
    app.methods.update(put=put, compare_and_set=compare_and_set)
    app.reduce = reduce
    return app


def put(state: Registers, register: str, value: int) -> dict[str, Any]:
    """Dispatches always."""
    return {"type": "put", "register": register, "value": value}


def compare_and_set(state: Registers, register: str, expected: int, value: int) -> dict[str, Any]:
    """Rejected where the register holds something else, which the rejection tells."""
    if state.get(register, 0) != expected:
        raise ValueError(str(state.get(register, 0)))
    return {"type": "put", "register": register, "value": value}


def reduce(state: Registers | None, action: dict[str, Any] | None) -> Registers:
    """Fold an action into the map."""
    before: Registers = pmap() if state is None else state
    return before.set(action["register"], action["value"]) if action else before


def draw_registers_call(random: Random, number: int) -> tuple[str, list[Any]]:
    """A call to the register whose turn it is."""
    register = f"r{number // CALLS_OF_ONE_REGISTER}"
    if random.random() < 0.3:
        return "put", [register, random.randrange(VALUES)]
    return "compare_and_set", [register, random.randrange(VALUES), random.randrange(VALUES)]


def check_registers(
    judge: Judge, history: History, reads: list[tuple[int, Read]], *, refusals_are_proof: bool
) -> Counter[str]:
    """Find an order for the history of each register; gives how many looks for one ended how.

    The log's order is tried first: where it explains what all clients were told, it is proof like any other. Where it
    does not, the search says whether one does.

    Args:
        reads: the linearizable ones, each with its slot.
    """
    by_register: defaultdict[str, list[_Slotted]] = defaultdict(list)
    for call in history.calls:
        if (operation := _operation_of(call, refusals_are_proof=refusals_are_proof)) is not None:
            placed = judge.placed.get(call.number)
            by_register[call.args[0]].append((placed.slot if placed else inf, operation))
    counts: Counter[str] = Counter()
    for register, slotted in by_register.items():
        operations = [operation for _, operation in slotted]
        over_s = max(operation.invoked_s for operation in operations)
        slotted += [
            (slot, Operation((READ,), read.state.get(register, 0), read.invoked_s, read.returned_s))
            for slot, read in reads
            if operations[0].invoked_s <= read.invoked_s <= over_s
        ]
        verdict = _verdict(slotted)
        require(verdict is not Verdict.ILLEGAL, "a register's history is linearizable: {}: {}", register, operations)
        counts[f"histories of registers: {verdict.value}"] += 1
    return counts


def _verdict(slotted: list[_Slotted]) -> Verdict:
    # In a slot that changes nothing any order will do: that in which they began keeps to real time.
    in_order = sorted(slotted, key=lambda each: (each[0], each[1].invoked_s))
    happened = [operation for slot, operation in in_order if slot < inf or operation.returned_s < inf]
    if is_proof(happened, register_model, 0):
        return Verdict.LINEARIZABLE
    return search([operation for _, operation in slotted], register_model, 0)


def register_model(state: Any, what: Any, told: Any) -> tuple[Any] | None:
    """One register; `told`: True for a write that was done, (what it found,) for one that was not, None for unknown."""
    match what:
        case ("read",):
            return (state,) if told == state else None
        case ("put", value):
            return (value,)
        case ("compare_and_set", expected, value):
            if told is True:
                return (value,) if state == expected else None
            if told is not None:
                return (state,) if told[0] == state != expected else None
            return (value,) if state == expected else None
    return None


def _operation_of(call: Call, *, refusals_are_proof: bool) -> Operation | None:
    """What a client knows of its call; None where nothing was done for certain."""
    what = (call.method, *call.args[1:])
    match call.result:
        case Committed() if not call.appended:
            return Operation(what, True, call.invoked_s, call.returned_s)
        case UnknownMethod():
            return None
        case NotApplied() | Closed() if refusals_are_proof:
            return None
        case MethodRejected() if not call.appended:
            return Operation(what, (_found(call.result),), call.invoked_s, call.returned_s)
    return Operation(what, None, call.invoked_s)


def _found(rejected: MethodRejected) -> int:
    return int(str(rejected).rpartition(": ")[2])
