"""Conflux JS over its redis channel, the load inside the leader's process."""

from __future__ import annotations

from pathlib import Path

from benchmarks import peers
from benchmarks.processes import Worker, free_ports
from benchmarks.systems.cluster import EmbeddedCluster
from benchmarks.systems.redis import start_redis

WORKER = Path(__file__).parent.parent / "workers" / "conflux_js.js"


class ConfluxJs(EmbeddedCluster):
    """As its own README sets it up. It keeps nothing on disk."""

    name = "conflux-js"
    durability = "memory only"
    in_flight_max = 256  # beyond, each answer visits all that wait, and it slows down

    def start(self) -> None:
        modules = peers.conflux_js()
        (port,) = free_ports(1)
        start_redis(self, port, "--appendonly", "no")
        for number in range(1, self.nodes + 1):
            arguments = [modules, f"n{number}", str(self.nodes), f"redis://127.0.0.1:{port}", "benchmark"]
            self.add(Worker(["node", str(WORKER), *arguments], self.log_file(f"n{number}")))
        self.leader()
