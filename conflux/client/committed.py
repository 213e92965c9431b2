"""`Committed`: one committed action, as its caller and every watcher see it; `Unread`: before its caller looks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, final

from msgspec import Struct

from conflux.errors import MalformedValue
from conflux.wire import values
from conflux.wire.clients import Event


@final
class Committed(Struct, frozen=True):
    """A committed action; for a call that dispatched nothing `revision` and `action` are None."""

    revision: int | None  # counts actions over the life of the cluster, from 1
    index: int  # of the log entry
    term: int
    time_us: int  # the leader's wall clock, since 1970: a label, not an order
    action: Any
    method: str = ""
    gap: bool = False  # stands for events up to this revision that can't be told one by one any more
    state: Any = None  # only with `gap`: the state at that revision

    @property
    def time(self) -> datetime:
        """The leader's wall clock, UTC."""
        return datetime.fromtimestamp(self.time_us / 1e6, UTC)


@final
class Unread(Struct, frozen=True):
    """A `Committed` whose action is still the bytes that came: few who make many calls look at what was dispatched."""

    revision: int | None
    index: int
    term: int
    time_us: int
    packed: bytes
    method: str

    def read(self) -> Committed | MalformedValue:
        """Decode it, in the thread of whoever asks; the error, where a node told of bytes that are no value."""
        try:
            action = values.decode_trusted(self.packed)
        except MalformedValue as error:
            return error
        return Committed(self.revision, self.index, self.term, self.time_us, action, self.method)


def gap_at(revision: int, state: Any) -> Committed:
    """What stands for all events up to a revision, where they are held nowhere near: the state that they led to."""
    return Committed(revision, 0, 0, 0, None, gap=True, state=state)


def from_event(event: Event) -> Committed:
    """The Committed that an event tells of."""
    action = values.decode_trusted(event.action)
    return Committed(event.revision, event.index, event.term, event.time_us, action, event.method)
