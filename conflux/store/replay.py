"""`Replay`: what the log folds into at a revision, folded anew and in slices: to find where a state went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from conflux import limits
from conflux.app import App
from conflux.store.dumps import encoder_of
from conflux.store.hash_points import NO_ENCODING, HashPoint
from conflux.store.history import ReadEntries, entry_of_revision, events_of
from conflux.usercode import let_ctrl_c_through, user_code
from conflux.wire import values
from conflux.wire.clients import Event

READ_BYTES = 256 * limits.KIB
RAISED = b"raised"  # what stands for the hash of a state that the reducer did not come to


@dataclass(frozen=True, slots=True)
class Known:
    """The state at a revision."""

    revision: int
    state: Any


class Replay:
    """Folds from a known state on; what it comes to is kept, so that a bisection folds each action twice at most.

    Args:
        read: reads committed entries.
        first, last: the bounds of the log that may be read; it holds all actions after `base`.
    """

    def __init__(self, app: App[Any, Any], read: ReadEntries, *, first: int, last: int, base: Known) -> None:
        assert app.reduce is not None
        self.state_hash: bytes | None = None  # once `work` is through
        self.base_revision = base.revision
        self._reduce: Callable[[Any, Any], Any] = app.reduce
        self._encode = encoder_of(app)
        self._read = read
        self._first = first
        self._last = last
        self._known = [base]
        self._work: Iterator[None] = iter(())

    def seek(self, revision: int) -> None:
        """Begin to work out the hash of the state at a revision, not before the base's."""
        while len(self._known) > 1 and self._known[-1].revision > revision:
            self._known.pop()
        self.state_hash = None
        self._work = self._slices(revision)

    def work(self) -> bool:
        """Do one slice. True while there is more."""
        return next(self._work, self) is None

    def event_at(self, revision: int) -> Event | None:
        """The action of a revision."""
        return next((event for event in self._events_from(revision) if event.revision == revision), None)

    def _slices(self, revision: int) -> Iterator[None]:
        known = self._known[-1]
        state = known.state
        for event in self._events_from(known.revision + 1) if known.revision < revision else ():
            try:
                with user_code():
                    state = self._reduce(state, values.decode_trusted(event.action))
            except BaseException as error:  # whatever the user's reducer raises
                let_ctrl_c_through(error)
                self.state_hash = RAISED
                return
            yield
            if event.revision == revision:
                break
        self._known.append(Known(revision, state))
        point = HashPoint(revision, state, self._encode)
        while point.work():
            yield
        self.state_hash = point.digest or NO_ENCODING

    def _events_from(self, revision: int) -> Iterator[Event]:
        index = entry_of_revision(self._read, self._first, self._last, revision)
        while index <= self._last:
            for entry in self._read(index, self._last, READ_BYTES):
                yield from (event for event in events_of(entry) if event.revision >= revision)
                index = entry.index + 1
