"""Snapshots: section 7 of the paper. The core knows where they end; what is in them is the shell's affair.

A follower whose next entry the leader's log no longer holds is offered the leader's newest snapshot in place of an
Append. Its shell fetches it piece by piece at its own pace, beside Raft, and then tells its core, which answers the
leader as if it had taken the entries. The offer is repeated like any probe, so no step of a transfer can be lost for
good, and a transfer may go on under another leader.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conflux.raft.configuration import Configuration
from conflux.raft.effects import SnapshotOffered
from conflux.raft.invariant import invariant
from conflux.raft.membership import configuration_changed
from conflux.raft.messages import Accepted, NodeId, SnapshotOffer
from conflux.raft.progress import Progress
from conflux.raft.roles import Follower

if TYPE_CHECKING:
    from conflux.raft.core import Raft


def offer(raft: Raft, peer: NodeId, progress: Progress) -> None:
    """Offer the newest snapshot to a follower that is too far behind for the log."""
    index, term = raft.newest_snapshot
    invariant(index >= raft.log.snapshot_index, "the log begins no later than the newest snapshot ends")
    progress.sent(index, 0)
    raft.send_early(peer, SnapshotOffer(index=index, term=term))


def on_snapshot_offer(raft: Raft, leader: NodeId, message: SnapshotOffer) -> None:
    """Fetch the snapshot, unless all that it includes is committed here: an old one never rewinds (H2)."""
    if not raft.heard_from_leader(leader):
        return
    if message.index <= raft.commit_index:
        raft.reply(leader, Accepted(match_index=raft.commit_index))
    else:
        raft.send_late(SnapshotOffered(leader=leader, index=message.index, term=message.term))


def install(raft: Raft, index: int, term: int, configuration: Configuration) -> None:
    """A snapshot from the leader is on this node's disk, and its log's new base.

    Where the log holds the snapshot's last entry, what follows it stays (H3); else the whole log gives way.
    """
    invariant(index > raft.commit_index, "a snapshot never rewinds")
    log = raft.log
    invariant(log.stable_index == log.last_index, "nothing waits to be persisted")
    if log.matches(index, term):
        log.compact(index)
        raft.configurations.compact(index)
    else:
        log.reset(index, term)
        raft.configurations.reset(index, configuration)
        configuration_changed(raft)
    raft.jump_to(index)
    raft.newest_snapshot = (index, term)
    if isinstance(raft.role, Follower) and raft.role.leader is not None:
        raft.reply(raft.role.leader, Accepted(match_index=index))
