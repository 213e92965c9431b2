"""What nodes say to each other beside Raft: greetings, requests passed on to the leader, hashes of their states."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from conflux import limits
from conflux.raft import messages as raft
from conflux.wire.frames import Family

Identity = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Label = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
Address = Annotated[str, Meta(max_length=300)]
ShortText = Annotated[str, Meta(max_length=300)]
Digest = Annotated[bytes, Meta(max_length=16)]


class Founder(Struct, array_like=True, frozen=True, order=True):
    """One of the nodes that form a cluster: what a proposal holds of it."""

    identity: Identity
    label: Label
    public_key: Annotated[str, Meta(max_length=40)]


class Proposal(Struct, array_like=True, frozen=True):
    """A cluster that could be: its id is the hash of exactly this, so anyone may propose it."""

    name: ShortText
    app: ShortText
    app_version: Annotated[int, Meta(ge=1, le=2**31)]
    founders: Annotated[tuple[Founder, ...], Meta(min_length=1, max_length=limits.MEMBERS_MAX)]  # sorted
    attempt: Annotated[int, Meta(ge=0, le=2**31)] = 0  # counts up where the same founders refused each other before


class Hello(Struct, array_like=True, frozen=True):
    """A node says who it is and how far it is; sent on connecting, while forming, and from time to time.

    It repeats all it stands for, so a lost or late one does no harm.
    """

    founder: Founder
    address: Address
    name: ShortText
    size: Annotated[int, Meta(ge=1, le=limits.MEMBERS_MAX)]
    app: ShortText
    app_version: Annotated[int, Meta(ge=1, le=2**31)]
    accepted: Proposal | None  # the proposal this node has accepted, on disk
    nevers: Annotated[tuple[Identity, ...], Meta(max_length=64)]  # ids of proposals that this node never accepts
    formed: bool  # its cluster is formed: the frame's header names it
    answer_me: bool  # the sender doesn't know the receiver yet
    join: Annotated[str, Meta(max_length=64)] | None = (
        None  # it wants to join a cluster: by this token, or by hand ("")
    )
    # Where others have said that they are: hints for whoever does not know them yet.
    others: Annotated[tuple[tuple[Identity, Address], ...], Meta(max_length=limits.MEMBERS_MAX)] = ()


class Forward(Struct, array_like=True, frozen=True):
    """A follower passes a client's frame on to the leader; the handle finds the way back."""

    handle: Annotated[bytes, Meta(max_length=300)]
    frame: bytes


class ForwardReply(Struct, array_like=True, frozen=True):
    """The leader's answer to a forwarded frame."""

    handle: Annotated[bytes, Meta(max_length=300)]
    frame: bytes


class AskReadIndex(Struct, array_like=True, frozen=True):
    """A follower asks the leader from which index on a linearizable read may be answered."""

    context: Annotated[int, Meta(ge=0, le=limits.NUMBER_MAX)]


class ReadIndex(Struct, array_like=True, frozen=True):
    """The leader's answer; an index of None: it does not lead, ask again."""

    context: Annotated[int, Meta(ge=0, le=limits.NUMBER_MAX)]
    index: Annotated[int, Meta(ge=0, le=limits.NUMBER_MAX)] | None


class Candidate(Struct, array_like=True, frozen=True):
    """A member tells the leader of a node that wants to join."""

    founder: Founder
    address: Address
    join: Annotated[str, Meta(max_length=64)]


class Removed(Struct, array_like=True, frozen=True):
    """A member tells a node that it was removed from this cluster, for good (G5)."""


class AskSnapshot(Struct, array_like=True, frozen=True):
    """A follower asks for chunks `first`, + 1 … of the snapshot that it was offered."""

    index: Annotated[int, Meta(ge=1, le=limits.NUMBER_MAX)]
    first: Annotated[int, Meta(ge=0, le=limits.NUMBER_MAX)]
    count: Annotated[int, Meta(ge=1, le=64)]


class SnapshotPart(Struct, array_like=True, frozen=True):
    """One chunk of a snapshot; each says what the whole is, so that any of them may come first."""

    index: Annotated[int, Meta(ge=1, le=limits.NUMBER_MAX)]
    term: Annotated[int, Meta(ge=1, le=limits.NUMBER_MAX)]
    revision: Annotated[int, Meta(ge=0, le=limits.NUMBER_MAX)]
    fields: Annotated[bytes, Meta(max_length=limits.SNAPSHOT_FIELDS_BYTES_MAX)]
    chunk_count: Annotated[int, Meta(ge=1, le=limits.NUMBER_MAX)]
    bytes_total: Annotated[int, Meta(ge=1, le=limits.NUMBER_MAX)]
    checksum: Annotated[bytes, Meta(max_length=64)]  # of header and body
    number: Annotated[int, Meta(ge=0, le=limits.NUMBER_MAX)]
    chunk: Annotated[bytes, Meta(min_length=1, max_length=limits.SNAPSHOT_CHUNK_BYTES)]


class SnapshotGone(Struct, array_like=True, frozen=True):
    """The snapshot that was asked for isn't kept here any more: another one will be offered."""

    index: Annotated[int, Meta(ge=1, le=limits.NUMBER_MAX)]


class HashedPoint(Struct, array_like=True, frozen=True):
    """A hash point and what a node's log and state come to there."""

    index: Annotated[int, Meta(ge=0, le=limits.NUMBER_MAX)]
    revision: Annotated[int, Meta(ge=0, le=limits.NUMBER_MAX)]
    log_hash: Digest
    state_hash: Digest  # empty: the state has no encoding


class Hashes(Struct, array_like=True, frozen=True):
    """A node tells the others its last hash points. A later one replaces it, so a lost one does no harm."""

    points: Annotated[tuple[HashedPoint, ...], Meta(max_length=limits.HASH_POINTS_KEPT)]  # ascending, without a gap
    covered_index: Annotated[int, Meta(ge=0, le=limits.NUMBER_MAX)]  # up to it there is no other point after the first
    raised_index: Annotated[int, Meta(ge=0, le=limits.NUMBER_MAX)]  # of the entry at which its reducer raised; 0: none


class AskStateHash(Struct, array_like=True, frozen=True):
    """A node whose state is not the others' asks what the log folds into at a revision, to find where it began."""

    revision: Annotated[int, Meta(ge=0, le=limits.NUMBER_MAX)]


class StateHashThere(Struct, array_like=True, frozen=True):
    """The answer, from folding the log anew; None: this node no longer holds the log for it."""

    revision: Annotated[int, Meta(ge=0, le=limits.NUMBER_MAX)]
    state_hash: Digest | None


RAFT_MESSAGES = (
    raft.VoteRequest,
    raft.VoteReply,
    raft.Append,
    raft.Accepted,
    raft.Rejected,
    raft.Heartbeat,
    raft.HeartbeatReply,
    raft.TimeoutNow,
    raft.SnapshotOffer,
)

PEERS = Family(
    {
        1: raft.VoteRequest,
        2: raft.VoteReply,
        3: raft.Append,
        4: raft.Accepted,
        5: raft.Rejected,
        6: raft.Heartbeat,
        7: raft.HeartbeatReply,
        8: raft.TimeoutNow,
        9: raft.SnapshotOffer,
        10: AskSnapshot,
        11: SnapshotPart,
        12: SnapshotGone,
        16: Hello,
        17: Forward,
        18: ForwardReply,
        19: AskReadIndex,
        20: ReadIndex,
        21: Hashes,
        22: AskStateHash,
        23: StateHashThere,
        24: Candidate,
        25: Removed,
    }
)

encode_canonically = msgspec.msgpack.Encoder().encode  # arrays only, so one value has one encoding
