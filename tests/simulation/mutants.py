"""Cores with one error each, for the simulator to find. A mutant is applied by monkeypatching, for one test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from conflux.raft import configuration, election, reads, replication
from conflux.raft.configuration import quorum_index
from conflux.raft.core import Raft
from conflux.raft.effects import Persist
from conflux.raft.messages import Accepted, VoteReply
from conflux.raft.roles import Leader

Mutant = Callable[[pytest.MonkeyPatch], None]


def vote_not_persisted(patch: pytest.MonkeyPatch) -> None:
    whole = Raft._persist
    patch.setattr(Raft, "_persist", lambda raft: replace(whole(raft), vote=None))


def term_not_persisted(patch: pytest.MonkeyPatch) -> None:
    whole = Raft._persist
    patch.setattr(Raft, "_persist", lambda raft: replace(whole(raft), term=raft.log.last_term, vote=None))


def no_up_to_date_check(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(election, "_is_up_to_date", lambda raft, request: True)


def only_the_length_of_the_log_counts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(election, "_is_up_to_date", lambda raft, request: request.last_index >= raft.log.last_index)


def double_vote(patch: pytest.MonkeyPatch) -> None:
    whole = election.on_vote_request

    def forgetful(raft, candidate, request):
        if raft.role.name == "follower":
            raft.vote = None
        whole(raft, candidate, request)

    patch.setattr(election, "on_vote_request", forgetful)


def commit_by_counting_old_terms(patch: pytest.MonkeyPatch) -> None:
    def counting(raft, role):
        reached = {peer: progress.match_index for peer, progress in role.progress.items()}
        index = quorum_index({**reached, raft.identity: raft.log.stable_index}, raft.configuration)
        raft.commit_to(index)
        while role.uncommitted and role.uncommitted[0][0] <= index:
            role.uncommitted_bytes -= role.uncommitted.popleft()[1]

    patch.setattr(replication, "advance_commit", counting)


def own_entry_counts_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    whole = Raft.take_effects

    def hasty(raft):
        if isinstance(raft.role, Leader):
            stable, raft.log.stable_index = raft.log.stable_index, raft.log.last_index
            replication.advance_commit(raft, raft.role)
            raft.log.stable_index = stable
        return whole(raft)

    patch.setattr(Raft, "take_effects", hasty)


def own_vote_counts_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    whole = election.stand

    def hasty(raft, *, transfer=False):
        whole(raft, transfer=transfer)
        election.count_vote(raft, raft.identity, granted=True)

    patch.setattr(election, "stand", hasty)


def truncation_on_a_stale_append(patch: pytest.MonkeyPatch) -> None:
    whole = replication.on_append

    def eager(raft, leader, append):
        whole(raft, leader, append)
        end = append.prev_index + len(append.entries)
        if raft.commit_index <= end < raft.log.last_index and append.entries:
            raft.log.truncate_from(append.entries[-1].index)  # and put the last one back, so that it is written
            raft.log.append(append.entries[-1])

    patch.setattr(replication, "on_append", eager)


def commit_past_the_match(patch: pytest.MonkeyPatch) -> None:
    whole = replication.on_append

    def trusting(raft, leader, append):
        whole(raft, leader, append)
        raft.commit_to(min(append.commit_index, raft.log.last_index))

    patch.setattr(replication, "on_append", trusting)


def heartbeats_name_the_whole_commit_index(patch: pytest.MonkeyPatch) -> None:
    """The ancestor's D7."""
    whole = Raft.send_early

    def generous(raft, receiver, message):
        if type(message).__name__ == "Heartbeat":
            message = replace(message, commit_index=raft.commit_index)
        whole(raft, receiver, message)

    patch.setattr(Raft, "send_early", generous)


def no_consistency_check(patch: pytest.MonkeyPatch) -> None:
    from conflux.raft.log import Log

    patch.setattr(Log, "matches", lambda log, index, term: True)


def conflicts_are_kept(patch: pytest.MonkeyPatch) -> None:
    whole = replication._take
    patch.setattr(replication, "_take", lambda raft, e: whole(raft, e) if e.index > raft.log.last_index else None)


def minority_quorum(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(configuration, "majority", lambda count: max(1, count // 2))


def stale_votes_accepted(patch: pytest.MonkeyPatch) -> None:
    _accept_stale(patch, VoteReply)


def stale_acceptances_accepted(patch: pytest.MonkeyPatch) -> None:
    _accept_stale(patch, Accepted)


def _accept_stale(patch: pytest.MonkeyPatch, kind: type) -> None:
    whole = Raft._answer_the_past

    def careless(raft, envelope):
        if isinstance(envelope.message, kind):
            return raft._dispatch(envelope, envelope.message)
        return whole(raft, envelope)

    patch.setattr(Raft, "_answer_the_past", careless)


def reads_without_confirmation(patch: pytest.MonkeyPatch) -> None:
    def sure(raft, role):
        for progress in role.progress.values():
            progress.acked_round = role.round
        confirm(raft, role)

    confirm = reads.confirm
    patch.setattr(reads, "confirm", sure)


def reads_confirmed_by_an_older_round(patch: pytest.MonkeyPatch) -> None:
    whole = reads.begin_round

    def frugal(raft, role):
        whole(raft, role)
        for read in role.reads:
            read.round = min(read.round, role.round - 1)

    patch.setattr(reads, "begin_round", frugal)


def no_noop_wait_for_reads(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Raft, "serves", property(lambda raft: isinstance(raft.role, Leader)))


def replies_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    whole = Raft.take_effects

    def hasty(raft):
        return sorted(whole(raft), key=lambda effect: isinstance(effect, Persist))

    patch.setattr(Raft, "take_effects", hasty)


def a_later_term_is_not_followed(patch: pytest.MonkeyPatch) -> None:
    whole = Raft.step

    def stubborn(raft, envelope):
        if envelope.term > raft.term and isinstance(raft.role, Leader):
            envelope = replace(envelope, term=raft.term)
        whole(raft, envelope)

    patch.setattr(Raft, "step", stubborn)


def lost_appends_are_not_sent_again(patch: pytest.MonkeyPatch) -> None:
    whole = replication.on_heartbeat_reply

    def sure(raft, follower, reply):
        if isinstance(raft.role, Leader) and follower in raft.role.progress:
            raft.role.progress[follower].sent_at_round = (0, 0)
        whole(raft, follower, reply)

    patch.setattr(replication, "on_heartbeat_reply", sure)


MUTANTS: tuple[Mutant, ...] = (
    vote_not_persisted,
    term_not_persisted,
    no_up_to_date_check,
    only_the_length_of_the_log_counts,
    double_vote,
    commit_by_counting_old_terms,
    own_entry_counts_before_the_sync,
    own_vote_counts_before_the_sync,
    truncation_on_a_stale_append,
    commit_past_the_match,
    heartbeats_name_the_whole_commit_index,
    no_consistency_check,
    conflicts_are_kept,
    minority_quorum,
    stale_votes_accepted,
    stale_acceptances_accepted,
    reads_without_confirmation,
    reads_confirmed_by_an_older_round,
    no_noop_wait_for_reads,
    replies_before_the_sync,
    a_later_term_is_not_followed,
    lost_appends_are_not_sent_again,
)
