"""A user's reducer under weather: what is not a function of state and action is found, by each way in."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from conflux.app import load_app
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
        "from pitfalls import by_lot\n\ndef test_lot(conflux_simulation):\n    conflux_simulation(by_lot, seeds=2)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(EXAMPLES)])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    run = subprocess.run(command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "1 failed, 2 passed" in run.stdout, run.stdout + run.stderr
    assert "seed 0: Violation: the reducer gave two states" in run.stdout
