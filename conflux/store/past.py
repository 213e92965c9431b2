"""A state of the past: from one that is known, and the log behind it, action by action."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from conflux.app import App
from conflux.errors import ConfluxError, Diverged
from conflux.raft.entry import Entry
from conflux.store.history import events_of
from conflux.store.records import header_of
from conflux.usercode import let_ctrl_c_through, user_code
from conflux.wire import values


@dataclass(frozen=True, slots=True)
class PastState:
    """The state at a revision."""

    revision: int
    index: int  # of an entry that leaves the state so
    state: Any


def fold_some(base: PastState, entry: Entry, app: App[Any, Any], last_revision: int) -> Iterator[PastState]:
    """The state after each action of one entry, up to `last_revision`; the entry's end where it holds none.

    Raises:
        ConfluxError: another version of the app made the entry, or the reducer raises.
        Damaged: the entry doesn't decode.
    """
    header = header_of(entry.payload)
    if header.app_version != app.version:
        raise ConfluxError(
            f"revision {header.first_revision} was made by version {header.app_version} of the app, "
            f"and this is version {app.version}"
        )
    reduce = app.reduce
    assert reduce is not None
    state, revision = base.state, base.revision
    for event in events_of(entry):
        if revision < event.revision <= last_revision:
            try:
                with user_code():
                    state = reduce(state, values.decode_trusted(event.action))
            except BaseException as error:  # whatever the user's reducer raises
                let_ctrl_c_through(error)
                reason = f"{type(error).__name__}: {error}"
                raise Diverged(f"the reducer raises at revision {event.revision}: {reason}") from error
            revision = event.revision
            yield PastState(revision, entry.index, state)
    yield PastState(revision, entry.index, state)
