"""Simulated time: one schedule for the whole world, and what each machine's clocks make of it."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any

START_S = 1000.0
START_WALL_US = 1_700_000_000_000_000


class Schedule:
    """What will happen, in order. Two events of one moment happen in the order in which they were planned."""

    def __init__(self) -> None:
        self.now_s = START_S
        self._events: list[tuple[float, int, Callable[[Any], None], Any]] = []
        self._planned = 0

    def at(self, time_s: float, action: Callable[[Any], None], argument: Any = None) -> None:
        """Plan `action(argument)`; a time that has passed means now."""
        self._planned += 1
        heappush(self._events, (time_s if time_s > self.now_s else self.now_s, self._planned, action, argument))

    def run_next(self) -> None:
        """Let time pass until the next event, and let it happen."""
        self.now_s, _, action, argument = heappop(self._events)
        action(argument)


class SimulatedClock:
    """One machine's clocks, as `conflux.node.clock.Clock`.

    While a machine works, its own time runs ahead of the schedule by `busy_s`: what it sends leaves then, and it is
    not turned again before.

    Args:
        rate: seconds that this clock counts in a true second.
        offset_s: how far its monotonic clock is off; it never jumps, but says little to others.
        wall_offset_s: how far its wall clock is off: an hour is nothing unusual.
        read_cost_s: time that passes whenever it is read, as if something had been worked between.
    """

    def __init__(
        self,
        schedule: Schedule,
        *,
        rate: float = 1.0,
        offset_s: float = 0.0,
        wall_offset_s: float = 0.0,
        read_cost_s: float = 0.0,
    ) -> None:
        self.rate = rate
        self.busy_s = 0.0
        self._schedule = schedule
        self._offset_s = offset_s
        self._wall_offset_us = int(wall_offset_s * 1e6)
        self.read_cost_s = read_cost_s

    @property
    def true_s(self) -> float:
        """When, on the schedule, this machine is now."""
        return self._schedule.now_s + self.busy_s

    def monotonic_s(self) -> float:
        """See `Clock`."""
        self.busy_s += self.read_cost_s
        return START_S + self._offset_s + (self._schedule.now_s + self.busy_s - START_S) * self.rate

    def wall_us(self) -> int:
        """See `Clock`."""
        return START_WALL_US + int((self.true_s - START_S) * 1e6) + self._wall_offset_us

    def jump(self, seconds: float) -> None:
        """The wall clock is set; the monotonic one knows nothing of that."""
        self._wall_offset_us += int(seconds * 1e6)

    def work(self, seconds: float) -> None:
        """Let the machine be busy."""
        self.busy_s += seconds
