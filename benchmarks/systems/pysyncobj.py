"""PySyncObj: a replicated list, the load inside the leader's process."""

from __future__ import annotations

import json
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

    def start(self) -> None:
        environment = {"PYTHONPATH": peers.pysyncobj()}
        addresses = [f"127.0.0.1:{port}" for port in free_ports(self.nodes)]
        for number, address in enumerate(addresses, 1):
            settings = dict(self.settings)
            if self.has_journal:
                settings["journalFile"] = str(self.directory / f"journal{number}")
            arguments = [json.dumps(settings), address, *(each for each in addresses if each != address)]
            log_file = self.log_file(f"n{number}")
            self.add(Worker.of_module("pysyncobj_node", *arguments, log_file=log_file, environment=environment))
        self.leader()


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
