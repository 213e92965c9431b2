"""A log folded anew, from the state that it begins with: for who doubts a state, a machine, or a reducer."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from conflux.app import App
from conflux.errors import ConfluxError, Diverged
from conflux.raft.entry import Entry
from conflux.store.dumps import encoder_of
from conflux.store.machine import Machine, fold
from conflux.store.records import StateHash, header_of, records_of
from conflux.wire.states import digest


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a log came to."""

    revision: int
    state: Any
    state_hash: bytes
    agreed_revision: int | None  # the last whose hash stands in the log, and is this one's; None: there is none


def replay(machine: Machine, entries: Iterable[Entry], app: App[Any, Any]) -> Replayed:
    """Fold the log; each hash of the state that stands in it is held against this one.

    Raises:
        ConfluxError: another version of the app made an entry.
        Diverged: the reducer raises, or the state isn't what it was: between which revisions is said.
        Damaged: an entry doesn't decode.
    """
    agreed: int | None = None
    for entry in entries:
        made_by = header_of(entry.payload).app_version
        if made_by != app.version:
            raise ConfluxError(
                f"the entry behind revision {machine.revision} was made by version {made_by} of the app, "
                f"and this is version {app.version}",
                hint="Replay it with the version that made it.",
            )
        machine.hash_point.finish()  # a hash in the entry is then held against ours at once
        try:
            after = fold(machine, entry, app)
        except Diverged as error:
            known = f"; up to revision {agreed} it is" if agreed is not None and error.revision else ""
            raise Diverged(f"{error}{known}", since_revision=agreed or 0, revision=error.revision) from error
        compared = [revision for revision in _hashed(entry) if machine.point_at(revision) is not None]
        agreed = compared[-1] if compared else agreed
        machine = after
    return Replayed(machine.revision, machine.state, digest(encoder_of(app)(machine.state)), agreed)


def _hashed(entry: Entry) -> list[int]:
    """The revisions whose hashes stand in an entry."""
    return [record.revision for record in records_of(entry.payload) if isinstance(record, StateHash)]
