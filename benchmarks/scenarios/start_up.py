"""From nothing to a cluster that serves; and commands as whole processes."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.scenarios.context import Context, Row


def start_up(context: Context) -> list[Row]:
    """Seconds from starting the processes to a leader."""
    rows: list[Row] = []
    sizes = (1, 3, 5, 7) if context.is_full else (1, 3, 5)
    for trial in range(1, context.rounds + 1):
        for system in ("conflux", "conflux-embedded", "etcd", "pysyncobj"):
            for nodes in sizes:
                if system == "pysyncobj" and nodes == 1:
                    continue  # it has no clusters of one
                rows += context.measured(system, partial(_start, context, system, nodes, trial))
    return rows


def _start(context: Context, system: str, nodes: int, trial: int) -> Row:
    with context.new_cluster(system, nodes) as cluster:
        began = time.monotonic()
        cluster.start()
        seconds = time.monotonic() - began
    context.say(f"{system:<18} {nodes} nodes: {seconds:.2f} s")
    return {"system": system, "nodes": nodes, "trial": trial, "seconds": seconds}
