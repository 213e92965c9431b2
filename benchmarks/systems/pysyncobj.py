"""PySyncObj: a replicated list, the load inside the leader's process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

from benchmarks import peers
from benchmarks.processes import Worker, free_ports
from benchmarks.systems.cluster import EmbeddedCluster


class PySyncObjDefault(EmbeddedCluster):
    """As it comes."""

    name = "pysyncobj"
    durability = "memory only"
    settings: ClassVar[dict[str, Any]] = {}
    has_journal = False

    def __init__(self, nodes: int, directory: Path) -> None:
        super().__init__(nodes, directory)
        self._addresses = [f"127.0.0.1:{port}" for port in free_ports(nodes)]

    def start(self) -> None:
        self.start_nodes()

    def new_worker(self, number: int) -> Worker:
        settings = dict(self.settings)
        if self.has_journal:
            settings["journalFile"] = str(self.directory / f"journal{number}")
        address = self._addresses[number]
        arguments = [json.dumps(settings), address, *(each for each in self._addresses if each != address)]
        environment = {"PYTHONPATH": peers.pysyncobj()}
        log_file = self.log_file(f"n{number + 1}")
        return Worker.of_module("pysyncobj_node", *arguments, log_file=log_file, environment=environment)


class PySyncObjTuned(PySyncObjDefault):
    """With its journal, and the periods at which its throughput is best. The journal is never synced."""

    name = "pysyncobj-tuned"
    durability = "page cache"
    settings: ClassVar[dict[str, Any]] = {
        "appendEntriesPeriod": 0.005,
        "autoTickPeriod": 0.001,
        "logCompactionMinEntries": 100_000_000,
        "logCompactionMinTime": 100_000,
    }
    has_journal = True
