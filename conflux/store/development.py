"""Development mode: what a reducer or a method must not do is found at the very action.

It is Python's own development mode, `python -X dev` or PYTHONDEVMODE=1. The state is encoded several times an action,
so it is for small states. What it finds on the leader is a rejection, and nothing wrong enters the log.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from conflux.app import App
from conflux.store.dumps import copied, encoder_of
from conflux.wire import values


class ImpureFunction(Exception):
    """A reducer or a method does what it must not."""


def is_on() -> bool:
    """True where Python runs in its development mode."""
    return sys.flags.dev_mode


def check_reducer(app: App[Any, Any], state: Any, action: bytes) -> None:
    """Run the reducer twice on copies of the state.

    Raises:
        ImpureFunction: it changes the state that it is given, or gives two different states for one action.
        MalformedValue: the new state holds what a state can't hold, or its `dump` and `load` don't give it back.
    """
    assert app.reduce is not None
    before = _encoding(app, state)
    results = []
    for _ in range(2):
        copy = copied(app, state)
        after = app.reduce(copy, values.decode_trusted(action))
        results.append(_encoding(app, after))
        if _encoding(app, copy) != before:
            raise ImpureFunction("the reducer changes the state that it is given: make a new one")
    if results[0] != results[1]:
        raise ImpureFunction("the reducer gives two different states for one action: it depends on something else")
    copied(app, after)


def check_method(app: App[Any, Any], function: Callable[..., Any], state: Any, arguments: list[Any]) -> None:
    """Run a method on a copy of the state.

    Raises:
        ImpureFunction: it changes the state that it is given.
    """
    before = _encoding(app, state)
    copy = copied(app, state)
    packed = values.encode(arguments)
    try:
        function(copy, *values.decode(packed))
    finally:
        if _encoding(app, copy) != before:
            raise ImpureFunction("the method changes the state that it is given: only a reducer makes a new one")


def _encoding(app: App[Any, Any], state: Any) -> bytes:
    return b"".join(encoder_of(app)(state))
