"""`conflux simulate`: what it tells, and that it cuts a failure down."""

from __future__ import annotations

import json

import pytest

from conflux.cli import simulate as command
from conflux.cli.main import main
from conflux.testing import Simulation, Violation, campaign
from conflux.testing.campaign import Job


@pytest.fixture(autouse=True)
def fixed_hashes(monkeypatch):
    """It would start itself anew, with pytest's arguments."""
    monkeypatch.setenv("PYTHONHASHSEED", "0")


def planted(monkeypatch, least_steps: int) -> None:
    """A failure that needs crashes and so many steps."""
    heal = Simulation.heal

    def fail(simulation: Simulation) -> None:
        if "crash" in simulation.weather.faults and simulation.steps >= least_steps:
            raise Violation("planted")
        heal(simulation)

    monkeypatch.setattr(Simulation, "heal", fail)


def crashing_seed() -> int:
    from random import Random

    from conflux.testing import Weather

    return next(seed for seed in range(50) if "crash" in Weather.draw(Random(seed), None).faults)


def test_seeds_are_counted_and_summed_up(capsys):
    assert main(["simulate", "--seeds", "3", "--steps", "200"]) == 0
    output = capsys.readouterr().out
    assert "3 seeds, 0 failed" in output and "never happened:" in output and "elections won" in output


def test_seeds_side_by_side_come_to_the_same(capsys):
    sums = []
    for jobs in ("1", "2"):
        assert main(["simulate", "--seeds", "4", "--steps", "150", "--jobs", jobs, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        sums.append((told["steps"], told["counts"]))
    assert sums[0] == sums[1]


def test_no_more_seeds_are_taken_than_are_soon_begun():
    taken, reports = [], []

    def jobs():
        for seed in range(12):
            taken.append(seed)
            yield Job(seed=seed, steps=20)

    for report in campaign.run_all(jobs(), 2):
        reports.append(report)
        assert len(taken) <= len(reports) + 2 * campaign.AHEAD
    assert sorted(report.job.seed for report in reports) == taken


def test_a_reader_of_a_trace_may_leave(monkeypatch, capsys):
    def gone(_line: str) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(command.output, "print_line", gone)
    monkeypatch.setattr("conflux.cli.output.abandon_stdout", lambda: None)
    assert main(["simulate", "--seed", "4", "--steps", "50", "--trace"]) == 0
    assert capsys.readouterr().err == ""


def test_json_says_the_same(capsys):
    assert main(["simulate", "--seeds", "2", "--steps", "200", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["seeds"], told["failed"], told["smallest"]) == (2, [], None)
    assert told["steps"] >= 400 and told["counts"]["calls: Committed"] >= 2


def test_a_failure_is_told_twice_and_cut_down(capsys, monkeypatch):
    planted(monkeypatch, least_steps=100)
    seed = crashing_seed()
    assert main(["simulate", "--seed", str(seed), "--seeds", "1", "--steps", "400"]) == 1
    captured = capsys.readouterr()
    assert f"seed {seed}: Violation: planted" in captured.err
    assert f"failed: conflux simulate --seed {seed} --steps 400 --trace" in captured.out
    assert f"smallest: conflux simulate --seed {seed} --steps 1" in captured.out
    assert "--without crash" not in captured.out and "--without" in captured.out


def test_shrinking_keeps_what_the_failure_needs(monkeypatch):
    planted(monkeypatch, least_steps=100)
    smallest = campaign.shrink(Job(seed=crashing_seed(), steps=400), seconds=60)
    assert "crash" not in smallest.without
    assert 100 <= smallest.steps < 200
    assert campaign.run(smallest).problem == "Violation: planted"


@pytest.mark.parametrize(
    "arguments", [["--without", "rain"], ["--seeds", "2", "--trace"], ["--app", "nowhere"], ["--seeds", "0"]]
)
def test_what_makes_no_sense_is_refused(arguments, capsys):
    assert main(["simulate", *arguments]) == 2
    assert "error:" in capsys.readouterr().err


def test_a_trace_is_for_people(capsys):
    assert main(["simulate", "--seed", "4", "--steps", "200", "--trace"]) == 0
    output = capsys.readouterr().out
    for piece in ("n1 starts 1", "Hello(", "world heals", "1 seeds, 0 failed"):
        assert piece in output


def test_time_ends_it(monkeypatch, capsys):
    clock = iter(range(0, 10_000, 25))
    monkeypatch.setattr(command.time, "monotonic", lambda: float(next(clock)))
    assert main(["simulate", "--minutes", "1", "--steps", "50"]) == 0
    assert "failed; " in capsys.readouterr().out
