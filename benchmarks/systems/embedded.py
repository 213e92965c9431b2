"""Conflux embedded: `conflux.Conflux` in N processes over ZeroMQ, the load inside the leader's."""

from __future__ import annotations

from benchmarks.processes import Worker, free_ports
from benchmarks.systems.cluster import EmbeddedCluster
from conflux.transport.keys import ClusterKey


class ConfluxInside(EmbeddedCluster):
    """Sessions, CURVE, and a sync on a majority before each answer."""

    name = "conflux-embedded"
    durability = "fdatasync on a majority"

    def start(self) -> None:
        key_file = self.directory / "cluster.key"
        ClusterKey.generate().save(key_file)
        addresses = [f"127.0.0.1:{port}" for port in free_ports(self.nodes, neighbours=2)]
        for number, address in enumerate(addresses, 1):
            label = f"n{number}"
            peers = [each for each in addresses if each != address]
            arguments = [label, str(self.nodes), str(self.directory / "data"), str(key_file), address, *peers]
            self.add(Worker.of_module("embedded", *arguments, log_file=self.log_file(label)))
        self.leader()
