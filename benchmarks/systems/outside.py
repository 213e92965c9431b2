"""Conflux from outside: a cluster as `conflux start` makes it, and a `Client` in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.processes import ROOT, Worker
from benchmarks.systems.cluster import LOOK_SECONDS, Cluster

COMMAND_SECONDS_MAX = 60
LEVEL_SECONDS_MAX = 10.0


class ConfluxOutside(Cluster):
    """Sessions, CURVE, and a sync on a majority before each answer."""

    name = "conflux"
    place = "outside"
    durability = "fdatasync on a majority"

    def __init__(self, nodes: int, directory: Path) -> None:
        super().__init__(nodes, directory)
        self.started_nodes: list[dict[str, Any]] = []
        self._client: Worker | None = None

    def start(self) -> None:
        self.start_nodes("--cluster-size", str(self.nodes))
        self._client = Worker.of_module("client", str(self.directory), log_file=self.log_file("client"))
        self.begin(self._client)

    def start_nodes(self, *options: str) -> None:
        """`conflux start`: a new cluster, or the nodes of an old one that don't run."""
        self.started_nodes = [json.loads(line) for line in self.command("start", *options, "--detach").splitlines()]

    def command(self, *words: str) -> str:
        """What a `conflux` command prints."""
        program = [sys.executable, "-m", "conflux", "--json", "--data-dir", str(self.directory), *words]
        done = subprocess.run(program, cwd=ROOT, check=True, capture_output=True, timeout=COMMAND_SECONDS_MAX)
        return done.stdout.decode()

    def driver(self) -> Worker:
        assert self._client is not None
        return self._client

    def check(self) -> dict[str, Any]:
        """What the client reads; and all nodes come to have the same state, by its hash."""
        found = super().check()
        deadline = time.monotonic() + LEVEL_SECONDS_MAX
        hashes: set[tuple[int, str]] = set()
        while time.monotonic() < deadline:
            nodes = [node for node in json.loads(self.command("status"))["nodes"] if node["pid"]]
            hashes = {(node["state_hash_revision"], node["state_hash"]) for node in nodes}
            if len(hashes) == 1 and found["state_length"] == nodes[0]["applied_revision"]:
                return found
            time.sleep(LOOK_SECONDS)
        found["problems"].append(f"the nodes' states differ: {sorted(map(str, hashes))}")
        return found

    def witness(self) -> Worker:
        return self.driver()

    def kill_leader(self) -> float:
        status = json.loads(self.command("status"))
        (pid,) = [each["pid"] for each in status["nodes"] if each["id"] == status["leader"]]
        killed_at = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        return killed_at

    def kill_all(self) -> None:
        for pid in self.node_pids():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def start_again(self) -> None:
        self.start_nodes()

    def node_pids(self) -> list[int]:
        return [each["pid"] for each in self.started_nodes]

    def stop(self) -> None:
        super().stop()
        if self.started_nodes:
            try:
                self.command("stop")
            except subprocess.SubprocessError:
                self.kill_all()
            self.started_nodes = []
