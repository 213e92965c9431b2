"""Clusters of one to nine cores in hostile worlds, a seed each. CONFLUX_SIM_SEEDS="7" or "0-9999" chooses others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.simulator import Simulator

ROOT = Path(__file__).parents[2]
SEEDS = 1200  # about 40 seconds on one core
GROUPS = 20  # so that pytest-xdist can share them out


def seeds() -> range:
    first, _, last = os.environ.get("CONFLUX_SIM_SEEDS", f"0-{SEEDS - 1}").partition("-")
    return range(int(first), int(last or first) + 1)


def how_to_replay(seed: int) -> str:
    return f"replay: cd {ROOT} && {sys.executable} -m tests.simulation.simulator {seed} --trace"


@pytest.mark.unmeasured
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("group", range(GROUPS))
def test_every_history_is_one_that_may_be_and_every_world_heals(group):
    for seed in seeds()[group::GROUPS]:
        try:
            Simulator(seed).run()
        except Exception as problem:
            raise AssertionError(f"seed {seed}: {problem}\n{how_to_replay(seed)}") from problem


def test_a_seed_is_one_history_whatever_the_hash_seed():
    outputs = set()
    for hash_seed in ("0", "1", "4242"):
        command = [sys.executable, "-m", "tests.simulation.simulator", "1", "2", "3", "10"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
        outputs.add(done.stdout)
    assert len(outputs) == 1 and next(iter(outputs)).count("seed") == 4


def test_two_seeds_are_two_histories():
    assert len({Simulator(seed).run() for seed in range(5)}) == 5


def test_the_seeds_meet_what_they_are_meant_to_meet():
    """The sizes, faults and knobs are drawn widely: a run without them would prove nothing of them."""
    knobs = [Simulator(seed).knobs for seed in range(SEEDS)]
    assert {len(each.voters) for each in knobs} == set(range(1, 10))
    assert any(each.learners for each in knobs)
    for name in ("loss", "duplication", "late", "slow_sync", "crash_at_sync", "partition", "crash", "cold_start"):
        share = sum(getattr(each, name) > 0 for each in knobs) / len(knobs)
        assert 0.2 < share < 0.95, name
