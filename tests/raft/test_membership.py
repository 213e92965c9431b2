"""Membership changes, one server at a time: chapter 4 of the thesis, and G1 to G8 as far as the core goes."""

from __future__ import annotations

import pytest

from conflux.raft.configuration import Configuration
from conflux.raft.entry import Entry, Kind
from conflux.raft.invariant import InvariantViolated
from conflux.raft.messages import Accepted, Append, Heartbeat, VoteRequest
from tests.raft.harness import (
    FOLLOWER,
    LEADER,
    OPTIONS,
    Network,
    entries,
    leader,
    led,
    members,
    node,
    vote,
    vote_request,
)


def joined(voters: str = "abc", *new: str) -> Network:
    """A led cluster, and new nodes whose log is empty and who know of the founders alone."""
    network = led(voters)
    for name in new:
        network.nodes[name] = node(name, of=voters)
    return network


def test_G3_a_configuration_is_in_force_once_it_is_appended():
    a = leader()
    a.hears(Accepted(match_index=1))
    a.change("abcd")
    assert a.raft.configuration == Configuration.of("abcd")  # 4.1
    assert a.raft.commit_index < a.raft.log.last_index


def test_G1_no_change_before_the_terms_no_op_is_committed():
    a = leader()
    assert not a.raft.may_change_membership
    with pytest.raises(InvariantViolated):
        a.raft.change_membership(members("ab"))  # raft-dev, 2015


def test_G2_no_second_change_while_one_is_uncommitted():
    network = led("abc")
    network.isolate("a")
    network["a"].change("ab")
    assert not network["a"].raft.may_change_membership  # 4.1


def test_a_change_of_two_voters_at_once_is_refused():
    network = led("abc")
    with pytest.raises(InvariantViolated):
        network["a"].raft.change_membership(members("abcde"))  # 4.1


def test_a_voter_swapped_for_another_is_a_change_of_two():
    network = led("abc")
    with pytest.raises(InvariantViolated):
        network["a"].raft.change_membership(members("abd"))


def test_a_learner_gets_the_log_and_does_not_count():
    network = joined("abc", "d")
    network["a"].change("abc", "d")
    network.deliver()
    network.beat()
    assert network["d"].log == network["a"].log  # 4.2.1
    network.part("a", "bc")
    index = network["a"].propose()
    network.deliver()
    assert network["d"].raft.log.last_index == index > network["a"].commit_index


def test_G6_a_learner_becomes_a_voter_and_counts():
    network = joined("abc", "d")
    network["a"].change("abc", "d")
    network.deliver()
    network["a"].change("abcd")
    network.deliver()
    network.crash("b")
    index = network.propose()
    assert network["a"].commit_index == index
    network.crash("c")
    network["a"].propose()
    network.deliver()
    assert network["a"].commit_index == index  # two of four are no majority


def test_G3_a_cut_log_takes_its_configuration_back():
    network = led("abc")
    network.isolate("a")
    network["a"].change("ab")
    network.elect("b")
    network.heal()
    network.beat()
    network.deliver()
    assert network["a"].raft.configuration == Configuration.of("abc")  # 4.1
    assert network["a"].configurations == [Configuration.of("ab"), Configuration.of("abc")]


def test_G3_a_restart_finds_the_configuration_in_its_log():
    network = led("abc")
    network["a"].change("abc", "d")
    network.deliver()
    network.restart("b")
    assert network["b"].raft.configuration == Configuration.of("abc", "d")


def test_G4_a_leader_that_removes_itself_counts_without_itself():
    network = led("abc")
    network.part("a", "c")
    index = network["a"].change("bc")
    network.deliver()
    assert network["a"].commit_index < index  # a and b hold it, and a is no voter: 4.2.2


def test_G4_and_steps_down_once_that_is_committed():
    network = led("abc")
    index = network["a"].change("bc")
    network.deliver()
    assert network["a"].role is FOLLOWER
    assert [network[name].commit_index for name in "bc"] == [index, index]  # they were told before it left
    network.elect("b")
    assert network.leaders == ["b"]


def test_B4_a_removed_node_that_heard_nothing_disturbs_nobody():
    network = led("abc")
    network.isolate("c")
    network["a"].change("ab")
    network.deliver()
    term = network["a"].term
    network.heal()
    network["c"].raft.tick(10 * OPTIONS.election_ticks_max)
    network["c"].settle()
    network.deliver()
    assert (network.leaders, network["a"].term) == (["a"], term)  # 4.2.3


def test_a_removed_member_is_sent_nothing():
    network = led("abc")
    network["a"].change("ab")
    network.deliver()
    network["a"].took()
    network["a"].tick(OPTIONS.heartbeat_ticks)
    network["a"].propose()
    assert "c" not in {envelope.receiver for envelope in network["a"].took()}


def test_a_new_member_is_heard_before_its_entry_is_known():
    b = node("b", of="ab", log=(1,), term=1)
    b.hears(Heartbeat(round=1, commit_index=0), of="x", term=2)
    assert b.raft.leader == "x"  # 4.1: a leader needs no place in the follower's configuration


def test_a_voter_votes_for_a_candidate_that_it_does_not_know():
    b = node("b", of="abc", log=(1,), term=1)
    assert b.hears(vote_request((1, 1)), of="x", term=2) == [vote(True)]  # 4.1


def test_a_promotion_is_in_force_on_the_new_voter_when_it_holds_the_entry():
    d = node("d", of="abc")
    change = Entry(2, 1, Kind.MEMBERSHIP, members("abcd"))
    message = Append(prev_index=0, prev_term=0, entries=(*entries([1]), change), commit_index=0)
    d.hears(message, of="a", term=1)
    assert d.raft.is_voter
    assert any(isinstance(each, VoteRequest) for each in d.time_out())


def test_G8_growing_from_one_to_seven_and_back_keeps_every_entry():
    network = joined("a", *"bcdefg")
    payloads = []
    for size in [*range(2, 8), *range(6, 0, -1)]:
        voters = "abcdefg"[:size]
        current = network["a"].raft.configuration.voters
        if len(voters) > len(current):
            network["a"].change(current, set(voters) - set(current))
            network.deliver()
        network["a"].change(voters)
        network.deliver()
        payloads.append(b"%d" % size)
        network.propose(payloads[-1])
    written = [entry.payload for entry in network["a"].committed if entry.payload in payloads]
    assert written == payloads
    assert network["a"].role is LEADER


def test_a_leader_alone_may_be_joined():
    network = joined("a", "b")
    network["a"].change("a", "b")
    network.deliver()
    index = network["a"].change("ab")
    network.deliver()
    assert network["b"].raft.is_voter
    assert network["a"].commit_index == index
