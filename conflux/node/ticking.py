"""How much of the time that passed counts as evidence against a leader."""

from __future__ import annotations

from conflux.node.options import TICK_MS

TICK_S = TICK_MS / 1000


class Ticker:
    """Turns time into ticks.

    A node waits on purpose, for as long as it planned; all other time its own loop was blocked, by its disk, by a
    method, by the machine. Blocked time is no evidence that the leader is silent, since its messages may be waiting: it
    counts for one heartbeat interval at most.
    """

    def __init__(self, heartbeat_s: float, now_s: float) -> None:
        self.stalls = 0
        self.longest_gap_s = 0.0
        self._heartbeat_s = heartbeat_s
        self._ticked_s = now_s
        self._turn_began_s = now_s
        self._planned_s = 0.0

    def begin(self, now_s: float) -> None:
        """A turn begins: take note of how long the loop was away."""
        gap_s = now_s - self._turn_began_s - self._planned_s
        self._turn_began_s = now_s
        if gap_s > self.longest_gap_s:
            self.longest_gap_s = gap_s
        if gap_s > self._heartbeat_s:
            self.stalls += 1
            self._ticked_s += gap_s - self._heartbeat_s  # as if that time had not been

    def take(self, now_s: float) -> int:
        """The ticks that are due; to be called once the waiting messages are stepped."""
        ticks = int((now_s - self._ticked_s) / TICK_S)
        if ticks <= 0:
            return 0
        self._ticked_s += ticks * TICK_S
        return ticks

    def end(self, wait_s: float) -> None:
        """The turn is over and the loop is about to wait for up to `wait_s`."""
        self._planned_s = wait_s
