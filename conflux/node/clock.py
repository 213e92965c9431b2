"""Time as a node sees it; the simulator brings its own."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Two clocks: one to measure with, one to show to people."""

    def monotonic_s(self) -> float:
        """Seconds since some moment; never jumps."""
        ...

    def wall_us(self) -> int:
        """Microseconds since 1970, as this machine believes."""
        ...


class SystemClock:
    """The machine's clocks."""

    monotonic_s = staticmethod(time.monotonic)  # asked several times for each action

    def wall_us(self) -> int:
        return time.time_ns() // 1000
