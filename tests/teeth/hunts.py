"""Hunts: where an error is looked for. Each is a row of attempts, and the first that raises has found it.

The sound code must survive the same attempt, or what was found is not the mutant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from inspect import signature
from itertools import count, islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Protocol, TypeAlias

import pytest

from conflux.app import App
from conflux.errors import ConfluxError
from conflux.testing import Simulation, Weather
from conflux.testing.weather import ClientKnobs
from conflux.testing.workload import DrawCall
from tests.simulation.checkers import history_checkers
from tests.simulation.knobs import Knobs
from tests.simulation.simulator import Simulator

# What a node or a checker raises: InvariantViolated and Violation are of the first kind; the last is `pytest.raises`.
FOUND = (AssertionError, ConfluxError, pytest.fail.Exception)
CORES_RUNS_MAX = 2000
NODES_RUNS_MAX = 200
NODES_STEPS = 1500

Attempt: TypeAlias = tuple[str, Callable[[], object]]  # its name, and what raises where something is wrong


class Hunt(Protocol):
    """Where an error is looked for."""

    @property
    def words(self) -> str:
        """For the table."""
        ...

    def attempts(self) -> Iterator[Attempt]:
        """In the order in which they are made."""
        ...


@dataclass(frozen=True, slots=True)
class Cores:
    """Clusters of cores in random worlds, with the checkers that look at the history alone, as a user could."""

    world: str | None = None  # the one that is meanest to it, where the first seeds of all worlds don't do

    @property
    def words(self) -> str:
        return f"cores, worlds mean to {self.world}" if self.world else "cores, random worlds"

    def attempts(self) -> Iterator[Attempt]:
        seeds = (seed for seed in count() if self.world is None or Knobs.draw(Random(seed)).world == self.world)
        for seed in islice(seeds, CORES_RUNS_MAX):
            yield f"seed {seed}", lambda seed=seed: Simulator(seed, history_checkers()).run()  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class Nodes:
    """Clusters of whole nodes in random weather, with disks, stores, sessions and clients."""

    change: Callable[[Weather], Weather] = lambda weather: weather  # weather in which the error matters
    app: Callable[[], tuple[App[Any, Any], DrawCall]] | None = None  # one that shows it; default: the journal
    label: str = ""

    @property
    def words(self) -> str:
        return f"whole nodes, {self.label}" if self.label else "whole nodes, random weather"

    def attempts(self) -> Iterator[Attempt]:
        for seed in range(NODES_RUNS_MAX):
            yield f"seed {seed}", lambda seed=seed: self._run(seed)  # type: ignore[misc]

    def _run(self, seed: int) -> None:
        app, draw_call = self.app() if self.app else (None, None)
        drawn = Weather.draw(Random(seed), nodes=[3, 5][seed % 2])
        clients = ClientKnobs(clients=3, embedded=1, pause_s=0.005, burst_max=5, reads=0.2, watchers=1.0)
        weather = self.change(replace(drawn, calm_s=0.0, clients=clients))
        with Simulation(app, seed=seed, weather=weather, draw_call=draw_call) as simulation:
            simulation.run(NODES_STEPS)


@dataclass(frozen=True, slots=True)
class Case:
    """A scripted case, for what needs a coincidence too rare, or breaks no promise but one of liveness.

    The fixtures `tmp_path` and `monkeypatch` are given to a test that asks for them.
    """

    test: Callable[..., object]
    arguments: tuple[Any, ...] = ()  # in the place of what pytest would draw for its other parameters
    first: Callable[[], Any] | None = None  # makes the one before these, anew for each attempt

    @property
    def words(self) -> str:
        file = self.test.__module__.removeprefix("tests.").replace(".", "/")
        return f"`{file}.py`: {self.test.__name__.removeprefix('test_').replace('_', ' ')}"

    def attempts(self) -> Iterator[Attempt]:
        yield self.test.__name__, self._run

    def _run(self) -> None:
        with ExitStack() as stack:
            fixtures: dict[str, Callable[[], Any]] = {
                "tmp_path": lambda: Path(stack.enter_context(TemporaryDirectory())),
                "monkeypatch": lambda: stack.enter_context(pytest.MonkeyPatch.context()),
            }
            names = [*signature(self.test).parameters]
            given = {name: fixtures[name]() for name in names if name in fixtures}
            others = [name for name in names if name not in fixtures]
            arguments = self.arguments if self.first is None else (self.first(), *self.arguments)
            self.test(**given, **dict(zip(others, arguments, strict=True)))
