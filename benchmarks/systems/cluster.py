"""`Cluster`: the processes of one system, and whoever makes load on it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.processes import Process, Worker, WorkerFailed, cpu_seconds, disk_bytes, resident_bytes

LEADER_SECONDS_MAX = 30.0
LOOK_SECONDS = 0.02


class Cluster:
    """A cluster that is being started, loaded and stopped. Subclasses say how."""

    name: ClassVar[str]
    place: ClassVar[str]  # where the load is made: "outside" or "inside"
    durability: ClassVar[str]
    in_flight_max: ClassVar[int] = 4096  # beyond that it only gets slower
    nodes_max: ClassVar[int] = 9

    def __init__(self, nodes: int, directory: Path) -> None:
        self.nodes = nodes
        self.directory = directory
        self._started: list[Process] = []

    def start(self) -> None:
        """Start all nodes and wait for a leader.

        Raises:
            Missing: it can't be had here.
        """
        raise NotImplementedError

    def load(self, in_flight: int, seconds: float, **options: Any) -> dict[str, Any]:
        """Keep so many appends in flight; see `Load.run` for the answer."""
        return self.driver().ask("load", in_flight=in_flight, seconds=seconds, timeout=seconds + 60, **options)

    def check(self) -> dict[str, Any]:
        """Whether the state holds each acknowledged action exactly once: `problems` in words, `state_length`."""
        return self.driver().ask("check", timeout=120)

    def driver(self) -> Worker:
        """The process that makes the load."""
        raise NotImplementedError

    def node_pids(self) -> list[int]:
        """Of the processes that are the cluster, the load generator left out."""
        raise NotImplementedError

    def witness(self) -> Worker:
        """A process that makes load and lives on when the leader is killed."""
        raise NotImplementedError

    def kill_leader(self) -> float:
        """kill -9; when, on the machine's monotonic clock."""
        raise NotImplementedError

    def kill_all(self) -> None:
        """kill -9 every node."""
        raise NotImplementedError

    def start_again(self) -> None:
        """Start the nodes that don't run, on their directories, and wait for a leader."""
        raise NotImplementedError

    def length(self) -> int:
        """How many appends the cluster's state holds."""
        return int(self.driver().ask("length", timeout=120)["length"])

    def stop(self) -> None:
        """End all processes."""
        for process in self._started:
            process.kill()
        self._started.clear()

    def usage(self) -> dict[str, Any]:
        """CPU time so far and memory of each node, and bytes on disk of all."""
        pids = self.node_pids()
        return {
            "cpu_seconds": sum(cpu_seconds(pid) for pid in pids),
            "memory_bytes": [resident_bytes(pid) for pid in pids],
            "disk_bytes": disk_bytes(self.directory),
        }

    # -- for subclasses ------------------------------------------------------------------------------------------

    def begin(self, process: Process) -> Process:
        """Remember to end it."""
        self._started.append(process)
        return process

    def log_file(self, name: str) -> Path:
        logs = self.directory.parent / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        return logs / f"{self.name}.{name}.log"


class EmbeddedCluster(Cluster):
    """Each node is a worker; the leader's makes the load."""

    place = "inside"

    def __init__(self, nodes: int, directory: Path) -> None:
        super().__init__(nodes, directory)
        self.workers: list[Worker] = []
        self._driver: Worker | None = None

    def new_worker(self, number: int) -> Worker:
        """The node of this number, started: the first time, or on what it left."""
        raise NotImplementedError

    def start_nodes(self) -> None:
        self.workers = [self.new_worker(number) for number in range(self.nodes)]
        for each in self.workers:
            self.begin(each)
        self.leader()

    def start_again(self) -> None:
        for number, worker in enumerate(self.workers):
            if worker.popen.poll() is not None:
                self.workers[number] = self.new_worker(number)
                self.begin(self.workers[number])
        self.leader()

    def followers(self) -> list[Worker]:
        leader = self.leader()
        return [each for each in self.workers if each is not leader]

    def witness(self) -> Worker:
        return self.followers()[0]

    def kill_leader(self) -> float:
        leader = self.leader()
        killed_at = time.monotonic()
        leader.kill()
        return killed_at

    def kill_all(self) -> None:
        for each in self.workers:
            each.kill()

    def driver(self) -> Worker:
        """The first leader, as long as it lives: only who made a load can tell what must be in the state."""
        if self._driver is None or self._driver.popen.poll() is not None:
            self._driver = self.leader()
        return self._driver

    def leader(self) -> Worker:
        """Waits until exactly one says that it leads. One that is busy with a load isn't asked."""
        deadline = time.monotonic() + LEADER_SECONDS_MAX
        while time.monotonic() < deadline:
            running = [each for each in self.workers if each.popen.poll() is None and not each.is_busy]
            leaders = [each for each in running if each.ask("role")["leader"]]
            if len(leaders) == 1:
                return leaders[0]
            time.sleep(LOOK_SECONDS)
        raise WorkerFailed(f"{self.name}: no leader within {LEADER_SECONDS_MAX:.0f} s")

    def node_pids(self) -> list[int]:
        return [each.pid for each in self.workers]
