"""How a command ends that a signal ends.

A signal's handler raises wherever it finds the command, and two places keep what it raises to themselves. An import
may: modules look for others with `except` around it, or are compiled code that goes on. And a callback does that Python
calls by itself: `__del__`, or that of a weak reference. There the handler waits for a better moment, or comes again.
Who is about to begin what can't be taken back asks first whether one waits: `hear`.
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
IMPORTING = "<frozen importlib._bootstrap>"  # the file of the frames that every import passes through


class Terminated(KeyboardInterrupt):
    """SIGTERM came: for whoever runs a user's code, no different from Ctrl-C."""


class Interrupted(ConfluxError):
    """A signal ended a command, and there is something to say of what it had begun."""

    exit_status = INTERRUPTED

    def __init__(self, message: str = "", *, hint: str | None = None, exit_status: int = INTERRUPTED) -> None:
        super().__init__(message, hint=hint)
        self.exit_status = exit_status

    @classmethod
    def by(cls, signal_heard: KeyboardInterrupt, message: str, hint: str | None) -> Interrupted:
        """With the status of that signal."""
        status = TERMINATED if isinstance(signal_heard, Terminated) else INTERRUPTED
        return cls(f"interrupted: {message}", hint=hint, exit_status=status)


@contextmanager
def begun(message: str, *, hint: str) -> Iterator[None]:
    """Within, something is on its way that a signal does not take back: who ends the command by one is told."""
    try:
        yield
    except KeyboardInterrupt as end:
        raise Interrupted.by(end, message, hint) from None


class Ending(RaisesKeyboardInterrupt):
    """A signal's handler: it raises an error, at once or as soon as that is heard."""

    def __init__(self, error: type[KeyboardInterrupt]) -> None:
        self._error = error
        self._import_ends_s: float | None = None  # how long it waits, while it does

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if _imports(frame):
            now_s = time.monotonic()
            self._import_ends_s = self._import_ends_s or now_s + IMPORT_SECONDS_MAX
            if now_s < self._import_ends_s:
                _come_again(number)
                return
        self._raise()

    def hear(self) -> None:
        """Raise now, where that waits for the end of an import."""
        if self._import_ends_s is not None:
            _come_no_more()
            self._raise()

    def _raise(self) -> None:
        self._import_ends_s = None
        raise self._error


def hear() -> None:
    """Let the signals be heard that came while something was imported. Outside of `ended_by_signals`, nothing."""
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        if isinstance(handler, Ending):
            handler.hear()


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within, SIGTERM raises `Terminated`, and SIGINT KeyboardInterrupt.

    Where SIGINT is ignored it stays so: this is in the background of a script, and Ctrl-C means others.
    """
    numbers: dict[type[BaseException], int] = {KeyboardInterrupt: signal.SIGINT, Terminated: signal.SIGTERM}

    def hook(unraisable: UnraisableHookArgs) -> None:
        if unraisable.exc_type in numbers:
            _come_again(numbers[unraisable.exc_type])
        else:
            hook_before(unraisable)

    hook_before, sys.unraisablehook = sys.unraisablehook, hook
    before = {number: signal.getsignal(number) for number in (*numbers.values(), signal.SIGALRM)}
    signal.signal(signal.SIGTERM, Ending(Terminated))
    if before[signal.SIGINT] is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, Ending(KeyboardInterrupt))
    try:
        yield
    finally:
        _come_no_more()
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook_before


def _come_again(number: int) -> None:
    """Have a signal come once more in a moment, to whoever handles it then."""
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(number))
    signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)


def _come_no_more() -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, lambda *_: None)  # one that is under way is in vain


def _imports(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == IMPORTING:
            return True
        frame = frame.f_back
    return False
