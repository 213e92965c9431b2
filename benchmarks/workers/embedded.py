"""A Conflux node inside a program, with the load inside the leader's process.

python -m benchmarks.workers.embedded LABEL SIZE DATA_DIR KEY_FILE ADDRESS PEER…
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Literal

from benchmarks.workers.closed_loop import Answered, Load
from benchmarks.workers.lines import serve
from benchmarks.workers.recorder import timed_reads
from conflux import Conflux
from conflux.apps.list import app


def main() -> None:
    label, size, data_dir, key_file, address, *peers = sys.argv[1:]
    node = Conflux(
        app,
        id=label,
        cluster_size=int(size),
        channel={"name": "zeromq", "bind": address},
        peers=peers,
        data_dir=data_dir,
        key=key_file,
    )

    def submit(text: str, done: Callable[[Answered], None]) -> None:
        node.submit("append", text).add_done_callback(done)

    load = Load(submit)

    def check() -> dict[str, Any]:
        return load.check(list(node.get_state("linearizable", timeout=60)))

    def role() -> dict[str, Any]:
        return {"leader": node.is_leader()}

    def length() -> dict[str, Any]:
        return {"length": len(node.get_state() or ())}

    def read(consistency: Literal["local", "linearizable"], seconds: float) -> dict[str, Any]:
        return timed_reads(lambda: node.get_state(consistency, timeout=10), seconds)

    serve(
        {
            "load": load.run,
            "fill": load.fill,
            "probe": load.probe,
            "check": check,
            "role": role,
            "length": length,
            "read": read,
        },
    )
    node.close()


if __name__ == "__main__":
    main()
