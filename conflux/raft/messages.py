"""The messages of Raft: this file is the protocol document.

Names and fields are the paper's (Ongaro and Ousterhout, "In Search of an Understandable Consensus
Algorithm", extended version) and the thesis's (Ongaro, "Consensus: Bridging Theory and Practice").
Term, sender and receiver stand in the envelope, so the rules about terms are written once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from conflux.raft.entry import Entry

NodeId: TypeAlias = str  # a member's identity: 128 random bits, as 32 hex digits


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteRequest:
    """A candidate asks every voter (section 5.2); with `pre` it only asks whether it would win (thesis 9.6).

    A pre-vote's envelope carries the term that the sender would take, one above its own.
    """

    pre: bool
    transfer: bool  # the leader asked for this election: a live leader is no reason to refuse
    last_index: int  # the candidate's last entry, for the up-to-date check of section 5.4.1
    last_term: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteReply:
    """A voter answers a candidate.

    A granted pre-vote carries the term that was asked for, a refusal the voter's own.
    """

    pre: bool
    granted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """The leader hands entries to one follower (AppendEntries, section 5.3). No entries: a probe."""

    prev_index: int  # the entry before the first one here
    prev_term: int
    entries: tuple[Entry, ...]
    commit_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The follower's log matches the leader's up to `match_index`, on disk."""

    match_index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """The follower has no such entry at `prev_index`; the rest is a hint for fast back-up (end of 5.3)."""

    prev_index: int  # of the Append that is answered
    conflict_term: int  # term of the follower's entry at prev_index; 0: its log is shorter
    conflict_index: int  # first index of that term, or one past the follower's last entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The leader shows that it lives; also the question of ReadIndex (thesis 6.4)."""

    commit_index: int  # never above what this follower is known to hold
    round: int  # counts the leader's rounds of heartbeats, so that an answer names its question


@dataclass(frozen=True, slots=True, kw_only=True)
class HeartbeatReply:
    """The follower still follows this leader, as of this round."""

    round: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeoutNow:
    """The leader asks an up-to-date voter to start an election at once (thesis 3.10)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOffer:
    """The leader's log no longer holds what the follower needs next: its newest snapshot ends here (section 7).

    What InstallSnapshot carries travels beside Raft, on the follower's demand; `Accepted` ends it.
    """

    index: int  # of the last entry that the snapshot includes
    term: int


Message: TypeAlias = (
    VoteRequest | VoteReply | Append | Accepted | Rejected | Heartbeat | HeartbeatReply | TimeoutNow | SnapshotOffer
)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A message with what every message has."""

    sender: NodeId
    receiver: NodeId
    term: int
    message: Message
