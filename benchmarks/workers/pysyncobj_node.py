"""A PySyncObj node with the load inside its process.

python -m benchmarks.workers.pysyncobj_node CONFIGURATION(json) SELF PEER…      with PYTHONPATH at its installation
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from pysyncobj import SyncObj, SyncObjConf, replicated

from benchmarks.workers.closed_loop import Answered, Load
from benchmarks.workers.lines import serve


class Log(SyncObj):
    """A replicated list."""

    def __init__(self, address: str, peers: list[str], configuration: SyncObjConf) -> None:
        self.items: list[str] = []
        super().__init__(address, peers, configuration)

    @replicated
    def append(self, text: str) -> None:
        self.items.append(text)


class Outcome:
    """What became of a call; its error is None where it was done."""

    def __init__(self, error: object) -> None:
        self._error = error

    def exception(self) -> object:
        return self._error


DONE = Outcome(None)


def main() -> None:
    configuration, address, *peers = sys.argv[1:]
    log = Log(address, peers, SyncObjConf(**json.loads(configuration)))

    def submit(text: str, done: Callable[[Answered], None]) -> None:
        log.append(text, callback=lambda result, error: done(Outcome(error) if error else DONE))

    load = Load(submit)

    def check() -> dict[str, Any]:
        return load.check(log.items)

    def role() -> dict[str, Any]:
        return {"leader": bool(log._isLeader()) and log.isReady()}

    def length() -> dict[str, Any]:
        return {"length": len(log.items)}

    serve({**load.commands(), "check": check, "role": role, "length": length})


if __name__ == "__main__":
    main()
