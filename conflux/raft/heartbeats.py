"""Heartbeats: the leader shows that it lives, asks who still follows, and tells how far the commit index is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conflux.raft.messages import Heartbeat, NodeId
from conflux.raft.progress import Mode, Progress
from conflux.raft.roles import Leader

if TYPE_CHECKING:
    from conflux.raft.core import Raft


def broadcast(raft: Raft, role: Leader) -> None:
    """Begin a round of heartbeats."""
    role.heartbeat_elapsed = 0
    role.round += 1
    for peer, progress in role.progress.items():
        if progress.mode is Mode.REPLICATE and progress.sent_at_round[0] <= progress.acked_round:
            # A mark that is not answered yet stays: where rounds are quicker than answers none would ever be met.
            progress.sent_at_round = (role.round, progress.next_index - 1)
        _send(raft, peer, progress, role.round)


def commit_owed_from(raft: Raft, role: Leader) -> int | None:
    """The lowest commit index that a follower was told last, of those that could know more; None where none could."""
    commit_index, lowest = raft.commit_index, None
    for each in role.progress.values():  # asked in every turn: a generator would cost more than what it looks at
        told = each.commit_sent
        if told < commit_index and told < each.match_index and (lowest is None or told < lowest):
            lowest = told
    return lowest


def announce_commit(raft: Raft, role: Leader) -> None:
    """Tell those that know less than they could."""
    for peer, progress in role.progress.items():
        if progress.commit_sent < min(raft.commit_index, progress.match_index):
            _send(raft, peer, progress, 0)


def _send(raft: Raft, peer: NodeId, progress: Progress, round_number: int) -> None:
    commit_index = min(raft.commit_index, progress.match_index)
    progress.commit_sent = max(progress.commit_sent, commit_index)
    raft.send_early(peer, Heartbeat(commit_index=commit_index, round=round_number))
