"""From nothing to a cluster that serves; and commands as whole processes."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.scenarios.context import Context


def start_up(context: Context) -> list[dict[str, Any]]:
    """Seconds from starting the processes to a leader."""
    rows = []
    sizes = (1, 3, 5, 7) if context.is_full else (1, 3, 5)
    for trial in range(1, context.rounds + 1):
        for system in ("conflux", "conflux-embedded", "etcd", "pysyncobj"):
            for nodes in sizes:
                if system == "pysyncobj" and nodes == 1:
                    continue  # it has no clusters of one
                with context.new_cluster(system, nodes) as cluster:
                    began = time.monotonic()
                    cluster.start()
                    seconds = time.monotonic() - began
                rows.append({"system": system, "nodes": nodes, "trial": trial, "seconds": seconds})
                context.say(f"{system:<18} {nodes} nodes: {seconds:.2f} s")
    return rows
