"""`Past`: states of revisions that are over, worked out between the turns, beside the live state.

Each begins with what is nearest before it: a snapshot that is kept, or the initial state where the log reaches back to
its beginning. From there the log is folded again, in slices.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from conflux import limits
from conflux.app import App
from conflux.errors import Busy, ConfluxError, Damaged, NotRetained
from conflux.node.clock import Clock
from conflux.node.replica import Replica
from conflux.node.restoring import read_machine
from conflux.storage.interface import SnapshotHeader, Storage
from conflux.store.machine import Machine
from conflux.store.past import PastState, fold_some

SLICE_SECONDS = 0.002
READ_BYTES = 256 * limits.KIB
WORKING_SECONDS = 0.1  # who waits is told so often that it is being worked out

Found: TypeAlias = PastState | ConfluxError
Tell: TypeAlias = Callable[[Found | None], None]  # None, from time to time: it is being worked out


@dataclass(slots=True)
class _Wanted:
    """A revision that somebody wants, and who is told."""

    revision: int
    told: dict[Any, Tell] = field(default_factory=dict)
    steps: Iterator[PastState | None] | None = None


class Past:
    """The past of one node."""

    def __init__(self, replica: Replica, storage: Storage, app: App[Any, Any], clock: Clock) -> None:
        self._replica = replica
        self._storage = storage
        self._app = app
        self._clock = clock
        self._wanted: deque[_Wanted] = deque()
        self._told_s = clock.monotonic_s()

    @property
    def has_work(self) -> bool:
        """True while a state is being worked out."""
        return bool(self._wanted)

    def first_revision(self) -> int:
        """The first that can be worked out."""
        begins = [header.revision for header in self._usable(limits.NUMBER_MAX)]
        return 0 if self._replica.raft.log.first_index == 1 else min(begins, default=self._replica.machine.revision)

    def ask(self, who: Any, revision: int, tell: Tell) -> None:
        """Work out the state at a revision. Asking again, as the same, changes nothing."""
        newest = self._replica.machine.revision
        if not self.first_revision() <= revision <= newest:
            tell(self._not_retained(revision))
            return
        for wanted in self._wanted:
            if wanted.revision == revision:
                wanted.told[who] = tell
                return
        if len(self._wanted) >= limits.PAST_STATES_MAX:
            tell(Busy("too many states of the past are asked for"))
            return
        self._wanted.append(_Wanted(revision, {who: tell}))

    def work(self) -> None:
        """Do what can be done in a slice of time."""
        if not self._wanted:
            return
        wanted, now_s = self._wanted[0], self._clock.monotonic_s()
        self._tell_who_waits(now_s)
        deadline_s = now_s + SLICE_SECONDS
        try:
            if wanted.steps is None:
                wanted.steps = self._steps(wanted.revision)
            for found in wanted.steps:
                if found is not None and found.revision == wanted.revision:
                    self._end(wanted, found)
                    return
                if self._clock.monotonic_s() >= deadline_s:
                    return
            raise Damaged(f"the log does not lead to revision {wanted.revision}")
        except ConfluxError as error:
            self._end(wanted, error)

    def close(self, error: ConfluxError) -> None:
        """Tell all who wait."""
        while self._wanted:
            self._end(self._wanted[0], error)

    # -- inside --------------------------------------------------------------------------------------------------

    def _end(self, wanted: _Wanted, found: Found) -> None:
        self._wanted.remove(wanted)
        for tell in wanted.told.values():
            tell(found)

    def _tell_who_waits(self, now_s: float) -> None:
        """Whoever hears nothing asks elsewhere, where the same work would begin anew."""
        if now_s - self._told_s < WORKING_SECONDS:
            return
        self._told_s = now_s
        for wanted in self._wanted:
            for tell in wanted.told.values():
                tell(None)

    def _usable(self, revision: int) -> list[SnapshotHeader]:
        """The snapshots that lead to a revision, the nearest first."""
        base_index = self._replica.raft.log.snapshot_index
        return [
            header
            for header in self._storage.snapshots.all()
            if header.revision <= revision and header.index >= base_index
        ]

    def _steps(self, revision: int) -> Iterator[PastState | None]:
        """States on the way to the one at `revision`; None while there's no telling yet."""
        base: PastState | None = None
        for step in self._base(revision):
            base = step
            yield base
        while base is not None and base.revision < revision:
            log, index = self._replica.raft.log, base.index + 1
            if index < log.first_index:
                raise self._not_retained(revision)  # it was cut meanwhile
            for entry in log.entries(index, self._replica.machine.index, READ_BYTES):
                for after in fold_some(base, entry, self._app, revision):
                    base = after
                    yield base

    def _base(self, revision: int) -> Iterator[PastState | None]:
        """What is nearest before a revision; a snapshot that is damaged is passed over."""
        for header in self._usable(revision):
            try:
                snapshot = self._storage.snapshots.open(header.index)
            except (KeyError, Damaged):
                continue
            try:
                for machine in read_machine(snapshot, self._app):
                    yield None if machine is None else PastState(machine.revision, machine.index, machine.state)
                return
            except Damaged:
                continue
            finally:
                snapshot.close()
        if self._replica.raft.log.first_index != 1:
            raise self._not_retained(revision)
        yield PastState(0, 0, Machine.initial(self._app).state)

    def _not_retained(self, revision: int) -> NotRetained:
        first, newest = self.first_revision(), self._replica.machine.revision
        if revision > newest:
            hint = "Ask for one that was committed."
            return NotRetained(f"revision {revision} is not there yet: the newest is {newest}", hint=hint)
        hint = "What `start --archive` kept of older ones: conflux export --archive, then conflux replay."
        return NotRetained(f"revision {revision} is compacted away: {first} to {newest} can be looked at", hint=hint)
