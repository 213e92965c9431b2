"""Whether a thread runs a user's method or reducer, and what it may know then."""

from __future__ import annotations

import signal
import threading


class Inside:
    """What a thread knows while it runs a method or a reducer."""

    __slots__ = ("busy", "log_time_s")

    def __init__(self) -> None:
        self.log_time_s: float | None = None
        self.busy = False


class _Threads(threading.local):
    def __init__(self) -> None:
        self.inside = Inside()


_threads = _Threads()


def inside() -> Inside:
    """What this thread knows. Whoever runs many methods asks once: to find a thread's own takes as long as a method."""
    return _threads.inside


def inside_user_code() -> bool:
    """True while this thread runs a method or a reducer."""
    return _threads.inside.busy


class RaisesKeyboardInterrupt:
    """A signal's handler that does what Python's own one of Ctrl-C does."""


def let_ctrl_c_through(error: BaseException) -> None:
    """Raise it again where a signal ended the program, as Ctrl-C does: all else that is raised is the code's own."""
    if not isinstance(error, KeyboardInterrupt) or threading.current_thread() is not threading.main_thread():
        return
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    if any(each is signal.default_int_handler or isinstance(each, RaisesKeyboardInterrupt) for each in handlers):
        raise error


class user_code:
    """Mark this thread as running methods or reducers."""

    __slots__ = ("_before", "_inside")

    def __enter__(self) -> Inside:
        self._inside = here = _threads.inside
        self._before, here.busy = here.busy, True
        return here

    def __exit__(self, *exception: object) -> None:
        self._inside.busy = self._before
