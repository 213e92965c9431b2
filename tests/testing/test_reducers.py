"""A user's reducer under weather: what is not a function of state and action is found, by each way in."""

from __future__ import annotations

import os
import random
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conflux.app import App, load_app
from conflux.errors import ConfluxError
from conflux.testing import Simulation, Violation
from conflux.testing.drawing import calls_of

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
GUIDE = ROOT / "docs" / "howto" / "test-your-reducer.md"


def pitfall(name):
    return load_app(f"pitfalls:{name}", str(EXAMPLES))


def simulate(*arguments: str, hash_seed: str = "random") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "conflux", "simulate", *arguments]
    return subprocess.run(command, check=False, env=environment, cwd=EXAMPLES, capture_output=True, text=True)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("by_time", "two states for one state and action"),
        ("by_lot", "two states for one state and action"),
        ("by_set", "another process"),
        ("in_place", "changed the state that it was given"),
    ],
)
def test_a_reducer_that_is_no_function_is_found(name, sentence):
    with pytest.raises(Violation, match=sentence), Simulation(pitfall(name), nodes=3, seed=1) as simulation:
        simulation.run(600)


def test_a_reducer_that_is_one_passes():
    with Simulation(pitfall("queue"), nodes=3, seed=2) as simulation:
        simulation.run(600)
    assert simulation.counts["calls: Committed"] > 10


def test_an_app_with_dump_and_load_passes_in_every_weather():
    ledger = load_app("ledger:app", str(EXAMPLES))
    for seed in range(6):
        with Simulation(ledger, seed=seed) as simulation:
            simulation.run(1500)


class Things:
    """A state that compares with itself alone."""

    def __init__(self, things: list[str]) -> None:
        self.things = things


def collect(state: Things | None, action: Any) -> Things:
    return Things([]) if state is None else Things([*state.things, action["thing"]])


def dump_sorted(state: Things) -> list[str]:
    return sorted(state.things)


def dump_by_hash(state: Things) -> list[Any]:
    return [hash("".join(state.things)), *state.things]


def load_behind_it(value: list[Any]) -> Things:
    return Things(value[1:])


def dump_by_lot(state: Things) -> Any:
    return [random.random(), *state.things]


def load_all(value: list[str]) -> Things:
    return Things(value)


def load_few(value: list[str]) -> Things:
    return Things(value[:3])


@pytest.mark.parametrize(
    ("dump", "load", "sentence"),
    [
        (dump_by_hash, load_behind_it, "another process"),
        (dump_by_lot, load_all, "the app's dump gives two values for one state|initial state can't be kept"),
        (dump_sorted, load_few, "the app's load does not bring back what its dump gave"),
    ],
)
def test_a_dump_or_a_load_that_is_no_function_of_the_state_is_found(dump, load, sentence):
    app = App({"add": lambda state, thing: {"thing": thing}}, collect, dump=dump, load=load)

    def draw_call(_random, number):
        return "add", [f"{number}"]

    refused = pytest.raises((Violation, ConfluxError), match=sentence)
    with refused, Simulation(app, nodes=3, seed=1, draw_call=draw_call) as simulation:
        simulation.run(1500)


def test_the_command_finds_a_sets_order_and_its_own_words_show_it_again():
    first = simulate("--app", "pitfalls:by_set", "--steps", "300", "--seed", "3")
    assert first.returncode == 1 and "another process" in first.stderr
    words = re.search(r"smallest: conflux simulate (.*)", first.stdout).group(1)
    again = simulate(*shlex.split(words))
    assert again.returncode == 1 and "another process" in again.stdout + again.stderr


def test_arguments_are_drawn_by_what_parameters_are_annotated_with():
    from random import Random

    draw = calls_of({"put": lambda state: None, "move": move})
    calls = [draw(Random(number), number) for number in range(40)]
    assert {name for name, _ in calls} == {"put", "move"}
    moves = [arguments for name, arguments in calls if name == "move"]
    assert {tuple(map(type, arguments)) for arguments in moves} == {(str, int), (str, int, bool)}


def move(state: object, what: str, by: int, fast: bool = False) -> None:
    """A method."""


def test_the_fixtures_are_there_and_the_guides_tests_pass(tmp_path):
    block = next(
        each for each in re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL) if "conflux_cluster" in each
    )
    (tmp_path / "test_queue.py").write_text(block)
    (tmp_path / "test_lot.py").write_text(
        "import random\nfrom pitfalls import by_lot\n\ndef test_lot(conflux_simulation):\n"
        "    random.seed(1)  # lots that differ when they are drawn again\n    conflux_simulation(by_lot, seeds=2)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(EXAMPLES)])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    run = subprocess.run(command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "1 failed, 2 passed" in run.stdout, run.stdout + run.stderr
    # The reducer's two answers, or two nodes' states: what is seen first depends on the lots.
    assert re.search("seed 0: Violation: (the reducer gave two states|equal logs fold into)", run.stdout), run.stdout
