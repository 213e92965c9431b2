"""One mutant, hunted until it is found."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.teeth.hunts import FOUND
from tests.teeth.mutant import Mutant

SECONDS_MAX = 60.0  # of one core's time


@dataclass(frozen=True, slots=True)
class Kill:
    """What found a mutant, and what that said."""

    attempt: str
    attempts: int
    words: str
    seconds: float


class Survived(BaseException):
    """No kill, which no mutant can catch: a hunt found nothing, or finds something in sound code too."""


def hunt_down(mutant: Mutant, seconds_max: float = SECONDS_MAX) -> Kill:
    """Plant a mutant, hunt it, and see that the sound code survives what found it.

    Raises:
        Survived: it was not found in time, or not it was found.
    """
    began_s = time.process_time()
    with pytest.MonkeyPatch.context() as patch, _bounded(seconds_max, mutant.name):
        mutant.plant(patch)
        kill = _first_kill(mutant, began_s, seconds_max)
    sound = next(attempt for name, attempt in mutant.hunt.attempts() if name == kill.attempt)
    try:
        sound()
    except FOUND as error:
        raise Survived(f"{mutant.name}: {kill.attempt} fails in sound code too: {error}") from error
    return kill


@contextmanager
def _bounded(seconds: float, name: str) -> Iterator[None]:
    """End what works for longer: a mutant may well make a loop without an end."""

    def end(*_signal: object) -> None:
        raise Survived(f"{name} spins, and nothing notices")

    before = signal.signal(signal.SIGPROF, end)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _first_kill(mutant: Mutant, began_s: float, seconds_max: float) -> Kill:
    attempts = 0
    for name, attempt in mutant.hunt.attempts():
        attempts += 1
        try:
            attempt()
        except FOUND as error:
            words = " ".join(str(error).split()) or type(error).__name__
            return Kill(name, attempts, words, time.process_time() - began_s)
        if time.process_time() - began_s > seconds_max:
            break
    took_s = time.process_time() - began_s
    raise Survived(f"{mutant.name} survived {attempts} attempts in {took_s:.0f} s")
