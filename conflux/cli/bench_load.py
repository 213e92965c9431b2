"""A closed loop of calls on a cluster: N in flight, each answer makes the next call; and what came of them."""

from __future__ import annotations

import threading
import time
from array import array
from bisect import bisect_left
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from conflux.errors import ConfluxError, MethodRejected, UnknownMethod

if TYPE_CHECKING:
    from conflux.client.client import Client
    from conflux.client.committed import Committed

FAILURES_MAX = 100  # then the load ends: a cluster that refuses everything isn't to be asked in a spin
PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}
BUCKETS_MS = tuple(step * scale for scale in (0.1, 1, 10, 100, 1000, 10_000) for step in (1, 2, 5))
UNIQUE_DIGITS = 12


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest of some ordered values that at least `percent` of them don't exceed."""
    rank = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(0, min(len(ordered), int(rank)) - 1)]


def percentiles_ms(latencies_s: Sequence[float]) -> dict[str, float | None]:
    """By name; None without any latency."""
    ordered = sorted(latencies_s)
    return {
        name: round(percentile(ordered, percent) * 1000, 3) if ordered else None
        for name, percent in PERCENTILES.items()
    }


def histogram(latencies_s: Sequence[float]) -> list[dict[str, float | None]]:
    """How many lie above one bound and not above the next, from the first bucket that has any to the last."""
    counts = [0] * (len(BUCKETS_MS) + 1)
    for latency_s in latencies_s:
        counts[bisect_left(BUCKETS_MS, latency_s * 1000)] += 1
    bounds: list[float | None] = [*BUCKETS_MS, None]
    used = [number for number, each in enumerate(counts) if each] or [0, -1]
    return [{"up_to_ms": bounds[number], "count": counts[number]} for number in range(used[0], used[-1] + 1)]


@dataclass(frozen=True, slots=True)
class Job:
    """What is performed again and again.

    Args:
        size_bytes: of the argument, where there are none: a text that is another each time.
    """

    method: str
    arguments: tuple[Any, ...]
    size_bytes: int

    def arguments_of(self, number: int) -> tuple[Any, ...]:
        """Those of a call."""
        return self.arguments or (f"{number:0{UNIQUE_DIGITS}d}".rjust(self.size_bytes, "x"),)


class Load:
    """Callbacks come from the client's thread; progress and the end are looked at from another."""

    def __init__(self, client: Client, job: Job, *, in_flight: int, timeout_s: float) -> None:
        self.latencies_s = array("d")  # of what was answered after the warm-up
        self.acknowledged = 0  # with the warm-up
        self.rejected = 0
        self.failed = 0
        self.first_failure: BaseException | None = None
        self._client = client
        self._job = job
        self._in_flight = in_flight
        self._timeout_s = timeout_s
        self._numbers = count(time.time_ns() // 1000 % 10**UNIQUE_DIGITS)
        self._is_counting = False
        self._is_over = False
        self._flying = 0
        self._lock = threading.Lock()
        self._drained = threading.Event()

    def start(self) -> None:
        """Send the first calls."""
        self._flying = self._in_flight
        for _ in range(self._in_flight):
            self._call()

    def count_from_now(self) -> None:
        """The warm-up is over."""
        self._is_counting = True

    def stop(self) -> None:
        """Make no further calls."""
        self._is_over = True

    def wait(self, seconds: float) -> bool:
        """Wait until all calls are answered: after `stop`, or because too many failed."""
        return self._drained.wait(seconds)

    def _call(self) -> None:
        asked_s = time.monotonic()
        try:
            future = self._client.submit(
                self._job.method, *self._job.arguments_of(next(self._numbers)), timeout=self._timeout_s
            )
        except ConfluxError as error:
            self._fail(error)
            self._land()
        else:
            future.add_done_callback(lambda answered: self._answered(answered, asked_s))

    def _answered(self, future: Future[Committed], asked_s: float) -> None:
        error = future.exception()
        is_rejected = isinstance(error, MethodRejected) and not isinstance(error, UnknownMethod)
        if error is None or is_rejected:  # a rejection is committed, too
            self.acknowledged += 1
            self.rejected += is_rejected
            if self._is_counting and not self._is_over:
                self.latencies_s.append(time.monotonic() - asked_s)
        else:
            self._fail(error)
        if self._is_over or self.failed >= FAILURES_MAX:
            self._land()
        else:
            self._call()

    def _fail(self, error: BaseException) -> None:
        self.failed += 1
        self.first_failure = self.first_failure or error

    def _land(self) -> None:
        with self._lock:
            self._flying -= 1
            if not self._flying:
                self._drained.set()
