"""Another process folds the same actions: there, strings have other hashes, and a set another order.

Run as `python -m conflux.testing.elsewhere MODULE NAME [MODULE NAME]`, with the reducer's and the `dump`'s, it reads a
list of actions as msgpack and answers with the hash of every state on the way.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO

import msgpack

from conflux.app import App
from conflux.errors import MalformedValue
from conflux.store.dumps import encoder_of
from conflux.testing.violation import require
from conflux.wire.states import DIGEST_BYTES, digest

HASH_SEED = 1_234_567_891  # of the other process; ours may only be the same if it was set to this


def importable(function: Any) -> tuple[str, str] | None:
    """(module, name) under which another process finds a function; None where it can't."""
    module, name = getattr(function, "__module__", "") or "", getattr(function, "__qualname__", "<")
    if "<" in name or module in ("", "__main__") or module not in sys.modules:
        return None
    found: Any = sys.modules[module]
    for part in name.split("."):
        found = getattr(found, part, None)
    return (module, name) if found is function else None


def check_order_elsewhere(app: App[Any, Any], actions: Sequence[Any], states: Sequence[Any]) -> bool:
    """Hold each state against what another process folds. False: another process can't import the reducer or `dump`.

    Raises:
        Violation: the states differ.
    """
    where: list[str] = []
    for function in (app.reduce, app.dump) if app.dump is not None else (app.reduce,):
        found = importable(function)
        if found is None or not actions:
            return False
        where += found
    environment = {**os.environ, "PYTHONHASHSEED": str(HASH_SEED), "PYTHONPATH": os.pathsep.join(map(str, sys.path))}
    command = [sys.executable, "-m", "conflux.testing.elsewhere", *where]
    request = msgpack.packb(list(actions))
    other = subprocess.run(command, input=request, capture_output=True, env=environment, check=False)
    require(other.returncode == 0, "the reducer fails in another process: {}", other.stderr.decode()[-500:])
    digests = [other.stdout[at : at + DIGEST_BYTES] for at in range(0, len(other.stdout), DIGEST_BYTES)]
    sentence = "another process, where sets of strings have another order, folds revision {} into another state: {!r}"
    for revision, (state, there) in enumerate(zip(states, digests, strict=True)):
        require(there == digest_of(app, state), sentence, revision, actions[revision - 1] if revision else None)
    return True


def digest_of(app: App[Any, Any], state: Any) -> bytes:
    """A state's hash; of one that has no encoding, zeros."""
    try:
        return digest(encoder_of(app)(state))
    except MalformedValue:
        return bytes(DIGEST_BYTES)


def main(arguments: list[str], source: BinaryIO, target: BinaryIO) -> None:
    """The other process."""
    reduce, *dumps = [_found(*arguments[at : at + 2]) for at in range(0, len(arguments), 2)]
    app: App[Any, Any] = App(reduce=reduce, dump=dumps[0] if dumps else None)
    state = reduce(None, None)
    target.write(digest_of(app, state))
    for action in msgpack.unpackb(source.read(), strict_map_key=False):
        state = reduce(state, action)
        target.write(digest_of(app, state))


def _found(module: str, name: str) -> Any:
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    return found


if __name__ == "__main__":
    main(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer)
