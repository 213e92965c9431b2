"""How much of the faults a run has time for: a little in every run of the suite, all of it with CONFLUX_FAULTS=1."""

from __future__ import annotations

import os

import pytest

FULL = os.environ.get("CONFLUX_FAULTS") == "1"
CYCLES = int(os.environ.get("CONFLUX_FAULT_CYCLES", "50" if FULL else "3"))
SEED = int(os.environ.get("CONFLUX_FAULT_SEED", "1"))
CYCLE_SECONDS_MAX = 20

needs_time = pytest.mark.skipif(not FULL, reason="long: CONFLUX_FAULTS=1 runs it (make faults)")
