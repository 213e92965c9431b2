"""Development mode: what is impure is refused at the very action, and the state stays as it was."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from conflux.app import App
from conflux.errors import Diverged
from conflux.store import development
from conflux.wire.clients import Rejection
from tests.store.harness import Leader, facts, folded


@pytest.fixture
def development_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(development, "is_on", lambda: True)


def add(state: Any, thing: Any) -> Any:
    return {"type": "add", "thing": thing}


def pure(state: Any, action: Any) -> Any:
    return [] if state is None else [*state, action["thing"]]


def in_place(state: Any, action: Any) -> Any:
    if state is None:
        return []
    state.append(action["thing"])
    return state


def deep_inside(state: Any, action: Any) -> Any:
    if state is None:
        return {"things": []}
    state["things"].append(1)
    return {**state}


def with_a_tuple(state: Any, action: Any) -> Any:
    return [] if state is None else [*state, (1, 2)]


def counting() -> Any:
    numbers = count()
    return lambda state, action: 0 if state is None else next(numbers)


def pops(state: Any, thing: Any) -> Any:
    state.append(thing)
    return {"type": "add", "thing": thing}


@pytest.mark.usefixtures("development_mode")
@pytest.mark.parametrize(
    ("method", "reduce", "text"),
    [
        (add, in_place, "the reducer changes the state that it is given"),
        (add, deep_inside, "the reducer changes the state that it is given"),
        (add, counting(), "gives two different states for one action"),
        (add, with_a_tuple, "can't hold a tuple"),
        (pops, pure, "the method changes the state that it is given"),
    ],
)
def test_what_is_impure_is_rejected(method, reduce, text):
    leader = Leader(App({"add": method}, reduce))
    session = leader.open_session()
    before = facts(leader.machine)["state"]
    [outcome] = leader.perform(session, 0, ("add", 1))
    assert isinstance(outcome, Rejection) and text in outcome.message
    assert (leader.machine.state, leader.machine.revision) == (before, 0)


@pytest.mark.usefixtures("development_mode")
def test_what_is_pure_works_as_ever():
    leader = Leader(App({"add": add}, pure))
    leader.perform(leader.open_session(), 0, ("add", 1), ("add", [2]))
    assert leader.machine.state == [1, [2]]


@pytest.mark.usefixtures("development_mode")
def test_a_log_folds_on_a_follower_to_what_it_is_on_the_leader():
    leader = Leader()
    session = leader.open_session()
    leader.perform(session, 0, ("add", 1), (), ("fail",), ("add_once", 1), ("add", [2]))
    assert facts(folded(leader.entries, leader.app)) == facts(leader.machine)


def test_a_follower_in_development_mode_finds_what_the_leader_did_not_look_for(monkeypatch: pytest.MonkeyPatch):
    leader = Leader(App({"add": add}, in_place))
    leader.perform(leader.open_session(), 0, ("add", 1))
    monkeypatch.setattr(development, "is_on", lambda: True)
    with pytest.raises(Diverged, match=r"at revision 1, .* the reducer changes the state that it is given") as caught:
        folded(leader.entries, leader.app)
    assert (caught.value.since_revision, caught.value.revision) == (0, 1)


def test_it_is_off_where_python_is_not_in_its_own_development_mode():
    assert not development.is_on()
