"""A leader that is to stop hands over first: its clients see a new leader at once, and no election time-out."""

from __future__ import annotations

from collections.abc import Callable

from conflux.node.node import Node
from conflux.raft.core import Raft
from conflux.raft.roles import Leader

HAND_OVER_SECONDS_MAX = 1.0
LAST_WORDS_SECONDS = 0.05  # to tell the clients who leads now


def hand_over_before_leaving(node: Node, turn: Callable[[], None], is_given_up: Callable[[], bool]) -> None:
    """Turn on until another node leads; not where this one doesn't, nor where too few are left to elect another."""
    raft = node.replica.raft if node.replica is not None else None
    if raft is None or not _can_hand_over(raft) or not (node.hand_over() or _is_handing_over(raft)):
        return
    deadline_s = node.now_s() + HAND_OVER_SECONDS_MAX
    while node.now_s() < deadline_s and not is_given_up():
        if raft.leader not in (None, raft.identity):
            deadline_s = min(deadline_s, node.now_s() + LAST_WORDS_SECONDS)
            while node.now_s() < deadline_s and not is_given_up():
                turn()
            return
        if raft.leader == raft.identity and not _is_handing_over(raft):
            return  # the other one didn't take over
        turn()


def _can_hand_over(raft: Raft) -> bool:
    """True where a majority, this node included, was heard lately."""
    role = raft.role
    if not isinstance(role, Leader):
        return False
    heard = [peer for peer, progress in role.progress.items() if progress.silence < raft.options.election_ticks_min]
    return raft.configuration.has_quorum([raft.identity, *heard])


def _is_handing_over(raft: Raft) -> bool:
    return isinstance(raft.role, Leader) and raft.role.transferee is not None
