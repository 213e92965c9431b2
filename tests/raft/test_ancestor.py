"""What the ancestor did wrong, forbidden: its defects D5 to D12 as far as they are the core's affair.

Of the others, D1 to D4 and D11 to D14 are the store's, the shell's or the documentation's.
"""

from __future__ import annotations

import pytest

from conflux.raft.configuration import majority
from conflux.raft.effects import Persist, Send
from conflux.raft.invariant import InvariantViolated
from conflux.raft.messages import Append, Envelope, Heartbeat, Rejected
from tests.raft.harness import (
    FOLLOWER,
    LEADER,
    OPTIONS,
    append,
    candidate,
    cluster,
    follower,
    heartbeat,
    leader,
    led,
    node,
    vote,
    vote_request,
)


@pytest.mark.parametrize(("size", "votes"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4), (8, 5), (9, 5)])
def test_D5_a_majority_is_more_than_half_and_no_more(size, votes):
    assert majority(size) == votes


@pytest.mark.parametrize("names", ["a", "abc", "abcde"])
def test_D5_a_bare_majority_elects_and_commits(names):
    network = cluster(names)
    for name in names[majority(len(names)) :]:
        network.crash(name)
    network.tick(10 * OPTIONS.election_ticks_max)
    assert len(network.leaders) == 1
    index = network.propose()
    assert network[network.leaders[0]].commit_index == index


def test_D6_term_vote_and_log_survive_the_process():
    a = node()
    a.hears(vote_request(), of="b", term=4)
    a.hears(append((0, 0), [4, 4]), of="b", term=4)
    a.start()
    assert (a.term, a.raft.vote, a.log) == (4, "b", [4, 4])


def test_D6_a_restart_grants_no_second_vote():
    a = node()
    a.hears(vote_request(), of="b", term=4)
    a.start()
    assert a.hears(vote_request(), of="c", term=4) == [vote(False)]


def test_D7_an_append_without_entries_is_checked_like_any_other():
    a = follower(log=[1, 1, 2], term=3)
    assert a.hears(append((3, 3), commit=3)) == [Rejected(prev_index=3, conflict_term=2, conflict_index=3)]
    assert a.commit_index == 0 and a.committed == []


def test_D7_no_divergent_entry_is_committed_by_a_follower_of_a_new_leader():
    network = led("abc")
    network.isolate("a")
    for _ in range(3):
        network["a"].propose(b"divergent")
    network.elect("b")
    network["b"].propose(b"true")
    network.deliver()
    network.heal()
    network.tick(5 * OPTIONS.heartbeat_ticks)
    assert b"divergent" not in [entry.payload for entry in network["a"].committed]
    assert network["a"].committed == network["b"].committed


def test_D8_truncation_begins_at_the_first_conflict():
    a = follower(log=[1, 2, 2, 2], term=3)
    a.hears(append((0, 0), [1, 3, 3, 3]))
    assert a.truncated == [2] and a.log == [1, 3, 3, 3]


def test_D8_the_first_entry_of_a_log_is_truncated_like_any_other():
    a = follower(log=[1, 1], term=2)
    a.hears(append((0, 0), [2]))
    assert a.truncated == [1] and a.log == [2] and a.payloads == [b"1@2"]


@pytest.mark.parametrize("pre", [True, False], ids=["pre-vote", "vote"])
def test_D9_a_refused_vote_does_not_reset_the_election_timer(pre):
    a = node(log=[1, 2], term=2, vote="b")
    a.tick(5)
    a.hears(vote_request((1, 1), pre=pre), of="c", term=2)
    assert a.raft.election_elapsed == 5


def test_D9_nor_does_one_of_a_later_term():
    a = node(log=[1, 2], term=2)
    a.tick(5)
    assert a.hears(vote_request((1, 1)), of="c", term=3) == [vote(False)]
    assert a.raft.election_elapsed == 5


@pytest.mark.parametrize("message", [heartbeat(), append((2, 1), [1])], ids=["heartbeat", "append"])
def test_D9_a_stale_leader_does_not_reset_the_election_timer(message):
    a = node(log=[1, 1], term=5)
    a.tick(5)
    a.hears(message, of="c", term=4)
    assert a.raft.election_elapsed == 5 and a.raft.leader_silence > 5 and a.raft.leader is None


@pytest.mark.parametrize("message", [vote(True), vote(False), vote(False, pre=True)])
def test_D9_nor_does_a_reply(message):
    a = follower()
    a.tick(5)
    a.hears(message, of="c", term=1)
    assert (a.raft.election_elapsed, a.raft.leader_silence) == (5, 5)


def test_D9_a_stale_leader_and_its_follower_do_not_keep_each_other_alive():
    network = led("abc")
    network.isolate("a")
    network.elect("b")
    network.heal()
    network.tick(3 * OPTIONS.election_ticks_max)
    assert network.leaders == ["b"]


def test_D10_a_leader_serves_all_members_whether_they_voted_for_it_or_not():
    a = candidate(of="abcde")
    for name in "de":
        a.hears(vote(False), of=name)
    a.hears(vote(True), of="b")
    a.raft.step(Envelope("c", "a", a.term, vote(True)))
    a.settle()
    sent = a.took()
    assert a.role is LEADER
    for kind in (Heartbeat, Append):
        assert [envelope.receiver for envelope in sent if isinstance(envelope.message, kind)] == ["b", "c", "d", "e"]


def test_D10_one_that_did_not_vote_starts_no_election_of_its_own():
    network = cluster("abc")
    network.part("c", "ab", one_way=True)  # c hears, and its votes are lost
    network.elect("a")
    network.tick(10 * OPTIONS.election_ticks_max)
    assert network.leaders == ["a"] and network["c"].role is FOLLOWER and network["c"].log == [1]


def test_D11_a_leaders_own_proposal_is_sent_at_once():
    network = led("abc")
    network["a"].propose()
    assert [type(message) for message in network["a"].said()] == [Append, Append]


@pytest.mark.parametrize("make", [follower, candidate])
def test_D12_a_proposal_that_no_leader_takes_is_refused_aloud(make):
    a = make()
    assert not a.raft.may_propose
    with pytest.raises(InvariantViolated, match="only a leader with room proposes"):
        a.raft.propose(b"x")


def test_D12_a_proposal_is_known_by_its_index_and_term_and_its_loss_is_told():
    network = led("abc")
    network.isolate("a")
    a = network["a"]
    index, term = a.raft.propose(b"lost")
    a.settle()
    network.elect("b")
    network.heal()
    network.tick(5 * OPTIONS.heartbeat_ticks)
    assert a.truncated == [index] and a.raft.log.term_at(index) > term


def test_D13_what_is_handed_out_cannot_be_changed_by_who_holds_it():
    a = leader()
    persist = next(effect for effect in reversed(a.history) if isinstance(effect, Persist) and effect.entries)
    assert isinstance(persist.entries, tuple) and isinstance(a.raft.log.entries(1, 1, 99), tuple)
    sends = [effect for effect in a.history if isinstance(effect, Send)]
    with pytest.raises(AttributeError):
        sends[0].envelope.term = 9
