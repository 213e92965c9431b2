"""Elections: sections 5.2 and 5.4.1 of the paper, pre-vote from section 9.6 of the thesis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conflux.raft.invariant import invariant
from conflux.raft.messages import Envelope, NodeId, VoteReply, VoteRequest
from conflux.raft.roles import Candidate, PreCandidate

if TYPE_CHECKING:
    from conflux.raft.core import Raft


def campaign(raft: Raft) -> None:
    """The election time-out passed: ask whether an election would be won."""
    if not raft.is_voter:
        raft.draw_election_timeout()  # a learner waits on, whatever happens
        return
    raft.become_pre_candidate()
    _ask_all(raft, pre=True, term=raft.term + 1)
    count_vote(raft, raft.identity, granted=True)


def stand(raft: Raft, *, transfer: bool = False) -> None:
    """Raise the term and ask for votes. The own vote is counted when it is on disk."""
    raft.become_candidate()
    _ask_all(raft, pre=False, term=raft.term, transfer=transfer)


def on_pre_vote_request(raft: Raft, envelope: Envelope, request: VoteRequest) -> None:
    """Say whether this node would vote. Nothing is promised, so neither term, vote nor any clock moves."""
    granted = envelope.term > raft.term and not raft.hears_a_leader() and _is_up_to_date(raft, request)
    term = envelope.term if granted else raft.term
    raft.reply(envelope.sender, VoteReply(pre=True, granted=granted), term=term)


def on_pre_vote_reply(raft: Raft, envelope: Envelope, reply: VoteReply) -> None:
    """Count a granted pre-vote; learn of a later term from a refused one."""
    if not reply.granted and envelope.term > raft.term:
        # A node that fell behind in terms must catch up, or no one could ever be elected with it.
        raft.become_follower(envelope.term, leader=None)
    elif isinstance(raft.role, PreCandidate) and (not reply.granted or envelope.term == raft.term + 1):
        count_vote(raft, envelope.sender, granted=reply.granted)


def on_vote_request(raft: Raft, candidate: NodeId, request: VoteRequest) -> None:
    """Vote once a term, for a candidate whose log is at least as up to date (sections 5.2, 5.4.1)."""
    granted = raft.vote in (None, candidate) and raft.leader is None and _is_up_to_date(raft, request)
    if granted:
        raft.grant_vote(candidate)
    raft.reply(candidate, VoteReply(pre=False, granted=granted))


def on_vote_reply(raft: Raft, voter: NodeId, reply: VoteReply) -> None:
    """Count a vote of this term."""
    if isinstance(raft.role, Candidate):
        count_vote(raft, voter, granted=reply.granted)


def count_vote(raft: Raft, voter: NodeId, *, granted: bool) -> None:
    """Count an answer; a granted vote stays granted, whatever comes late. A majority wins."""
    role = raft.role
    invariant(isinstance(role, PreCandidate | Candidate), "only candidates count votes")
    assert isinstance(role, PreCandidate | Candidate)
    role.votes[voter] = granted or role.votes.get(voter, False)
    if not raft.configuration.has_quorum(node for node, yes in role.votes.items() if yes):
        return
    if isinstance(role, PreCandidate):
        stand(raft)
    else:
        raft.become_leader()


def _ask_all(raft: Raft, *, pre: bool, term: int, transfer: bool = False) -> None:
    request = VoteRequest(pre=pre, transfer=transfer, last_index=raft.log.last_index, last_term=raft.log.last_term)
    for voter in raft.configuration.voters:
        if voter != raft.identity:
            raft.reply(voter, request, term=term)


def _is_up_to_date(raft: Raft, request: VoteRequest) -> bool:
    """Section 5.4.1: the later last term wins, then the longer log."""
    return (request.last_term, request.last_index) >= (raft.log.last_term, raft.log.last_index)
