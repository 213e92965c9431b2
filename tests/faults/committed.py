"""A node's committed log, replayed: each call at its place, judged again by the app's own functions.

Read through `conflux inspect-log --json`, which names actions, rejections and checksums of each entry, and once more
record by record, since only there a rejection has its place among the actions.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conflux.raft.entry import Entry
from conflux.storage.archived import look, pieces_of, runs_of
from conflux.storage.reader import LogReader
from conflux.store.records import Calls, header_of, method_names, records_of
from conflux.wire import values
from conflux.wire.clients import Rejection
from tests.faults import journal
from tests.faults.history import Outcome
from tests.process.cluster import conflux

SETTLE_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Call:
    """A call as the log has it."""

    session: int
    sequence: int
    method: str
    outcome: Outcome  # APPENDED, NOTHING or REJECTED
    value: str  # of what was appended or rejected
    length: int  # of the list before it
    text: str = ""  # of the rejection


@dataclass(slots=True)
class CommittedLog:
    """All calls in their order, and the list that they make."""

    calls: list[Call] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    chains: list[str] = field(default_factory=lambda: [""])  # of the list's first 0, 1, 2 … values
    violations: list[str] = field(default_factory=list)
    entries: int = 0

    def add(self, session: int, sequence: int, method: str, outcome: Any) -> None:
        """The next call; what became of it must be what the app says about the state that is there."""
        length = len(self.values)
        state = {"length": length, "chain": self.chains[-1]}
        if outcome is None:
            call = Call(session, sequence, method, Outcome.NOTHING, "", length)
            expected = not method or _judge(method, state, "any") is None
        elif isinstance(outcome, Rejection):
            call = Call(
                session, sequence, method, Outcome.REJECTED, outcome.message.split(" ")[0], length, outcome.message
            )
            expected = str(_judge(method, state, call.value)) == outcome.message
        else:
            action = values.decode_trusted(outcome)
            call = Call(session, sequence, method, Outcome.APPENDED, action["value"], length)
            judged = _judge(method, state, call.value, action.get("padding", ""))
            expected = judged == action
            after = journal.reduce(state, action)
            self.values.append(call.value)
            self.chains.append(after["chain"])
        if not expected:
            self.violations.append(f"the app does not say so at length {length}: {call}")
        self.calls.append(call)


def _judge(method: str, state: dict[str, Any], value: str, padding: str = "") -> Any:
    try:
        return journal.app.methods[method](state, value, padding)
    except ValueError as error:
        return error


def read_log(cluster_dir: Path, label: str, archive: Path | None = None) -> CommittedLog:
    """The committed log of a node that runs or rests, with all of it committed.

    Args:
        archive: has what is cut of it.
    """
    lines = _inspect(cluster_dir, label)
    log = CommittedLog(entries=lines[0]["commit_index"])
    seen: set[tuple[int, int]] = set()
    reader = LogReader.open(cluster_dir / label)
    try:
        revision = 0
        for entry, checksum_ok in _entries(reader, lines[0]["commit_index"], archive):
            if not checksum_ok:
                log.violations.append(f"entry {entry.index} is damaged")
            if header_of(entry.payload).first_revision != revision + 1:
                log.violations.append(f"entry {entry.index} does not go on at revision {revision + 1}")
            for record in records_of(entry.payload):
                if isinstance(record, Calls):
                    _add_all(log, record, seen)
            revision = header_of(entry.payload).next_revision - 1
    finally:
        reader.close()
    log.violations += _differences(log, lines)
    return log


def _entries(reader: LogReader, last: int, archive: Path | None) -> Iterator[tuple[Entry, bool]]:
    """All entries, each with whether its checksum is right."""
    first = reader.hard_state().first_index
    if first > 1:
        assert archive is not None, "the beginning of the log is cut, and nobody kept it"
        whole = runs_of(piece for each in look(archive) for piece in pieces_of(each))[0]
        for entry in whole.contents()[1]:
            if entry.index < first:
                yield entry, True  # or it would have raised
    yield from reader.entries(first, last)


def is_cut(cluster_dir: Path, label: str) -> bool:
    """Whether a node's log no longer reaches back to its beginning."""
    reader = LogReader.open(cluster_dir / label)
    try:
        return reader.hard_state().first_index > 1
    finally:
        reader.close()


def last_index(cluster_dir: Path, label: str) -> int:
    """Where a node's log ends on its disk."""
    reader = LogReader.open(cluster_dir / label)
    try:
        return reader.hard_state().last_index
    finally:
        reader.close()


def holds_an_end(cluster_dir: Path, label: str, *, of: str) -> bool:
    """Whether a cut log is the end of another one, as far as both are there and committed."""
    cut, whole = LogReader.open(cluster_dir / label), LogReader.open(cluster_dir / of)
    try:
        first = max(cut.hard_state().first_index, whole.hard_state().first_index)
        last = min(cut.hard_state().commit_index, whole.hard_state().commit_index)
        pairs = zip(cut.entries(first, last), whole.entries(first, last), strict=True)
        return all(one == other and one[1] for one, other in pairs)
    finally:
        cut.close()
        whole.close()


def _add_all(log: CommittedLog, record: Calls, seen: set[tuple[int, int]]) -> None:
    pairs = zip(method_names(record), record.outcomes, strict=True)
    for sequence, (method, outcome) in enumerate(pairs, record.first_sequence):
        if (record.session, sequence) in seen:
            log.violations.append(f"session {record.session}, sequence {sequence} was applied twice")
        seen.add((record.session, sequence))
        log.add(record.session, sequence, method, outcome)


def _inspect(cluster_dir: Path, label: str) -> list[dict[str, Any]]:
    """What the command line shows, once all of the log is committed on disk: an idle node sees to that."""
    deadline_s = time.monotonic() + SETTLE_SECONDS
    while True:
        options = ("--cluster", cluster_dir.name, "--node", label, "--json")
        ran = conflux("inspect-log", *options, data_dir=cluster_dir.parent)
        assert ran.status == 0, ran.err
        lines = ran.lines()
        if lines[0]["commit_index"] == lines[0]["last_index"]:
            return lines
        assert time.monotonic() < deadline_s, f"{label} does not commit the end of its log: {lines[0]}"


def _differences(log: CommittedLog, lines: list[dict[str, Any]]) -> list[str]:
    """Where `inspect-log` shows something else than the records say, of what is not cut."""
    entries = lines[1:]
    shown = [action["action"]["value"] for entry in entries for action in entry["actions"]]
    rejections = [rejection["message"] for entry in entries for rejection in entry["rejections"]]
    told = [call.text for call in log.calls if call.outcome is Outcome.REJECTED]
    found = []
    if shown != log.values[len(log.values) - len(shown) :] or rejections != told[len(told) - len(rejections) :]:
        found.append("inspect-log shows other calls than the log holds")
    if not all(entry["checksum_ok"] and entry["committed"] for entry in entries):
        found.append("inspect-log shows an entry as damaged or not committed")
    return found
