"""`Chores`: what a node does beside its log - it hashes, holds hashes against the others', snapshots, looks back.

Most turns of a busy node bring none of it anything to do, and to ask each room whether it has costs as much as an
entry. So they are looked at every few milliseconds, and in each turn only while one of them is at work.

All nodes come to the same hash points and snapshots at about the same time, and those that share a machine would leave
the log no processor: a call takes four hops, and each would wait for slices of chores. So while the log moves, a slice
is followed by a rest.
"""

from __future__ import annotations

from collections.abc import Callable

from conflux.node.backups import Backups
from conflux.node.guard import Guard
from conflux.node.past import Past
from conflux.node.replica import Replica
from conflux.node.snapshot_work import SnapshotWork
from conflux.node.state_hashes import StateHashes

PAUSE_SECONDS = 0.005  # something new waits for no longer, and most of it is looked at at once: see `look_soon`
DISK_LOOK_SECONDS = 0.01  # while a disk takes a snapshot in, or chunks of one are on their way
STUCK_SECONDS = 1.0  # while the node waits for room on its disk
HASH_SLICES_PER_TURN = 4
MOVING_SECONDS = 0.02  # so long after it last did the log is said to move
REST_TIMES = 4  # as long as what was worked, while the log moves: a fifth of a busy node's time at most
REST_SECONDS_MAX = 0.05  # where the process was stopped in the middle of a slice, say


class Chores:
    """The rooms of it, in the order in which they are worked.

    Args:
        clock: the node's monotonic clock.
    """

    def __init__(
        self,
        replica: Replica,
        guard: Guard,
        state_hashes: StateHashes,
        snapshots: SnapshotWork,
        past: Past,
        backups: Backups,
        clock: Callable[[], float],
    ) -> None:
        self.is_busy = False  # one of them has something to do at once
        self.log_moved_s = 0.0  # when the log, or what is committed of it, last did
        self._replica = replica
        self._guard = guard
        self._state_hashes = state_hashes
        self._snapshots = snapshots
        self._past = past
        self._backups = backups
        self._clock = clock
        self._not_before_s = 0.0
        self.due_s = 0.0  # by then one of them has something to do, or was not asked for too long whether it has

    def look_soon(self) -> None:
        """There is something new for one of them: look in this turn, or the next."""
        self._not_before_s = self.due_s = 0.0

    def turn(self, now_s: float) -> bool:
        """A slice of each, if it is time: True then, since there may be something to carry out."""
        if now_s < self._not_before_s and not self.is_busy:
            self.due_s = self._not_before_s
            return False
        began_s = self._clock()  # the turn's own beginning lies before what it wrote to the disk
        self._work(now_s)
        self.is_busy = (
            self._guard.has_work or self._state_hashes.has_work or self._snapshots.has_work or self._past.has_work
        )
        wait_s = STUCK_SECONDS if self._replica.is_stuck else self._guard.wait_s(now_s)
        self.due_s = now_s + (min(wait_s, DISK_LOOK_SECONDS) if self._snapshots.waits else wait_s)
        self._not_before_s = min(self.due_s, now_s + PAUSE_SECONDS)
        if self.is_busy and now_s - self.log_moved_s < MOVING_SECONDS:
            self.is_busy = False
            ended_s = self._clock()
            self._not_before_s = self.due_s = ended_s + min(REST_TIMES * (ended_s - began_s), REST_SECONDS_MAX)
        return True

    def _work(self, now_s: float) -> None:
        if not self._replica.is_stuck:
            self._guard.turn(now_s)
        self._guard.work()
        if self._state_hashes.has_work:
            for _ in range(HASH_SLICES_PER_TURN):
                self._state_hashes.work()
        self._snapshots.work()
        self._past.work()
        self._backups.turn(now_s)
