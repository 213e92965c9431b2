"""The data path alone, as a yardstick: what this machine allows a Python process that replicates, and does no more."""

from __future__ import annotations

from benchmarks.processes import Worker, free_ports
from benchmarks.systems.cluster import EmbeddedCluster


class DataPath(EmbeddedCluster):
    """No elections, sessions, encryption, recovery: batches to followers, a synced LMDB on each, a majority."""

    name = "data-path"
    durability = "fdatasync on a majority"

    def start(self) -> None:
        addresses = [f"tcp://127.0.0.1:{port}" for port in free_ports(self.nodes - 1)]
        for number, address in enumerate(addresses, 1):
            arguments = ["follower", str(self.directory / f"f{number}"), address]
            self.begin(self._worker(arguments, f"f{number}"))
        self.workers = [self._worker(["leader", str(self.directory / "leader"), *addresses], "leader")]
        self.begin(self.workers[0])

    def _worker(self, arguments: list[str], name: str) -> Worker:
        return Worker.of_module("data_path", *arguments, log_file=self.log_file(name))

    def node_pids(self) -> list[int]:
        return [each.pid for each in self._started]
