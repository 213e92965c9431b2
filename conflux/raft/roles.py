"""The four roles. Each holds only its own fields, so that a follower with votes can't be written down."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TypeAlias

from conflux.raft.effects import RoleName
from conflux.raft.messages import NodeId
from conflux.raft.progress import Progress


@dataclass(slots=True)
class Follower:
    """Follows a leader, or waits for one."""

    leader: NodeId | None
    name = RoleName.FOLLOWER


@dataclass(slots=True)
class PreCandidate:
    """Asks whether it would win, before it raises its term (thesis 9.6)."""

    votes: dict[NodeId, bool] = field(default_factory=dict)
    name = RoleName.PRE_CANDIDATE


@dataclass(slots=True)
class Candidate:
    """Asks for votes. Its own is counted once it is on disk."""

    votes: dict[NodeId, bool] = field(default_factory=dict)
    name = RoleName.CANDIDATE


@dataclass(slots=True)
class PendingRead:
    """A read that waits for a quorum to confirm the leader."""

    context: int
    index: int  # the commit index when its round began
    round: int


@dataclass(slots=True)
class Leader:
    """Hands out the log."""

    progress: dict[NodeId, Progress]  # of every other member, sorted
    noop_index: int  # first entry of this term: before it commits nothing of the past is known to be committed
    round: int = 0  # of heartbeats
    heartbeat_elapsed: int = 0
    unconfirmed: list[int] = field(default_factory=list)  # reads whose round has not begun
    reads: list[PendingRead] = field(default_factory=list)
    transferee: NodeId | None = None
    transfer_elapsed: int = 0
    uncommitted: deque[tuple[int, int]] = field(default_factory=deque)  # (index, payload bytes) of own proposals
    uncommitted_bytes: int = 0
    name = RoleName.LEADER


Role: TypeAlias = Follower | PreCandidate | Candidate | Leader
