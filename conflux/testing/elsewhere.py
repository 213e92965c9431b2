"""What another process makes of the same log: what follows a set's order, or a str's hash, shows only there.

The other process has a hash seed of its own. It imports the app from the module that holds it as a name; an app that
was made inside a function can't be had there, and is not checked.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

import msgspec

from conflux.app import App
from conflux.raft.entry import Entry
from conflux.store.history import events_of
from conflux.testing.violation import Violation, require
from conflux.wire import values
from conflux.wire.states import digest, encode_slices

HASH_SEED = "1"
OTHER_HASH_SEED = "2"  # where this process has the other one
SECONDS_MAX = 120.0


class _Job(msgspec.Struct, array_like=True):
    path: list[str]
    module: str
    name: str
    actions: list[bytes]


def check_elsewhere(app: App[Any, Any], log: Iterable[Entry], state: Any) -> None:
    """Fold the log in another process; it must come to this state.

    Raises:
        Violation: it does not.
    """
    place = _place_of(app)
    if place is None:
        return
    job = _Job(sys.path, *place, [event.action for entry in log for event in events_of(entry)])
    seed = OTHER_HASH_SEED if os.environ.get("PYTHONHASHSEED") == HASH_SEED else HASH_SEED
    done = subprocess.run(
        [sys.executable, "-m", "conflux.testing.elsewhere"],
        input=msgspec.msgpack.encode(job),
        capture_output=True,
        env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        timeout=SECONDS_MAX,
        check=False,
    )
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise Violation(f"the reducer fails in another process: {' '.join(last)}")
    same = done.stdout.decode().strip() == digest(encode_slices(state)).hex()
    require(same, "the log folds into the same state in another process: the reducer depends on a set's order or alike")


def _place_of(app: App[Any, Any]) -> tuple[str, str] | None:
    """(module, name) under which an app can be imported."""
    for module_name, module in sorted(sys.modules.items()):
        if module_name != "__main__":
            for name, value in [*getattr(module, "__dict__", {}).items()]:
                if value is app:
                    return module_name, name
    return None


def main() -> int:
    """Fold what stands in standard input, and print the hash of the state."""
    job = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=_Job)
    sys.path[:] = job.path
    app = getattr(importlib.import_module(job.module), job.name)
    state = app.reduce(None, None)
    for action in job.actions:
        state = app.reduce(state, values.decode(action))
    sys.stdout.write(digest(encode_slices(state)).hex() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
