"""Whole clusters in simulated weather. CONFLUX_SIM_SEEDS="A:B" runs these seeds to their end, however long it takes."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from conflux.app import App
from conflux.errors import OptionsError
from conflux.testing import Simulation, Violation, Weather
from conflux.testing.__main__ import main, run_seed
from conflux.testing.weather import ClientKnobs

ROOT = Path(__file__).parents[2]
SECONDS = 45.0  # of this process's time, where no seeds are asked for
STEPS = 3000


def seeds() -> tuple[range, float]:
    first, _, last = os.environ.get("CONFLUX_SIM_SEEDS", "").partition(":")
    if not first:
        return range(10_000), SECONDS
    return range(int(first), int(last or first) + 1), float("inf")


@pytest.mark.timeout(0)
def test_clusters_in_simulated_weather_keep_every_promise():
    chosen, seconds = seeds()
    end = time.process_time() + seconds
    counts: Counter[str] = Counter()
    ran = 0
    for seed in chosen:
        report = run_seed((seed, STEPS, False))
        assert not report.problem, f"{report.problem}\n{report.job.command()}"
        counts += report.counts
        ran += 1
        if time.process_time() > end:
            break
    assert counts["elections won"] >= ran
    assert counts["calls: Committed"] > 10 * ran


def test_a_run_is_forgotten_at_its_end():
    def alive() -> int:
        gc.collect()
        return sum(isinstance(each, Simulation) for each in gc.get_objects())

    before = alive()
    for seed in (6, 104):  # nodes with a program's calls on their way are killed; calls that nobody answers
        run_seed((seed, STEPS, False))
    assert alive() == before


def test_one_seed_is_one_history_in_every_process():
    program = "from conflux.testing.__main__ import run_seed\n"
    program += "for seed in (1, 4, 7):\n    report = run_seed((seed, 1500, False))\n"
    program += "    print(report.digest, report.steps, report.problem, sorted(report.counts.items()))"
    outputs = []
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", program]
        run = subprocess.run(command, check=True, env=environment, cwd=ROOT, capture_output=True, text=True)
        outputs.append(run.stdout)
    assert outputs[0] == outputs[1]
    assert len({line.split()[0] for line in outputs[0].splitlines()}) == 3


def test_the_command_gives_one_trace_in_every_process():
    outputs = []
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-m", "conflux", "simulate", "--seed", "3", "--steps", "800", "--trace"]
        run = subprocess.run(command, check=True, env=environment, cwd=ROOT, capture_output=True, text=True)
        outputs.append(run.stdout)
    assert outputs[0].splitlines()[:-1] == outputs[1].splitlines()[:-1]  # the last line has a speed in it


def test_weather_is_drawn_from_the_seed_and_its_bounds_end_with_it():
    from conflux import limits

    drawn = [Weather.draw(Random(seed)) for seed in range(300)]
    assert drawn == [Weather.draw(Random(seed)) for seed in range(300)]
    assert {weather.nodes for weather in drawn} == set(range(1, 10))
    assert Weather.draw(Random(1), nodes=5).nodes == 5
    before = limits.TURN_RECORDS_MAX
    weather = Weather(bounds={("conflux.limits", "TURN_RECORDS_MAX"): 2})
    with pytest.raises(ZeroDivisionError), weather.applied():
        assert limits.TURN_RECORDS_MAX == 2
        raise ZeroDivisionError
    assert before == limits.TURN_RECORDS_MAX


def counter() -> App:
    app: App = App(name="counter")
    app.method(add)
    app.reducer(lambda state, action: (state or 0) + (action["by"] if action else 0))
    return app


def add(state: int, by: int) -> dict[str, int]:
    if state + by > 500:
        raise ValueError(f"{state} is enough")
    return {"by": by}


def test_an_app_of_ones_own_is_put_under_weather():
    with Simulation(counter(), nodes=3, seed=5, draw_call=lambda random, number: ("add", [number % 7])) as simulation:
        simulation.run(1500)
    assert simulation.judged
    assert simulation.counts["calls: Committed"] > 50


def test_a_reducer_that_draws_lots_is_found():
    app = counter()
    lots = Random(1)
    app.reducer(lambda state, action: (state or 0) + (lots.choice([1, 2]) if action else 0))
    with (
        pytest.raises(Violation, match="two states for one state and action"),
        Simulation(app, nodes=3, seed=5, draw_call=lambda random, number: ("add", [1])) as simulation,
    ):
        simulation.run(3000)


def test_an_app_that_says_nothing_of_its_calls_gets_some_by_its_annotations():
    with Simulation(counter(), nodes=3, seed=5) as simulation:
        simulation.run(800)
    assert {call.method for call in simulation.cluster.history.calls} == {"add"}


def test_an_app_whose_methods_can_not_be_seen_needs_its_calls():
    app = counter()
    app.methods["odd"] = dict
    with pytest.raises(OptionsError, match="no calls of the method 'odd'"):
        Simulation(app)


def test_a_cluster_that_can_not_recover_is_told_of():
    simulation = Simulation(seed=1, weather=Weather(nodes=3, clients=ClientKnobs(clients=1)))
    simulation.run(500)
    labels = [host.label for host in simulation.cluster.hosts]
    simulation.cluster.network.cut({(a, b) for a in labels for b in labels}, holds=False)
    simulation.cluster.network.mend_all = lambda: None  # type: ignore[method-assign]
    with pytest.raises(Violation, match="serves a write soon"):
        simulation.heal()


def test_the_command_names_the_seed_that_fails_and_how_to_see_it(capsys, monkeypatch):
    assert main(["--seed", "4", "--steps", "300"]) == 0
    assert "seed 4: trace" in capsys.readouterr().out
    monkeypatch.setattr(Simulation, "heal", lambda simulation: (_ for _ in ()).throw(Violation("planted")))
    assert main(["--seeds", "4:5", "--steps", "300"]) == 1
    output = capsys.readouterr().out
    assert "seed 5: Violation: planted" in output
    assert "conflux simulate --seed 5 --steps 300 --trace" in output
    assert "never happened:" in output
    assert "2 seeds, 2 failed" in output


def test_the_trace_is_for_people(capsys):
    assert main(["--seed", "4", "--steps", "300", "--trace"]) == 0
    output = capsys.readouterr().out
    for piece in ("n1 starts 1", "Hello(", "is leader", "Append(", "OpenSession(", "is told", "world heals"):
        assert piece in output
