"""How much a run throws: a little in every run of the suite, all of it with CONFLUX_FUZZ=1 (`make fuzz`)."""

from __future__ import annotations

import os

FULL = os.environ.get("CONFLUX_FUZZ") == "1"
SEED = int(os.environ.get("CONFLUX_FUZZ_SEED", "1"))
FRAMES = 1_000_000 if FULL else 40_000  # into the two decoders of the wire
VALUES = 400_000 if FULL else 20_000  # into the decoders of values and states
MESSAGES = 100_000 if FULL else 40_000  # into the core
CONNECTIONS = 5_000 if FULL else 500  # to the ports of a live node
GROWTH_BYTES_MAX = 32 * 1024 * 1024  # of a process that takes all this
