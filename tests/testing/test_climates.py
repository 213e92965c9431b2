"""Climates: each does, many times over, what it is for, and one seed is one history in each."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from conflux.testing import Weather
from conflux.testing.campaign import Job, Report, run
from conflux.testing.climates import CLIMATES
from conflux.testing.sometimes import OF_CHANGES, OF_CLIMATES, OF_RECOVERY, SOMETIMES, expected

ROOT = Path(__file__).parents[2]


def ran(climate: str, seeds: range, steps: int) -> Report:
    total = Report(Job(seed=seeds[0], weather=climate), runs=0)
    for seed in seeds:
        report = run(Job(seed=seed, steps=steps, weather=climate))
        assert not report.problem, f"{report.problem}\n{report.job.command()}"
        total.add(report)
    return total


def test_churn_changes_members_and_installs_snapshots_all_the_time():
    total = ran("churn", range(6), 3000)
    assert total.counts["changes of members"] > total.steps * 10 / 1000
    assert total.counts["snapshots installed"] > total.steps * 3 / 1000
    assert total.counts["learners that became voters"] > 10


@pytest.mark.parametrize("climate", [climate for climate in CLIMATES if climate != "any"])
def test_one_seed_is_one_history_in_every_process(climate):
    program = "from conflux.testing.campaign import Job, run\n"
    program += f"for seed in (2, 3):\n    report = run(Job(seed=seed, steps=1200, weather={climate!r}))\n"
    program += "    print(report.digest, report.steps, report.problem, sorted(report.counts.items()))"
    outputs = set()
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", program]
        outputs.add(subprocess.run(command, check=True, env=environment, cwd=ROOT, capture_output=True).stdout)
    assert len(outputs) == 1


def test_a_climate_is_made_of_what_its_seed_draws_and_leaves_any_weather_as_it_was():
    for name, climate in CLIMATES.items():
        drawn = [climate(Weather.draw(Random(seed)), Random(f"{name} {seed}")) for seed in range(20)]
        again = [Job(seed=seed, weather=name).draw_weather() for seed in range(20)]
        assert drawn == again
    assert Job(seed=5).draw_weather() == Weather.draw(Random(5))


def test_each_climate_says_what_should_happen_in_it_sometimes():
    assert set(SOMETIMES) < set(expected("any", own_app=True))
    assert set(OF_CLIMATES) == set(CLIMATES) - {"any"}
    assert set(OF_CHANGES) <= set(expected("members", own_app=False)) & set(expected("churn", own_app=False))
    assert set(OF_RECOVERY) <= set(expected("recover", own_app=True))
    report = Report(Job(seed=1, weather="churn"), counts=Counter({"changes of members": 1}))
    assert "snapshots installed" in report.never() and "changes of members" not in report.never()
