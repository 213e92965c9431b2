"""Reducers that are not pure, in the simulator: a violation each, whether a checker or the nodes themselves see it."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from random import Random, random
from typing import Any

import pytest

from conflux.app import App
from conflux.testing import Simulation, Violation, Weather
from conflux.testing.checkers import CommitsAgree
from conflux.testing.purity import PureReducer
from conflux.testing.weather import ClientKnobs
from tests.testing.set_order_app import ordered, unordered

Reduce = Callable[[Any, Any], Any]


def with_time(state: Any, action: Any) -> Any:
    return [] if state is None else [*state, time.perf_counter_ns()]


def with_chance(state: Any, action: Any) -> Any:
    return [] if state is None else [*state, random()]


def in_place(state: Any, action: Any) -> Any:
    if state is None:
        return []
    state.append(action["number"])
    return state


def raises_now_and_then() -> Reduce:
    numbers = count()

    def reduce(state: Any, action: Any) -> Any:
        if state is not None and next(numbers) % 20 == 19:
            raise OSError("not here")
        return [] if state is None else [*state, action["number"]]

    return reduce


def draw_call(_random: Random, number: int) -> tuple[str, list[Any]]:
    return "append", [number, "x" * 100]


def app_of(reduce: Reduce) -> App[Any, Any]:
    return App({"append": lambda state, number, padding: {"number": number, "padding": padding}}, reduce)


def simulation_of(app: App[Any, Any]) -> Simulation:
    weather = Weather(nodes=3, clients=ClientKnobs(clients=3), bounds={("conflux.limits", "HASH_POINT_BYTES_MIN"): 500})
    return Simulation(app, seed=3, draw_call=draw_call, weather=weather)


@pytest.mark.parametrize("reduce", [with_time, with_chance, in_place, raises_now_and_then()])
def test_an_impure_reducer_is_a_violation(reduce):
    with pytest.raises(Violation), simulation_of(app_of(reduce)) as simulation:
        simulation.run(3000)


@pytest.mark.parametrize("reduce", [with_time, with_chance, in_place, raises_now_and_then()])
def test_the_nodes_see_it_for_themselves(reduce, monkeypatch):
    """As above, without those that look at states and reducers from outside."""
    monkeypatch.setattr(CommitsAgree, "_compare", lambda *_: None)
    monkeypatch.setattr(PureReducer, "watching", lambda _self, app: app)
    with pytest.raises(Violation, match="no node diverges"), simulation_of(app_of(reduce)) as simulation:
        simulation.run(3000)


def test_a_reducer_that_follows_a_sets_order_shows_in_another_process():
    with pytest.raises(Violation, match="another process"), simulation_of(unordered) as simulation:
        simulation.run(1000)


def test_a_pure_reducer_is_none():
    with simulation_of(ordered) as simulation:
        simulation.run(3000)
        nodes = [host.node for host in simulation.cluster.hosts]
        assert all(
            node is not None and node.member is not None and node.member.guard.agreed_revision > 0 for node in nodes
        )
