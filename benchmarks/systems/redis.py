"""One Redis that syncs its log before it answers: no consensus, for orientation."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from benchmarks import peers
from benchmarks.processes import Process, Worker, WorkerFailed, free_ports
from benchmarks.systems.cluster import LOOK_SECONDS, Cluster

START_SECONDS_MAX = 10.0


def start_redis(cluster: Cluster, port: int, *options: str) -> Process:
    """A redis-server of the cluster's, once it listens."""
    program, environment = peers.redis()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(cluster.directory), "--save", ""]
    server = cluster.begin(Process([*command, *options], cluster.log_file("redis"), environment=environment))
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return server
        except OSError:
            time.sleep(LOOK_SECONDS)
    raise WorkerFailed("redis: it does not listen")


class Redis(Cluster):
    """`appendonly yes`, `appendfsync always`: the list is pushed to, one sync a turn of its loop."""

    name = "redis-single"
    place = "outside"
    durability = "fdatasync on one node"
    nodes_max = 1

    def __init__(self, nodes: int, directory: Path) -> None:
        super().__init__(1, directory)
        self._server: Process | None = None
        self._driver: Worker | None = None

    def start(self) -> None:
        (port,) = free_ports(1)
        self._server = start_redis(self, port, "--appendonly", "yes", "--appendfsync", "always")
        arguments = ["redis", f"127.0.0.1:{port}"]
        self._driver = Worker.of_module("sockets", *arguments, log_file=self.log_file("driver"))
        self.begin(self._driver)

    def driver(self) -> Worker:
        assert self._driver is not None
        return self._driver

    def node_pids(self) -> list[int]:
        return [self._server.pid] if self._server else []
