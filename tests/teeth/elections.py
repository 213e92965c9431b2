"""Errors of elections, of who counts, and of how many are enough."""

from __future__ import annotations

import pytest

from conflux.raft import configuration, election, replication
from conflux.raft.configuration import Configuration
from conflux.raft.core import Raft
from conflux.raft.messages import TimeoutNow, VoteReply
from conflux.raft.roles import Candidate, Leader
from tests.raft import test_ancestor, test_failures, test_thesis
from tests.raft.harness import Disk
from tests.simulation.simulator import Host
from tests.teeth.hunts import Case, Cores
from tests.teeth.mutant import changed, mutant


@mutant("elections", codes="A2", hunt=Cores("voters"), quick=True)
def vote_not_persisted(patch: pytest.MonkeyPatch) -> None:
    """A vote is not written down."""
    whole = Raft._persist
    patch.setattr(Raft, "_persist", lambda raft: changed(whole(raft), vote=None))


@mutant("elections", codes="A3", hunt=Cores("voters"))
def term_not_persisted(patch: pytest.MonkeyPatch) -> None:
    """A term is not written down before it has an entry."""
    whole = Raft._persist
    patch.setattr(Raft, "_persist", lambda raft: changed(whole(raft), term=raft.log.last_term, vote=None))


@mutant("elections", codes="A5", hunt=Cores())
def no_up_to_date_check(patch: pytest.MonkeyPatch) -> None:
    """A voter does not look at the candidate's log."""
    patch.setattr(election, "_is_up_to_date", lambda raft, request: True)


@mutant("elections", codes="A5", hunt=Case(test_failures.test_A5_a_voter_with_a_newer_log_refuses), quick=True)
def only_the_length_of_the_log_counts(patch: pytest.MonkeyPatch) -> None:
    """The longer log wins, whatever its last term."""
    patch.setattr(election, "_is_up_to_date", lambda raft, request: request.last_index >= raft.log.last_index)


@mutant("elections", codes="A1", hunt=Cores(), quick=True)
def double_vote(patch: pytest.MonkeyPatch) -> None:
    """A follower votes for whoever asks, more than once a term."""
    whole = election.on_vote_request

    def forgetful(raft, candidate, request):
        if raft.role.name == "follower":
            raft.vote = None
        whole(raft, candidate, request)

    patch.setattr(election, "on_vote_request", forgetful)


@mutant("elections", codes="A2 A10", hunt=Cores("leaders"))
def own_vote_counts_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    """A candidate counts its own vote before that is on its disk."""
    whole = election.stand

    def hasty(raft, *, transfer=False):
        whole(raft, transfer=transfer)
        election.count_vote(raft, raft.identity, granted=True)

    patch.setattr(election, "stand", hasty)


@mutant(
    "elections", codes="A9", hunt=Case(test_failures.test_A9_votes_of_an_earlier_candidacy_do_not_count), quick=True
)
def stale_votes_accepted(patch: pytest.MonkeyPatch) -> None:
    """A vote of an earlier term counts."""
    whole = Raft._answer_the_past

    def careless(raft, envelope):
        if isinstance(envelope.message, VoteReply):
            return raft._dispatch(envelope, envelope.message)
        return whole(raft, envelope)

    patch.setattr(Raft, "_answer_the_past", careless)


@mutant("elections", codes="A9", hunt=Cores())
def a_later_term_is_not_followed(patch: pytest.MonkeyPatch) -> None:
    """A leader that hears of a later term goes on leading."""
    whole = Raft.step

    def stubborn(raft, envelope):
        if envelope.term > raft.term and isinstance(raft.role, Leader):
            envelope = changed(envelope, term=raft.term)
        whole(raft, envelope)

    patch.setattr(Raft, "step", stubborn)


@mutant("elections", codes="C14 G7", hunt=Cores("voters"), quick=True)
def a_wiped_voter_keeps_its_name(patch: pytest.MonkeyPatch) -> None:
    """A node whose disk was wiped comes back as the voter that it was."""
    whole = Host.start

    def wiped(host, random):
        if host.starts:
            host.disk = Disk()
        whole(host, random)

    patch.setattr(Host, "start", wiped)


@mutant("elections", codes="D9", hunt=Case(test_ancestor.test_D9_nor_does_one_of_a_later_term), quick=True)
def every_message_resets_the_election_timer(patch: pytest.MonkeyPatch) -> None:
    """Any message, a refused candidate's too, makes a follower wait anew."""
    whole = Raft.step

    def calmed(raft, envelope):
        whole(raft, envelope)
        raft.election_elapsed = 0

    patch.setattr(Raft, "step", calmed)


@mutant("elections", codes="D10", hunt=Cores(), quick=True)
def a_leader_serves_only_those_who_voted_for_it(patch: pytest.MonkeyPatch) -> None:
    """Who did not vote for the leader never hears of it."""
    whole = Raft.become_leader

    def narrow(raft):
        assert isinstance(raft.role, Candidate)
        voted = {voter for voter, granted in raft.role.votes.items() if granted}
        whole(raft)
        raft.role.progress = {peer: each for peer, each in raft.role.progress.items() if peer in voted}

    patch.setattr(Raft, "become_leader", narrow)


RETURNS = test_thesis.test_B3_a_node_that_was_cut_off_comes_back_without_disturbing_anyone


@mutant("elections", codes="B3", hunt=Case(RETURNS), quick=True)
def no_pre_vote(patch: pytest.MonkeyPatch) -> None:
    """A node stands for election without asking first whether it would win."""
    whole = election.campaign
    patch.setattr(election, "campaign", lambda raft: election.stand(raft) if raft.is_voter else whole(raft))


@mutant("elections", codes="B6", hunt=Case(test_thesis.test_B6_a_leader_that_hears_no_majority_steps_down), quick=True)
def no_check_quorum(patch: pytest.MonkeyPatch) -> None:
    """A leader that hears nobody leads on."""
    whole = replication.tick_leader

    def sure(raft, role):
        for progress in role.progress.values():
            progress.silence = 0
        whole(raft, role)

    patch.setattr(replication, "tick_leader", sure)


@mutant("elections", codes="A5", hunt=Cores(), quick=True)
def a_transfer_waives_every_check(patch: pytest.MonkeyPatch) -> None:
    """Leadership is handed over at once, and whoever it is handed to gets every vote."""
    from conflux.raft import transfer

    whole = election._is_up_to_date
    patch.setattr(election, "_is_up_to_date", lambda raft, request: request.transfer or whole(raft, request))
    patch.setattr(
        transfer,
        "hand_over_when_level",
        lambda raft, role: raft.reply(role.transferee, TimeoutNow()) if role.transferee else None,
    )
    begin = transfer.begin

    def begin_at_once(raft, role, target):
        begun = begin(raft, role, target)
        if begun:
            transfer.hand_over_when_level(raft, role)
        return begun

    patch.setattr(transfer, "begin", begin_at_once)


# -- how many are enough -------------------------------------------------------------------------------------------


@mutant("quorum", codes="A1", hunt=Cores(), quick=True)
def minority_quorum(patch: pytest.MonkeyPatch) -> None:
    """Half of the voters are a majority."""
    patch.setattr(configuration, "majority", lambda count: max(1, count // 2))


@mutant("quorum", codes="D5", hunt=Cores())
def more_than_a_majority_is_needed(patch: pytest.MonkeyPatch) -> None:
    """More than half, rounded up, are needed: of three all, of one more than there are."""
    patch.setattr(configuration, "majority", lambda count: (count + 1) // 2 + 1)


@mutant("quorum", codes="A4", hunt=Cores(), quick=True)
def one_copy_too_few_commits(patch: pytest.MonkeyPatch) -> None:
    """An entry is committed with one copy less than a majority."""

    def generous(values, configuration_):
        reached = sorted((values.get(voter, 0) for voter in configuration_.voters), reverse=True)
        return reached[max(0, len(reached) // 2 - 1)]

    patch.setattr(replication, "quorum_index", generous)


@mutant("quorum", codes="G6", hunt=Cores())
def learners_count(patch: pytest.MonkeyPatch) -> None:
    """What learners hold and say counts like the word of voters."""

    def reached(values, configuration_):
        counted = sorted((values.get(member, 0) for member in configuration_.members), reverse=True)
        return counted[len(configuration_.voters) // 2]

    patch.setattr(replication, "quorum_index", reached)
    patch.setattr(
        Configuration,
        "has_quorum",
        lambda self, nodes: len(set(nodes) & set(self.members)) >= configuration.majority(len(self.voters)),
    )
