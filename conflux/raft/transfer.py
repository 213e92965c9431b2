"""Leadership transfer: section 3.10 of the thesis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conflux.raft import election
from conflux.raft.messages import NodeId, TimeoutNow
from conflux.raft.roles import Follower, Leader

if TYPE_CHECKING:
    from conflux.raft.core import Raft


def most_level_voter(raft: Raft, role: Leader) -> NodeId | None:
    """The voter to hand over to: of those that were heard lately the one whose log is nearest."""
    progress, silent = role.progress, raft.options.election_ticks_min

    def worth(voter: NodeId) -> tuple[bool, int]:
        return progress[voter].silence < silent, progress[voter].match_index

    others = [voter for voter in raft.configuration.voters if voter in progress]
    return max(others, key=worth, default=None)


def begin(raft: Raft, role: Leader, target: NodeId) -> bool:
    """Stop taking proposals and bring `target` level. False where it is no other voter or a transfer is under way."""
    if target == raft.identity or target not in raft.configuration.voters or role.transferee is not None:
        return False
    role.transferee = target
    role.transfer_elapsed = 0
    hand_over_when_level(raft, role)
    return True


def hand_over_when_level(raft: Raft, role: Leader) -> None:
    """Ask the target to stand for election once it holds the whole log."""
    if role.transferee is not None and role.progress[role.transferee].match_index == raft.log.last_index:
        raft.reply(role.transferee, TimeoutNow())


def tick(raft: Raft, role: Leader) -> None:
    """Take proposals again where the target hasn't taken over within an election time-out."""
    if role.transferee is None:
        return
    role.transfer_elapsed += 1
    if role.transfer_elapsed >= raft.options.election_ticks_max:
        role.transferee = None


def on_timeout_now(raft: Raft, leader: NodeId) -> None:
    """The leader of this term asks this node to take over: no pre-vote, and live leaders don't protect the old one."""
    if isinstance(raft.role, Follower) and raft.role.leader == leader and raft.is_voter:
        election.stand(raft, transfer=True)
