"""Another process folds the same actions: there, strings have other hashes, and a set another order.

Run as `python -m conflux.testing.elsewhere MODULE NAME`, it reads lists of actions as msgpack and answers each with the
hash of every state on the way.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any, BinaryIO

import msgpack

from conflux.app import App
from conflux.errors import MalformedValue
from conflux.testing.violation import require
from conflux.wire.states import DIGEST_BYTES, encode_state

HASH_SEED = 1_234_567_891  # of the other process; ours may only be the same if it was set to this


def importable(app: App[Any, Any]) -> tuple[str, str] | None:
    """(module, name) under which another process finds the reducer; None where it can't."""
    reduce = app.reduce
    module, name = getattr(reduce, "__module__", "") or "", getattr(reduce, "__qualname__", "<")
    if "<" in name or module in ("", "__main__") or module not in sys.modules:
        return None
    found: Any = sys.modules[module]
    for part in name.split("."):
        found = getattr(found, part, None)
    return (module, name) if found is reduce else None


def check_order_elsewhere(app: App[Any, Any], actions: Sequence[Any], states: Sequence[Any]) -> bool:
    """Hold each state against what another process folds. False: another process can't import the reducer.

    Raises:
        Violation: the states differ.
    """
    where = importable(app)
    if where is None or not actions:
        return False
    environment = {**os.environ, "PYTHONHASHSEED": str(HASH_SEED), "PYTHONPATH": os.pathsep.join(map(str, sys.path))}
    command = [sys.executable, "-m", "conflux.testing.elsewhere", *where]
    request = msgpack.packb(list(actions))
    other = subprocess.run(command, input=request, capture_output=True, env=environment, check=False)
    require(other.returncode == 0, "the reducer fails in another process: {}", other.stderr.decode()[-500:])
    digests = [other.stdout[at : at + DIGEST_BYTES] for at in range(0, len(other.stdout), DIGEST_BYTES)]
    sentence = "another process, where sets of strings have another order, folds revision {} into another state: {!r}"
    for revision, (state, there) in enumerate(zip(states, digests, strict=True)):
        require(there == digest_of(state), sentence, revision, actions[revision - 1] if revision else None)
    return True


def digest_of(state: Any) -> bytes:
    """A state's hash; of one that has no encoding, zeros."""
    try:
        return blake2b(encode_state(state), digest_size=DIGEST_BYTES).digest()
    except MalformedValue:
        return bytes(DIGEST_BYTES)


def main(arguments: list[str], source: BinaryIO, target: BinaryIO) -> None:
    """The other process."""
    module, name = arguments
    reduce: Any = importlib.import_module(module)
    for part in name.split("."):
        reduce = getattr(reduce, part)
    state = reduce(None, None)
    target.write(digest_of(state))
    for action in msgpack.unpackb(source.read(), strict_map_key=False):
        state = reduce(state, action)
        target.write(digest_of(state))


if __name__ == "__main__":
    main(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer)
