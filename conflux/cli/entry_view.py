"""A log entry as `conflux inspect-log` shows it: decoded, as the object of --json and as a line of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conflux.cli import output
from conflux.errors import Damaged
from conflux.raft.entry import Entry, Kind
from conflux.store.history import events_of
from conflux.store.records import Calls, Record, SessionClosed, SessionOpened, header_of, method_names, records_of
from conflux.wire import values
from conflux.wire.clients import Rejection

ACTIONS_SHOWN_MAX = 3  # on a line of text

_FIELDS = ("index", "term", "kind", "time", "records", "actions", "rejections", "nothings", "sessions_opened")
_DAMAGED = dict.fromkeys((*_FIELDS, "sessions_closed", "committed", "bytes", "checksum_ok", "problem"))


def view(entry: Entry, *, checksum_ok: bool, commit_index: int) -> dict[str, Any]:
    """The entry's fields. Of one whose bytes are not what was written nothing is told but its place."""
    if not checksum_ok:
        problem = "does not match its checksum"
        return _DAMAGED | {"index": entry.index, "checksum_ok": False, "problem": problem}
    common = {
        "index": entry.index,
        "term": entry.term,
        "bytes": len(entry.payload),
        "checksum_ok": True,
        "committed": entry.index <= commit_index,
    }
    try:
        return _DAMAGED | common | _decoded(entry)
    except Damaged as error:  # the checksum is right, so a version that we don't know wrote it
        return _DAMAGED | common | {"kind": "other", "problem": str(error)}


def line(shown: dict[str, Any]) -> str:
    """The entry on one line."""
    index = output.styled(f"{shown['index']:>8}", bold=True)
    if not shown["checksum_ok"]:
        return f"{index}  {output.styled('DAMAGED', fg='red', bold=True)}  {shown['problem']}"
    mark = "committed  " if shown["committed"] else output.styled("uncommitted", fg="yellow")
    when = output.styled(shown["time"] or "no time", dim=True)
    return f"{index}  term {shown['term']:<4} {mark}  {when}  {shown['kind']:<10}  {_content(shown)}".rstrip()


def _decoded(entry: Entry) -> dict[str, Any]:
    header, records = header_of(entry.payload), records_of(entry.payload)
    calls = [record for record in records if isinstance(record, Calls)]
    return {
        "kind": _kind(entry.kind, records),
        "time": output.utc(header.wall_time_us),
        "records": sum(len(record.outcomes) for record in calls) + len(records) - len(calls),
        "actions": [
            {"revision": event.revision, "method": event.method, "action": values.decode_trusted(event.action)}
            for event in events_of(entry)
        ],
        "rejections": [rejection for record in calls for rejection in _rejections(record)],
        "nothings": sum(record.outcomes.count(None) for record in calls),
        "sessions_opened": sum(isinstance(record, SessionOpened) for record in records),
        "sessions_closed": sum(isinstance(record, SessionClosed) for record in records),
    }


def _kind(kind: Kind, records: Sequence[Record]) -> str:
    if kind is Kind.NOOP:
        return "noop"
    if kind is Kind.MEMBERSHIP:
        return "membership"
    if any(isinstance(record, Calls) for record in records):
        return "actions"
    if not records:
        return "time"
    return "session" if all(isinstance(record, SessionOpened | SessionClosed) for record in records) else "other"


def _rejections(calls: Calls) -> list[dict[str, Any]]:
    return [
        {"method": method, "type": outcome.type, "message": outcome.message, "by_reducer": outcome.by_reducer}
        for method, outcome in zip(method_names(calls), calls.outcomes, strict=True)
        if isinstance(outcome, Rejection)
    ]


def _content(shown: dict[str, Any]) -> str:
    if shown["problem"]:
        return str(shown["problem"])
    parts = [f"{action['revision']}: {output.to_json(action['action'])}" for action in shown["actions"]]
    if len(parts) > ACTIONS_SHOWN_MAX:
        last = shown["actions"][-1]["revision"]
        parts = [*parts[:ACTIONS_SHOWN_MAX], f"... {len(parts) - ACTIONS_SHOWN_MAX} more, to revision {last}"]
    counts = [
        *((len(shown["rejections"]), "rejected"), (shown["nothings"], "without an action")),
        *((shown["sessions_opened"], "opened"), (shown["sessions_closed"], "closed")),
    ]
    return ", ".join([*parts, *(f"{count} {what}" for count, what in counts if count)])
