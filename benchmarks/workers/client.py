"""Load on a Conflux cluster from outside: `conflux.Client` in a process of its own.

python -m benchmarks.workers.client DATA_DIR
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Literal

from benchmarks.workers.closed_loop import Answered, Load
from benchmarks.workers.fan_out import FanOut
from benchmarks.workers.lines import serve
from benchmarks.workers.recorder import timed_reads
from conflux import Client


def main() -> None:
    client = Client(data_dir=sys.argv[1])

    def submit(text: str, done: Callable[[Answered], None]) -> None:
        client.submit("append", text).add_done_callback(done)

    load = Load(submit)

    def check() -> dict[str, Any]:
        return load.check(list(client.get_state(timeout=60)))

    def read(consistency: Literal["local", "linearizable"], seconds: float) -> dict[str, Any]:
        return timed_reads(lambda: client.get_state(consistency, timeout=10), seconds)

    def length() -> dict[str, Any]:
        return {"length": len(client.get_state(timeout=60) or ())}

    def fan_out(watchers: int, actions: int) -> dict[str, Any]:
        return FanOut(sys.argv[1], watchers).measure(client, actions)

    serve(
        {
            "load": load.run,
            "fill": load.fill,
            "probe": load.probe,
            "check": check,
            "read": read,
            "length": length,
            "fan_out": fan_out,
        },
    )


if __name__ == "__main__":
    main()
