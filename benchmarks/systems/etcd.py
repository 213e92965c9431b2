"""etcd, as Debian ships it: a put of a new key for each append, over gRPC to the leader."""

from __future__ import annotations

import json
import time
import urllib.request
from pathlib import Path

from benchmarks import peers
from benchmarks.processes import Process, Worker, WorkerFailed, free_ports
from benchmarks.systems.cluster import LEADER_SECONDS_MAX, LOOK_SECONDS, Cluster

QUOTA_BYTES = 4 << 30


class Etcd(Cluster):
    """Defaults, but for a quota that a load doesn't reach."""

    name = "etcd"
    place = "outside"
    durability = "fdatasync on a majority"

    def __init__(self, nodes: int, directory: Path) -> None:
        super().__init__(nodes, directory)
        self._clients = free_ports(nodes)
        self._peers = free_ports(nodes)
        self._servers: list[Process] = []
        self._driver: Worker | None = None

    def start(self) -> None:
        self._servers = [self._start_node(number) for number in range(self.nodes)]
        self._driver = self.new_driver(self.leader())

    def new_driver(self, number: int) -> Worker:
        """A load generator for the node of this number."""
        address = f"127.0.0.1:{self._clients[number]}"
        driver = Worker.of_module("sockets", "etcd", address, log_file=self.log_file("driver"))
        self.begin(driver)
        return driver

    def witness(self) -> Worker:
        return self.new_driver((self.leader() + 1) % self.nodes)

    def kill_leader(self) -> float:
        leader = self._servers[self.leader()]
        killed_at = time.monotonic()
        leader.kill()
        return killed_at

    def kill_all(self) -> None:
        for each in self._servers:
            each.kill()

    def start_again(self) -> None:
        for number, server in enumerate(self._servers):
            if server.popen.poll() is not None:
                self._servers[number] = self._start_node(number)
        self.leader()

    def _start_node(self, number: int) -> Process:
        urls = [f"http://127.0.0.1:{port}" for port in self._peers]
        client, peer = f"http://127.0.0.1:{self._clients[number]}", urls[number]
        options = {
            "name": f"n{number}",
            "data-dir": str(self.directory / f"n{number}"),
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": ",".join(f"n{each}={url}" for each, url in enumerate(urls)),
            "initial-cluster-token": f"benchmark-{self._peers[0]}",
            "quota-backend-bytes": str(QUOTA_BYTES),
            "logger": "zap",
            "log-level": "error",
        }
        command = [peers.etcd(), *(f"--{name}={value}" for name, value in options.items())]
        return self.begin(Process(command, self.log_file(f"n{number}")))

    def leader(self) -> int:
        """The number of the node that all say is the leader."""
        deadline = time.monotonic() + LEADER_SECONDS_MAX
        while time.monotonic() < deadline:
            said = [self._status(port) for port in self._clients]
            for number, (member, leader) in enumerate(said):
                if member and all(each == leader == member for _, each in said):
                    return number
            time.sleep(LOOK_SECONDS)
        raise WorkerFailed(f"etcd: no leader within {LEADER_SECONDS_MAX:.0f} s")

    def _status(self, port: int) -> tuple[str, str]:
        """(the node's identity, its leader's)."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v3/maintenance/status", b"{}", timeout=1) as answer:
                status = json.load(answer)
        except OSError:
            return "", ""
        return status["header"]["member_id"], status.get("leader", "")

    def driver(self) -> Worker:
        assert self._driver is not None
        return self._driver

    def node_pids(self) -> list[int]:
        return [each.pid for each in self._servers]
