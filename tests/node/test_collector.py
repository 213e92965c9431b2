"""How often Python's collector looks, in a process that runs a node."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from conflux import Conflux
from conflux.apps.list import app
from conflux.node import collector

ROOT = Path(__file__).parents[2]


@pytest.fixture
def thresholds():
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize("left_alone", [(700, 10, 10), (2000, 10, 0)])
def test_a_program_that_embeds_a_node_has_it_look_more_rarely(thresholds, left_alone):
    gc.set_threshold(*left_alone)
    with Conflux(app, id="a", cluster_size=1, channel={"name": "memory", "hub": "collector"}):
        assert gc.get_threshold() == collector.THRESHOLDS


@pytest.mark.parametrize("chosen", [(50_000, 5, 5), (0, 0, 0)])
def test_what_the_program_has_chosen_itself_stays(thresholds, chosen):
    gc.set_threshold(*chosen)
    collector.calm()
    assert gc.get_threshold() == chosen


def test_a_process_of_a_nodes_own_keeps_what_is_there_out_of_sight():
    program = "import gc; from conflux.node import collector; collector.calm_for_good(); "
    program += "print(gc.get_threshold() == collector.THRESHOLDS, gc.get_freeze_count() > 1000)"
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    assert run.stdout.split() == ["True", "True"]
