"""Somebody else's data path, as a yardstick: a program that prints a line of JSON with `ops_s`, `p50_ms` and `p99_ms`.

It isn't part of this repository: `CONFLUX_BENCH_PROTOTYPE` says where it is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.peers import Missing
from benchmarks.processes import WorkerFailed
from benchmarks.systems.cluster import Cluster

VARIABLE = "CONFLUX_BENCH_PROTOTYPE"
RUN_SECONDS_MAX = 60


class GivenPrototype(Cluster):
    """Run anew for each load, with its options `-n`, `--conc`, `--secs` and `--reps`, and BENCH_DATA."""

    name = "prototype"
    place = "inside"
    durability = "fdatasync on a majority"

    def start(self) -> None:
        if not (path := os.environ.get(VARIABLE)):
            raise Missing(f"prototype: {VARIABLE} does not say where it is")
        if not Path(path).exists():
            raise Missing(f"prototype: there is no {path}")
        if find_spec("psutil") is None:
            raise Missing("prototype: it needs psutil, which is not installed")
        self._program = path

    def load(self, in_flight: int, seconds: float, **options: Any) -> dict[str, Any]:
        counts = ["-n", str(self.nodes), "--conc", str(in_flight), "--secs", str(seconds), "--reps", "1"]
        environment = {**os.environ, "BENCH_DATA": str(self.directory)}
        command = [sys.executable, self._program, *counts]
        done = subprocess.run(command, env=environment, capture_output=True, timeout=RUN_SECONDS_MAX, check=False)
        lines = done.stdout.splitlines()
        if done.returncode or not lines:
            raise WorkerFailed(f"prototype: status {done.returncode}: {done.stderr.decode(errors='replace')[-200:]}")
        figures = json.loads(lines[0])
        operations = round(figures["ops_s"] * seconds)
        return {
            "operations": operations,
            "seconds": seconds,
            "per_second": figures["ops_s"],
            "latency_ms": {"p50": figures["p50_ms"], "p99": figures["p99_ms"]},
            "attempts": operations,
            "errors": 0,
            "first_errors": [],
            "drained": True,
            "generator_cpu_share": None,
        }

    def check(self) -> dict[str, Any]:
        return {"problems": [], "state_length": None}  # it keeps no state that could be asked for

    def node_pids(self) -> list[int]:
        return []
