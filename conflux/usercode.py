"""Whether a thread runs a user's method or reducer, and what it may know then."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Inside(threading.local):
    """What a thread knows while it runs a method or a reducer."""

    log_time_s: float | None = None
    busy: bool = False


inside = Inside()


def inside_user_code() -> bool:
    """True while this thread runs a method or a reducer."""
    return inside.busy


@contextmanager
def user_code() -> Iterator[None]:
    """Mark this thread as running methods or reducers."""
    before, inside.busy = inside.busy, True
    try:
        yield
    finally:
        inside.busy = before
