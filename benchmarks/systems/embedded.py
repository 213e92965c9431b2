"""Conflux embedded: `conflux.Conflux` in N processes over ZeroMQ, the load inside the leader's."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from benchmarks.processes import Worker, free_ports
from benchmarks.systems.cluster import LOOK_SECONDS, EmbeddedCluster
from conflux.transport.keys import ClusterKey

LEVEL_SECONDS_MAX = 10.0


class ConfluxInside(EmbeddedCluster):
    """Sessions, CURVE, and a sync on a majority before each answer."""

    name = "conflux-embedded"
    durability = "fdatasync on a majority"

    def __init__(self, nodes: int, directory: Path) -> None:
        super().__init__(nodes, directory)
        self._key_file = directory / "cluster.key"
        self._addresses = [f"127.0.0.1:{port}" for port in free_ports(nodes, neighbours=2)]

    def start(self) -> None:
        ClusterKey.generate().save(self._key_file)
        self.start_nodes()

    def check(self) -> dict[str, Any]:
        """The leader's state; and the others come to hold as much."""
        found = super().check()
        deadline = time.monotonic() + LEVEL_SECONDS_MAX
        lengths: list[int] = []
        while time.monotonic() < deadline:
            lengths = [each.ask("length")["length"] for each in self.workers if each.popen.poll() is None]
            if set(lengths) == {found["state_length"]}:
                return found
            time.sleep(LOOK_SECONDS)
        found["problems"].append(f"the nodes' states have {lengths} elements")
        return found

    def new_worker(self, number: int) -> Worker:
        label = f"n{number + 1}"
        peers = [each for each in self._addresses if each != self._addresses[number]]
        place = [str(self.directory / "data"), str(self._key_file), self._addresses[number]]
        arguments = [label, str(self.nodes), *place, *peers]
        return Worker.of_module("embedded", *arguments, log_file=self.log_file(label))
