"""`Recorder`: the times of one load, and what is reported of them."""

from __future__ import annotations

import os
import time
from array import array
from collections.abc import Callable, Iterable
from typing import Any

from benchmarks.figures import latencies_ms

DRAIN_SECONDS_MAX = 20.0
FILL_SECONDS_MAX = 600.0
ERRORS_SHOWN = 3
PAUSE_SECONDS = 0.005  # after an error: a cluster without a leader isn't to be asked in a spin
PROBE_SECONDS_AFTER = 1.0  # what a probe asked last is waited for


class Payloads:
    """Unique texts, over all loads of a process, and what became of them."""

    def __init__(self) -> None:
        self._prefix = f"{os.getpid():x}.{time.time_ns() // 1_000_000 % 0x1000000:x}-"
        self.made = 0
        self.acknowledged: list[str] = []
        self.uncertain: list[str] = []

    def next(self, size_bytes: int) -> str:
        self.made = made = self.made + 1
        return f"{self._prefix}{made}-".ljust(size_bytes, "0")  # which takes less time than a format with a width


class Recorder:
    """Counts what is answered between the end of the warm-up and the end of the load.

    Args:
        total: end after so many calls, and count all of them, instead.
    """

    def __init__(self, seconds: float, warm_up_seconds: float, total: int | None = None) -> None:
        self._seconds = seconds
        self._total = total
        self._latencies = array("d")
        self._errors: list[str] = []
        self._attempts = 0
        self._began_cpu = time.process_time()
        self._began = time.monotonic()
        self._count_from = self._began + (warm_up_seconds if total is None else 0.0)
        self.until = self._count_from + (seconds if total is None else FILL_SECONDS_MAX)

    def may_ask(self, now: float, count: int = 1) -> int:
        """How many of `count` further calls are still part of the load."""
        if now >= self.until:
            return 0
        if self._total is not None:
            count = min(count, self._total - self._attempts)
        self._attempts += count
        return count

    def took(self, asked: float, now: float) -> bool:
        """Count an answer. True where another call is still part of the load."""
        if now >= self.until:
            return False
        if now >= self._count_from:
            self._latencies.append(now - asked)
        if self._total is not None and self._attempts >= self._total:
            return False
        self._attempts += 1
        return True

    def answered_all(self, asked: Iterable[float], now: float) -> None:
        if self._count_from <= now < self.until:
            self._latencies.extend([now - each for each in asked])

    def failed(self, error: object) -> None:
        self._errors.append(str(error))

    def report(self, *, is_drained: bool = True) -> dict[str, Any]:
        wall_seconds = time.monotonic() - self._began
        seconds = self._seconds if self._total is None else wall_seconds
        return {
            "operations": len(self._latencies),
            "seconds": seconds,
            "per_second": len(self._latencies) / seconds,
            "latency_ms": latencies_ms(self._latencies),
            "attempts": self._attempts,
            "errors": len(self._errors),
            "first_errors": self._errors[:ERRORS_SHOWN],
            "drained": is_drained,
            "generator_cpu_share": (time.process_time() - self._began_cpu) / wall_seconds,
        }


def timed_reads(read: Callable[[], object], seconds: float) -> dict[str, Any]:
    """One read after the other."""
    latencies = array("d")
    until = time.monotonic() + seconds
    began_cpu = time.process_time()
    while (began := time.monotonic()) < until:
        read()
        latencies.append(time.monotonic() - began)
    return {
        "per_second": len(latencies) / seconds,
        "latency_ms": latencies_ms(latencies),
        "reader_cpu_us": (time.process_time() - began_cpu) / len(latencies) * 1e6,
    }
