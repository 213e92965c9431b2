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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import CodeType, FrameType
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
        codes = list(_codes(frame))
        is_importing = any(code.co_filename == IMPORTING for code in codes)
        if _swallowed.__code__ in codes or (is_importing and self._may_wait()):
            _come_again(number)
            return
        self._import_ends_s = None
        raise self._error

    def _may_wait(self) -> bool:
        now_s = time.monotonic()
        self._import_ends_s = self._import_ends_s or now_s + IMPORT_SECONDS_MAX
        return now_s < self._import_ends_s


def hear() -> None:
    """Let a signal that waits be heard now."""
    waiting = signal.getsignal(signal.SIGALRM)
    if isinstance(waiting, _Again):
        waiting()


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Within, SIGTERM raises `Terminated`, and SIGINT KeyboardInterrupt.

    Where SIGINT is ignored it stays so: this is in the background of a script, and Ctrl-C means others.
    """
    hook_before, sys.unraisablehook = sys.unraisablehook, partial(_swallowed, sys.unraisablehook)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}
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


def _swallowed(hook_before: Callable[[UnraisableHookArgs], object], unraisable: UnraisableHookArgs) -> None:
    """Python's hook for what a callback raised, which it keeps to itself. It does so with what this raises, too."""
    if unraisable.exc_type is Terminated:
        _come_again(signal.SIGTERM)
    elif unraisable.exc_type is KeyboardInterrupt:
        _come_again(signal.SIGINT)
    else:
        hook_before(unraisable)


class _Again:
    """The handler of an alarm: a signal comes once more."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __call__(self, *_: object) -> None:
        _come_no_more()
        signal.raise_signal(self._number)


def _come_again(number: int) -> None:
    """Have a signal come once more in a moment, to whoever handles it then."""
    signal.signal(signal.SIGALRM, _Again(number))
    signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)


def _come_no_more() -> None:
    if isinstance(signal.getsignal(signal.SIGALRM), _Again):  # else the alarm is somebody else's
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, lambda *_: None)  # one that is under way is in vain


def _codes(frame: FrameType | None) -> Iterator[CodeType]:
    """What runs: the innermost first."""
    while frame is not None:
        yield frame.f_code
        frame = frame.f_back
