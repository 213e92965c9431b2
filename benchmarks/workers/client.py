"""Load on a Conflux cluster from outside: `conflux.Client` in a process of its own.

python -m benchmarks.workers.client DATA_DIR
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from benchmarks.workers.closed_loop import Load
from benchmarks.workers.lines import serve
from conflux import Client


def main() -> None:
    client = Client(data_dir=sys.argv[1])

    def submit(text: str, done: Callable[[object], None]) -> None:
        def answered(future: Future[Any]) -> None:
            done(future.exception())

        client.submit("append", text).add_done_callback(answered)

    load = Load(submit)

    def check() -> dict[str, Any]:
        return load.check(list(client.get_state(timeout=60)))

    serve({"load": load.run, "fill": load.fill, "check": check})


if __name__ == "__main__":
    main()
