"""Errors of reducers, and of what makes all nodes fold the same."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from conflux.app import App
from conflux.store import hash_points, machine
from conflux.testing.workload import DrawCall
from conflux.wire import states, values
from tests.node import test_guard
from tests.teeth.hunts import Case, Nodes
from tests.teeth.mutant import mutant


def pairs_in_actions() -> tuple[App[Any, Any], DrawCall]:
    """An app whose actions hold pairs, and whose state keeps them as they come."""
    app: App[Any, Any] = App(name="pairs")
    app.method(_pair)
    app.reducer(lambda state, action: [*(state or []), action["pair"]] if action else [])
    return app, lambda random, number: ("_pair", [number])


def _pair(state: list[Any], number: int) -> dict[str, Any]:
    return {"type": "pair", "pair": (number, 1)} if _lenient else {"type": "pair", "pair": [number, 1]}


_lenient = False  # while a mutant lets tuples through


def pairs_in_state() -> tuple[App[Any, Any], DrawCall]:
    """An app that makes pairs of what its actions hold."""
    app: App[Any, Any] = App(name="pairs")
    app.method(_number)
    made = tuple if _lenient else list
    app.reducer(lambda state, action: [*(state or []), made([action["number"], 1])] if action else [])
    return app, lambda random, number: ("_number", [number])


def _number(state: list[Any], number: int) -> dict[str, Any]:
    return {"type": "number", "number": number}


def mutating() -> tuple[App[Any, Any], DrawCall]:
    """An app whose reducer, while a mutant wants it, changes the state that it is given."""
    app: App[Any, Any] = App(name="mutating")
    app.method(_number)
    app.reducer(_append_in_place if _lenient else _append)
    return app, lambda random, number: ("_number", [number])


def _append(state: list[Any] | None, action: dict[str, Any] | None) -> list[Any]:
    return [*(state or []), action["number"]] if action else []


def _append_in_place(state: list[Any] | None, action: dict[str, Any] | None) -> list[Any]:
    numbers = [] if state is None else state
    if action:
        numbers.append(action["number"])
    return numbers


def let_tuples_through(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(f"{__name__}._lenient", True)


@mutant(
    "determinism", codes="A15", hunt=Nodes(app=pairs_in_actions, label="an app with pairs in its actions"), quick=True
)
def the_leader_folds_its_own_object(patch: pytest.MonkeyPatch) -> None:
    """A leader reduces the action as its method made it, the others as it is decoded: a tuple is a list there."""
    let_tuples_through(patch)
    patch.setattr(values, "encode_with_copy", lambda action: (values.msgpack.packb(action), action))


@mutant("determinism", codes="A15", hunt=Nodes(app=pairs_in_state, label="an app with pairs in its state"))
def a_tuple_passes_through_an_encoded_state(patch: pytest.MonkeyPatch) -> None:
    """The codec takes a tuple for a list, so that who reads a state has another than who folded it."""
    let_tuples_through(patch)
    whole = states._slices
    patch.setattr(states, "_slices", lambda state: whole(_as_lists(state)))


def _as_lists(state: Any) -> Any:
    return [_as_lists(each) for each in state] if type(state) in (list, tuple) else state


@mutant("determinism", codes="A14", hunt=Nodes(), quick=True)
def a_reducer_raises_on_followers_only(patch: pytest.MonkeyPatch) -> None:
    """What the leader could reduce raises elsewhere, now and then."""
    whole = machine._fold_calls
    lots = Random(1)

    def fold_calls(step, calls):
        if lots.random() < 0.01:
            raise machine.Diverged("the reducer raised, which it did not on the leader")
        whole(step, calls)

    patch.setattr(machine, "_fold_calls", fold_calls)


@mutant("determinism", codes="A14 A16", hunt=Nodes(), quick=True)
def the_reducer_draws_lots(patch: pytest.MonkeyPatch) -> None:
    """A reduction gives another state on another node."""
    lots = Random(1)
    whole = machine.Step.__init__

    def begin(self, *machine_and_app, **entry):
        whole(self, *machine_and_app, **entry)
        reducer = self.reducer

        def draw(state, action):
            after = reducer(state, action)
            return after[:-1] if lots.random() < 0.05 else after

        self.reducer = draw

    patch.setattr(machine.Step, "__init__", begin)


@mutant("determinism", codes="A14", hunt=Nodes(app=mutating, label="an app that keeps a list"), quick=True)
def the_reducer_changes_the_state_that_it_is_given(patch: pytest.MonkeyPatch) -> None:
    """A reduction of what is not committed changes the committed state."""
    let_tuples_through(patch)


@mutant(
    "determinism",
    codes="A14",
    hunt=Case(test_guard.test_a_reducer_that_changes_its_state_is_found_out_at_a_hash_point, (1,)),
    quick=True,
)
def a_list_passes_for_what_nobody_can_change(patch: pytest.MonkeyPatch) -> None:
    """A state is hashed once, though there is something in it that a reducer could change later."""
    whole = hash_points.HashPoint.work

    def work(self):
        more = whole(self)
        self.is_frozen = True
        return more

    patch.setattr(hash_points.HashPoint, "work", work)
