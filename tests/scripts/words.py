"""How a script's output speaks: messages, entries, logs and answers as one line each, in the paper's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never

from conflux.raft.configuration import Configuration
from conflux.raft.entry import Entry, Kind
from conflux.raft.log import Log
from conflux.raft.messages import (
    Accepted,
    Append,
    Envelope,
    Heartbeat,
    HeartbeatReply,
    Rejected,
    SnapshotOffer,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from conflux.raft.roles import Leader
from conflux.store import records
from conflux.store.records import Calls, SessionClosed, SessionOpened
from conflux.wire import clients, values
from conflux.wire.clients import Outcome, Rejection
from tests.raft.harness import members_in_force

SessionNames = Mapping[int, str]  # session id → what the script calls it; None: the payloads are plain text


# -- messages between nodes ------------------------------------------------------------------------------------------


def message_line(envelope: Envelope, names: SessionNames | None, *, lost: bool = False) -> str:
    """`a -> b  Append term 2, after 3 (term 1): 4 (term 2) "x", commit 3`; `-x` where it is lost."""
    return f"{envelope.sender} {'-x' if lost else '->'} {envelope.receiver}  {message_words(envelope, names)}"


def message_words(envelope: Envelope, names: SessionNames | None) -> str:
    """What the message says."""
    message, term = envelope.message, envelope.term
    match message:
        case VoteRequest():
            kind = " pre," if message.pre else " transfer," if message.transfer else ""
            return f"VoteRequest{kind} term {term}, last {place(message.last_index, message.last_term)}"
        case VoteReply(pre=pre, granted=granted):
            return f"VoteReply{' pre,' if pre else ''} term {term}: {'yes' if granted else 'no'}"
        case Append():
            held = ", ".join(entry_words(entry, names) for entry in message.entries) or "nothing"
            after = place(message.prev_index, message.prev_term)
            return f"Append term {term}, after {after}: {held}, commit {message.commit_index}"
        case Accepted(match_index=index):
            return f"Accepted term {term}, up to {index}"
        case Rejected(prev_index=index, conflict_term=conflict, conflict_index=first):
            hint = f"term {conflict} begins at {first}" if conflict else f"log ends at {first - 1}"
            return f"Rejected term {term}, after {index}: {hint}"
        case Heartbeat(commit_index=commit, round=number):
            return f"Heartbeat term {term},{f' round {number},' if number else ''} commit {commit}"
        case HeartbeatReply(round=number):
            return f"HeartbeatReply term {term}{f', round {number}' if number else ''}"
        case TimeoutNow():
            return f"TimeoutNow term {term}"
        case SnapshotOffer(index=index, term=last_term):
            return f"SnapshotOffer term {term}, up to {place(index, last_term)}"
        case _:
            assert_never(message)


def place(index: int, term: int) -> str:
    return f"{index} (term {term})" if index else "0"


# -- entries and logs ------------------------------------------------------------------------------------------------


def entry_words(entry: Entry, names: SessionNames | None) -> str:
    """`4 (term 2) "x"`"""
    content = content_words(entry, names)
    quoted = f'"{content}"' if content and names is None and entry.kind is Kind.RECORDS else content
    return f"{entry.index} (term {entry.term}) {quoted}".rstrip()


def content_words(entry: Entry, names: SessionNames | None) -> str:
    """What an entry holds; of the store's records, what became of each call."""
    if entry.kind is Kind.NOOP:
        return "noop"
    if entry.kind is Kind.MEMBERSHIP:
        return members_words(members_in_force(entry))
    if names is None:
        return entry.payload.decode()
    return "; ".join(record_words(record, names) for record in records.records_of(entry.payload)) or "time"


def members_words(configuration: Configuration) -> str:
    """`voters a b c, learner d`"""
    learners = f", learner {' '.join(configuration.learners)}" if configuration.learners else ""
    return f"voters {' '.join(configuration.voters)}{learners}"


def record_words(record: records.Record, names: SessionNames) -> str:
    match record:
        case SessionOpened():
            return "open"
        case SessionClosed(session=session):
            return f"close {names[session]}"
        case Calls(session=session, first_sequence=first, outcomes=outcomes):
            done = zip(records.method_names(record), outcomes, strict=True)
            words = (f"{number} {call_words(name, outcome)}" for number, (name, outcome) in enumerate(done, first))
            return f"{names[session]} {', '.join(words)}"
        case _:
            return type(record).__name__


def call_words(method: str, outcome: Outcome) -> str:
    """What became of a call, as its record has it."""
    if type(outcome) is bytes:
        return action_words(outcome)
    if not method:
        return "void"
    return f"{method}: {'nothing' if outcome is None else 'rejected'}"


def action_words(action: bytes) -> str:
    """`append foo`: the values of the action, its type first."""
    return " ".join(str(value) for value in values.decode(action).values())


def log_lines(logs: Mapping[str, tuple[Log, int]], names: SessionNames | None) -> list[str]:
    """A table: under each index `term:content`; `=` what was cut, `|` behind what is committed, `*` not synced."""
    rows = {name: _cells(log, names) for name, (log, _) in logs.items()}
    columns = max(map(len, rows.values()))
    rows = {"index": [str(number) for number in range(1, columns + 1)], **rows}
    widths = [max(len(row[at]) for row in rows.values() if at < len(row)) for at in range(columns)]
    margin = max(map(len, rows))
    lines = []
    for name, row in rows.items():
        commit = logs[name][1] if name in logs else None
        line = f"{name:{margin}} {'|' if commit == 0 else ' '}"
        for number, (cell, width) in enumerate(zip(row, widths, strict=False), 1):
            line += f" {cell:{width}} {'|' if commit == number else ' '}"
        lines.append(line.rstrip())
    return lines


def _cells(log: Log, names: SessionNames | None) -> list[str]:
    cells = ["="] * log.snapshot_index
    for index in range(log.first_index, log.last_index + 1):
        (entry,) = log.entries(index, index, 1)
        content = content_words(entry, names)
        cells.append(f"{entry.term}{':' if content else ''}{content}{'*' if index > log.stable_index else ''}")
    return cells


# -- what a leader knows ---------------------------------------------------------------------------------------------


def progress_lines(role: Leader) -> list[str]:
    """A line for each follower, as its leader sees it."""
    return [
        f"   {peer}  {progress.mode}, match {progress.match_index}, next {progress.next_index}"
        for peer, progress in role.progress.items()
    ]


# -- answers to clients ----------------------------------------------------------------------------------------------


def answer_words(message: Any) -> str:
    """What a node tells a client."""
    match message:
        case clients.SessionOpened():
            return "SessionOpened"
        case clients.Answers(first_sequence=first, outcomes=outcomes, first_revision=revision):
            return f"Answers {', '.join(_answers(first, outcomes, revision))}"
        case clients.Appended(first_sequence=first, outcomes=outcomes):
            return f"Appended {', '.join(str(first + at) for at in range(len(outcomes)))}"
        case clients.Refused(code=code, sequence=sequence):
            return f"Refused {code}{f' from {sequence}' if code is clients.Code.RESEND else ''}"
        case clients.LeaderIs(address=address, resend=resend):
            return f"LeaderIs {address or 'nobody'}{', resend' if resend else ''}"
        case _:
            return str(message)


def _answers(first: int, outcomes: list[Outcome], revision: int) -> list[str]:
    words = []
    for sequence, outcome in enumerate(outcomes, first):
        match outcome:
            case None:
                words.append(f"{sequence}: nothing")
            case Rejection(type=kind, message=message):
                words.append(f"{sequence}: rejected, {kind}: {message}")
            case _:
                words.append(f"{sequence}: {action_words(outcome)} (revision {revision})")
                revision += 1
    return words
