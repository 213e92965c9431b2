"""Whether a thread runs a user's method or reducer, and what it may know then."""

from __future__ import annotations

import signal
import threading


class Inside(threading.local):
    """What a thread knows while it runs a method or a reducer."""

    log_time_s: float | None = None
    busy: bool = False


inside = Inside()


def inside_user_code() -> bool:
    """True while this thread runs a method or a reducer."""
    return inside.busy


def let_ctrl_c_through(error: BaseException) -> None:
    """Raise it again where a person ended the program with Ctrl-C: all else that is raised there is the code's own."""
    ends_by_it = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if isinstance(error, KeyboardInterrupt) and ends_by_it and threading.current_thread() is threading.main_thread():
        raise error


class user_code:
    """Mark this thread as running methods or reducers."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before, inside.busy = inside.busy, True

    def __exit__(self, *exception: object) -> None:
        inside.busy = self._before
