"""A closed loop: N calls in flight, each answer makes the next call, from within the callback of the library."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from benchmarks.exactly_once import verdict
from benchmarks.workers.lines import Answer
from benchmarks.workers.recorder import DRAIN_SECONDS_MAX, PAUSE_SECONDS, PROBE_SECONDS_AFTER, Payloads, Recorder

ERRORS_MAX = 10_000  # then something is wrong, and the load ends


class Answered(Protocol):
    """What became of a call; a future is one."""

    def exception(self) -> object:
        """Why nothing came of it, or None."""


# Takes a payload and what to call once it is answered.
Submit = Callable[[str, Callable[[Answered], None]], None]


class Load:
    """Makes load through `submit`, and remembers what was acknowledged over all its runs.

    A client has one processor for its calls and for this: what a run does for each of them is as little as can be.
    """

    def __init__(self, submit: Submit) -> None:
        self._submit = submit
        self._payloads = Payloads()

    def commands(self) -> dict[str, Callable[..., Answer]]:
        """What a worker that holds this can be asked for."""
        return {"load": self.run, "fill": self.fill, "probe": self.probe}

    def run(
        self, in_flight: int, seconds: float = 2.0, warm_up_seconds: float = 0.5, size_bytes: int = 32
    ) -> dict[str, Any]:
        """Keep `in_flight` calls going; what is answered after the warm-up counts."""
        recorder = Recorder(seconds, warm_up_seconds)
        return _Run(self._submit, self._payloads, recorder, size_bytes).go(in_flight)

    def fill(self, total: int, in_flight: int, size_bytes: int = 32) -> dict[str, Any]:
        """Make so many calls, as fast as they are answered."""
        recorder = Recorder(0.0, 0.0, total)
        return _Run(self._submit, self._payloads, recorder, size_bytes).go(in_flight)

    def probe(self, rate: int, seconds: float, size_bytes: int = 32) -> dict[str, Any]:
        """An open loop: so many calls a second, whatever becomes of those before; when each was acknowledged."""
        answered_at: list[float] = []
        began = time.monotonic()
        for number in range(int(rate * seconds)):
            time.sleep(max(0.0, began + number / rate - time.monotonic()))
            text = self._payloads.next(size_bytes)
            self._payloads.uncertain.append(text)  # what hears of nothing may be there
            self._submit(text, partial(self._probed, text, answered_at))
        until = time.monotonic()
        time.sleep(PROBE_SECONDS_AFTER)
        return {"answered_at": list(answered_at), "until": until, "asked": int(rate * seconds)}

    def _probed(self, text: str, answered_at: list[float], answered: Answered) -> None:
        if answered.exception() is None:
            self._payloads.acknowledged.append(text)
            answered_at.append(time.monotonic())

    def check(self, state: list[str]) -> dict[str, Any]:
        """Whether a state holds what was acknowledged."""
        problems = verdict(state, self._payloads.acknowledged, self._payloads.uncertain)
        return {"problems": problems, "state_length": len(state)}


class _Run:
    """One load. Callbacks come from one thread of the library; the first calls, from the caller's."""

    def __init__(self, submit: Submit, payloads: Payloads, recorder: Recorder, size_bytes: int) -> None:
        self.submit = submit
        self.payloads = payloads
        self.recorder = recorder
        self.size_bytes = size_bytes
        self._flying = 0
        self._lock = threading.Lock()
        self._errors_left = ERRORS_MAX
        self._drained = threading.Event()

    def go(self, in_flight: int) -> dict[str, Any]:
        self._flying = self.recorder.may_ask(time.monotonic(), in_flight)
        for _ in range(self._flying):
            _Caller(self).call(time.monotonic())
        seconds_left = self.recorder.until - time.monotonic()
        is_drained = self._drained.wait(seconds_left + DRAIN_SECONDS_MAX)
        return self.recorder.report(is_drained=is_drained)

    def failed(self, text: str, error: object, now: float) -> bool:
        """Note a call that nothing came of. True where its caller may try another, a little later."""
        self.payloads.uncertain.append(text)
        self.recorder.failed(error)
        self._errors_left -= 1
        return self._errors_left > 0 and self.recorder.may_ask(now) > 0

    def over(self) -> None:
        """One caller makes no more calls."""
        with self._lock:
            self._flying -= 1
            if not self._flying:
                self._drained.set()


class _Caller:
    """Makes one call after the other: so many of them are in flight.

    It works in the thread that tells of the answers, which no other call leaves meanwhile: what it needs is at hand.
    """

    __slots__ = (
        "_acknowledged",
        "_asked",
        "_next_text",
        "_run",
        "_size_bytes",
        "_submit",
        "_text",
        "_took",
        "_when_done",
    )

    def __init__(self, run: _Run) -> None:
        self._run = run
        self._submit = run.submit
        self._next_text, self._size_bytes = run.payloads.next, run.size_bytes
        self._acknowledged = run.payloads.acknowledged.append
        self._took = run.recorder.took
        self._when_done = self._done
        self._text = ""
        self._asked = 0.0

    def call(self, now: float) -> None:
        self._asked = now
        self._text = text = self._next_text(self._size_bytes)
        self._submit(text, self._when_done)

    def _done(self, answered: Answered) -> None:
        now = time.monotonic()
        error = answered.exception()
        if error is None:
            self._acknowledged(self._text)
            if self._took(self._asked, now):
                self.call(now)
                return
        elif self._run.failed(self._text, error, now):
            threading.Timer(PAUSE_SECONDS, lambda: self.call(time.monotonic())).start()
            return
        self._run.over()
