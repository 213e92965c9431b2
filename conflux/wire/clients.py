"""What a client and a node say to each other. This file is the client protocol's document.

A request carries a number of the client's own, which its refusal names. Answers to calls name session and sequence
instead: they mean the same whichever request, repeat or node they come through.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Annotated

from msgspec import Meta, Struct

from conflux import limits
from conflux.wire.frames import Family

Number = Annotated[int, Meta(ge=0, le=limits.NUMBER_MAX)]
MethodName = Annotated[str, Meta(max_length=limits.METHOD_NAME_BYTES_MAX)]


class Consistency(IntEnum):
    """How fresh a read must be."""

    LOCAL = 0  # the node's committed state, which may lag
    LINEARIZABLE = 1  # confirmed by a majority after the request was sent


class Code(StrEnum):
    """Why a request was refused. In all cases but `session-expired` it is certain that nothing was applied."""

    NO_LEADER = "no-leader"  # nobody leads, or this node doesn't know who
    BUSY = "busy"  # as much is waiting as the node takes
    NOT_READY = "not-ready"  # the cluster isn't formed, or this node can't serve now
    RESEND = "resend"  # calls before this one are missing: send again from `sequence` on
    SESSION_EXPIRED = "session-expired"
    UNKNOWN_METHOD = "unknown-method"  # the call at `sequence`, and with it the whole frame
    BAD_ARGUMENTS = "bad-arguments"  # likewise
    GONE = "gone"  # what was asked for is no longer kept, or not there: ask anew
    NO_ENCODING = "no-encoding"  # the state is none that could be read by anybody


class Rejection(Struct, array_like=True, frozen=True):
    """The method, or the reducer on the leader, refused a call."""

    type: str  # name of the exception's class
    message: str
    by_reducer: bool = False


Outcome = bytes | None | Rejection  # the action's bytes | nothing was dispatched | it was refused


# -- from a client -------------------------------------------------------------------------------------------------


class OpenSession(Struct, array_like=True, frozen=True):
    """Open a session, by a log entry. A repeat opens another, which expires unused."""

    request: Number


class Perform(Struct, array_like=True, frozen=True):
    """Perform calls numbered `first_sequence`, + 1 … of a session, each a method's name and its arguments' bytes.

    An empty method name is a void: it fills the place of a call that was given up before it was applied.
    """

    request: Number
    session: Number
    first_unanswered: Number  # the client holds the answers to all before it: the table may forget them
    first_sequence: Number
    calls: Annotated[list[tuple[MethodName, bytes]], Meta(min_length=1, max_length=limits.UNANSWERED_MAX)]
    when_appended: bool = False  # tell as soon as the leader has it on its disk, too


class CloseSession(Struct, array_like=True, frozen=True):
    """End a session, whose answers are no longer needed. Nothing answers this."""

    session: Number


class Read(Struct, array_like=True, frozen=True):
    """Ask for the state."""

    request: Number
    consistency: Consistency
    revision_only: bool = False  # answered by a StatePart without bytes


class ReadMore(Struct, array_like=True, frozen=True):
    """Ask for the next part of a state that is larger than a frame."""

    request: Number
    revision: Number
    offset: Number


class Watch(Struct, array_like=True, frozen=True):
    """Send committed actions from `from_revision` on (0: from now on). Repeat it to renew, else it lapses.

    Its number is one that no request has: a refusal names it.
    """

    watch: Number
    from_revision: Number


class Unwatch(Struct, array_like=True, frozen=True):
    """End a watch."""

    watch: Number


class AskStatus(Struct, array_like=True, frozen=True):
    """Ask how the node and its cluster are."""

    request: Number


class TransferLeadership(Struct, array_like=True, frozen=True):
    """Ask the leader to hand over to the member of this identity; empty: to whoever is most level."""

    request: Number
    target: Annotated[str, Meta(max_length=32)]


class Change(StrEnum):
    """What is to become of the members."""

    ADD = "add"  # a candidate becomes a learner, and a voter once it has caught up
    LEARN = "learn"  # a candidate becomes a learner, and stays one
    PROMOTE = "promote"  # a learner becomes a voter once it has caught up
    REMOVE = "remove"
    REPLACE = "replace"  # `other`, a candidate or a learner, takes the place of `member`
    INVITE = "invite"  # a token, with which one node may join
    INVITE_LEARNER = "invite-learner"


class ChangeMembers(Struct, array_like=True, frozen=True):
    """Ask the leader for a change of the members. `Changed` answers it once that is committed."""

    request: Number
    change: Change
    member: Annotated[str, Meta(max_length=64)] = ""  # label, identity, or the unique beginning of one
    other: Annotated[str, Meta(max_length=64)] = ""
    force: bool = False  # also where what is left has no healthy majority


class TakeSnapshot(Struct, array_like=True, frozen=True):
    """Ask the node for a snapshot now. `SnapshotTaken` answers it once that is on disk."""

    request: Number


class ReadAt(Struct, array_like=True, frozen=True):
    """Ask for the state at a revision of the past. `StatePart` answers it."""

    request: Number
    revision: Number


class BackUp(Struct, array_like=True, frozen=True):
    """Ask for a snapshot that includes all that was committed before. `BackupReady` answers it once it is on disk."""

    request: Number


class AskChunk(Struct, array_like=True, frozen=True):
    """Ask for a chunk of the snapshot at `index`, which the node keeps ready for a while."""

    request: Number
    index: Number
    number: Number


class AskLog(Struct, array_like=True, frozen=True):
    """Ask for the end of what the node wrote to its log file."""

    request: Number


class AskMembers(Struct, array_like=True, frozen=True):
    """Ask where the members are, so that the client has another one to turn to once this one is gone."""

    request: Number


# -- from a node ---------------------------------------------------------------------------------------------------


class SessionOpened(Struct, array_like=True, frozen=True):
    """The session is open, on a majority's disk."""

    request: Number
    session: Number


class Answers(Struct, array_like=True, frozen=True):
    """Committed outcomes of calls `first_sequence`, + 1 … of a session; all of them in one entry."""

    session: Number
    first_sequence: Number
    outcomes: list[Outcome]
    first_revision: Number  # of the first action among them; the others count on
    index: Number
    term: Number
    time_us: Number  # wall time of the leader, for people


class Appended(Struct, array_like=True, frozen=True):
    """The leader holds these calls' entry on its disk; whether it commits is open."""

    session: Number
    first_sequence: Number
    outcomes: list[Outcome]
    index: Number
    term: Number


class Refused(Struct, array_like=True, frozen=True):
    """A request was refused before the log."""

    request: Number
    code: Code
    message: str
    sequence: Number = 0  # what `code` speaks of
    hint: str = ""  # what to do, where the code alone does not tell


class LeaderIs(Struct, array_like=True, frozen=True):
    """A hint: who leads. Sent by a follower beside the forwarding, so that the next request saves the detour."""

    address: str  # empty: nobody, as far as is known
    resend: bool = False  # the leader has changed: what is unanswered may be lost, and is to be sent again


class StatePart(Struct, array_like=True, frozen=True):
    """A part of the state's encoding at `revision`."""

    request: Number
    revision: Number
    index: Number
    offset: Number
    bytes_total: Number
    part: bytes


class Event(Struct, array_like=True, frozen=True):
    """One committed action."""

    revision: Number
    index: Number
    term: Number
    time_us: Number
    method: str
    action: bytes


class Events(Struct, array_like=True, frozen=True):
    """Committed actions in order, without a gap. None: the watch lives, and this node has seen up to `revision`."""

    watch: Number
    events: list[Event]
    revision: Number
    node: str  # label of the node that tells


class Status(Struct, array_like=True, frozen=True):
    """How the node and its cluster are: a value, with the fields of `conflux status --json`."""

    request: Number
    report: bytes


class LogText(Struct, array_like=True, frozen=True):
    """The end of the node's log file; empty where it keeps none."""

    request: Number
    label: str
    text: str


class Done(Struct, array_like=True, frozen=True):
    """A request with nothing to tell was carried out."""

    request: Number


class Working(Struct, array_like=True, frozen=True):
    """The node is at work on the answer to a request: to ask again, or elsewhere, would make it take longer."""

    request: Number


class Changed(Struct, array_like=True, frozen=True):
    """A change of the members is committed."""

    request: Number
    index: Number
    token: str = ""  # that was asked for


class Members(Struct, array_like=True, frozen=True):
    """Where the members are, as far as this node knows."""

    request: Number
    addresses: list[str]


class SnapshotTaken(Struct, array_like=True, frozen=True):
    """A snapshot is on the node's disk."""

    request: Number
    index: Number
    revision: Number
    bytes_total: Number


class BackupReady(Struct, array_like=True, frozen=True):
    """A snapshot that was asked for: what it is, and how it is cut."""

    request: Number
    index: Number
    term: Number
    revision: Number
    fields: bytes
    chunk_count: Number
    bytes_total: Number
    checksum: bytes  # of header and body


class SnapshotChunk(Struct, array_like=True, frozen=True):
    """One chunk of a snapshot."""

    request: Number
    number: Number
    chunk: bytes


class Gap(Struct, array_like=True, frozen=True):
    """What a watch wanted to begin with is no longer held: this node goes back to `first_revision` only."""

    watch: Number
    first_revision: Number


CLIENTS = Family(
    {
        1: OpenSession,
        2: Perform,
        3: CloseSession,
        4: Read,
        5: ReadMore,
        6: Watch,
        7: Unwatch,
        8: AskStatus,
        9: TransferLeadership,
        10: AskLog,
        11: ChangeMembers,
        12: TakeSnapshot,
        13: AskMembers,
        16: ReadAt,
        17: BackUp,
        18: AskChunk,
        64: SessionOpened,
        65: Answers,
        66: Appended,
        67: Refused,
        68: LeaderIs,
        69: StatePart,
        70: Events,
        71: Status,
        72: Done,
        73: LogText,
        74: Changed,
        75: SnapshotTaken,
        76: Gap,
        77: Members,
        80: BackupReady,
        81: SnapshotChunk,
        82: Working,
    }
)
