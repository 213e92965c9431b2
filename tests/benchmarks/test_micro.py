"""The micro-benchmarks run, and their regression check finds what has grown."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.micro import test_path_of_an_action as cases
from benchmarks.micro.ratios import load_baseline, loop_step_seconds, regression

ROOT = Path(__file__).parents[2]


def micro(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "benchmarks/micro", "-q", "-p", "no:xdist", "-p", "no:cacheprovider"]
    # A worker of xdist times nothing, and this is none.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_XDIST")}
    return subprocess.run(
        [*command, *options], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=100
    )


def test_what_grew_past_the_tolerance_is_a_regression():
    assert regression("fold", 1.4, {"fold": 1.0}, 1.5) is None
    assert regression("fold", 1.6, {"fold": 1.0}, 1.5) == "fold: 1.60 steps of the loop, and was 1.00"
    assert "no baseline" in str(regression("new", 1.0, {"fold": 1.0}, 1.5))


def test_the_baseline_has_what_is_measured_and_nothing_else():
    named = {name.removeprefix("test_") for name in vars(cases) if name.startswith("test_")}
    assert named == set(load_baseline())


def test_each_case_runs():
    done = micro("--benchmark-disable")
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout


def test_a_case_that_grew_is_named_and_the_status_tells():
    """Held against a part of its baseline that none can reach."""
    done = micro("--tolerance=0.001", "-k", "fold", "--benchmark-max-time=0.01")
    assert done.returncode == 1 and "store_fold_by_action: " in done.stdout and "and was" in done.stdout, done.stdout


def test_a_step_of_the_loop_takes_time():
    assert loop_step_seconds() > 0
