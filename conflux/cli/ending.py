"""How a command ends that a signal ends.

A signal's handler raises wherever it finds the command, and two places keep what it raises to themselves. An import
may: modules look for others with `except` around it, or are compiled code that goes on. And a callback does that Python
calls by itself: `__del__`, or that of a weak reference. There the handler waits for a better moment, or comes again.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING

from conflux.errors import ConfluxError
from conflux.usercode import RaisesKeyboardInterrupt

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

INTERRUPTED = 128 + signal.SIGINT
TERMINATED = 128 + signal.SIGTERM
AGAIN_SECONDS = 0.001
IMPORT_SECONDS_MAX = 1.0  # a module that takes longer is a user's: it is interrupted
IMPORTING = "<frozen importlib._bootstrap>"


class Terminated(KeyboardInterrupt):
    """SIGTERM came: for whoever runs a user's code, no different from Ctrl-C."""


class Interrupted(ConfluxError):
    """A signal ended a command, and there is something to say of what it had begun."""

    exit_status = INTERRUPTED

    def __init__(self, message: str = "", *, hint: str | None = None, exit_status: int = INTERRUPTED) -> None:
        super().__init__(message, hint=hint)
        self.exit_status = exit_status


class Ending(RaisesKeyboardInterrupt):
    """A signal's handler: it raises an error, at once or as soon as that is heard."""

    def __init__(self, error: type[KeyboardInterrupt]) -> None:
        self._error = error
        self._since_s = 0.0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now_s = time.monotonic()
        if number != signal.SIGALRM:
            self._since_s = now_s
        if now_s < self._since_s + IMPORT_SECONDS_MAX and _imports(frame):
            self.again()
        else:
            raise self._error

    def again(self) -> None:
        """Be called once more in a moment."""
        signal.signal(signal.SIGALRM, self)
        signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within, SIGTERM raises `Terminated`, and SIGINT KeyboardInterrupt.

    Where SIGINT is ignored it stays so: this is in the background of a script, and Ctrl-C means others.
    """
    endings: dict[type[BaseException], Ending] = {each: Ending(each) for each in (KeyboardInterrupt, Terminated)}

    def hook(unraisable: UnraisableHookArgs) -> None:
        if unraisable.exc_type in endings:
            endings[unraisable.exc_type].again()
        else:
            hook_before(unraisable)

    hook_before, sys.unraisablehook = sys.unraisablehook, hook
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}
    signal.signal(signal.SIGTERM, endings[Terminated])
    if before[signal.SIGINT] is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, endings[KeyboardInterrupt])
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook_before


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == IMPORTING:
            return True
        frame = frame.f_back
    return False
