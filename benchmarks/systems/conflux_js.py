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

    def __init__(self, nodes: int, directory: Path) -> None:
        super().__init__(nodes, directory)
        (self._redis_port,) = free_ports(1)

    def start(self) -> None:
        start_redis(self, self._redis_port, "--appendonly", "no")
        self.start_nodes()

    def new_worker(self, number: int) -> Worker:
        label = f"n{number + 1}"
        arguments = [peers.conflux_js(), label, str(self.nodes), f"redis://127.0.0.1:{self._redis_port}", "benchmark"]
        return Worker(["node", str(WORKER), *arguments], self.log_file(label))
