"""What the core asks of its shell: effects, in the order in which they are to be carried out.

A turn's list has at most one Persist. What stands before it may leave before the sync: a leader's appends and
heartbeats (thesis 10.2.1). What stands after it may leave only once the sync has returned: votes, replies to appends,
commits. "Persist before the reply" is thus a fact of the list, not a habit of the shell.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from conflux.raft.configuration import Configuration
from conflux.raft.entry import Entry
from conflux.raft.messages import Envelope, NodeId


class RoleName(StrEnum):
    """A node's role, as it is printed."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(frozen=True, slots=True)
class Send:
    """Hand the envelope to the transport. It may be lost: that is the core's business."""

    envelope: Envelope


@dataclass(frozen=True, slots=True, kw_only=True)
class Persist:
    """Write all of this in one transaction, sync, then call `Raft.persisted(term, index)`.

    The entries replace everything from the first one's index on. The shell may retry these same bytes, or exit;
    until it has called `persisted` it may call nothing else of the core.
    """

    term: int
    vote: NodeId | None
    entries: tuple[Entry, ...]
    commit_index: int  # a hint, never too high: what is committed within what this transaction leaves on disk
    last_index: int  # of the log once this is on disk: the `index` to report


@dataclass(frozen=True, slots=True)
class Commit:
    """Entries first..last are committed and on this node's disk: fold them, then call `Raft.applied(index)`."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Truncated:
    """Entries from `first` on were replaced by another leader's: they never happened."""

    first: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleChanged:
    """Role, term or known leader of this node changed."""

    role: RoleName
    term: int
    leader: NodeId | None


@dataclass(frozen=True, slots=True)
class ReadReady:
    """These reads may be answered from committed state once `index` is applied (ReadIndex, thesis 6.4)."""

    contexts: tuple[int, ...]
    index: int


@dataclass(frozen=True, slots=True)
class ReadFailed:
    """Leadership ended before these reads were confirmed."""

    contexts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ConfigurationChanged:
    """This configuration is in force from now on, committed or not; it is the object that `configuration_of` gave."""

    configuration: Configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOffered:
    """The leader's log no longer reaches back to this node's: fetch its snapshot, then call `Raft.install_snapshot`.

    The offer comes again until that is done.
    """

    leader: NodeId
    index: int  # of the last entry that it includes
    term: int


Effect: TypeAlias = (
    Send | Persist | Commit | Truncated | RoleChanged | ReadReady | ReadFailed | ConfigurationChanged | SnapshotOffered
)
