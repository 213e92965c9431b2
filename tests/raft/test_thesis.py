"""Ongaro's thesis beyond the paper: pre-vote, check-quorum, ReadIndex, transfer, learners.

Chapter 10, with A10, A11, B12 and B13, stands in test_pipelining.py.

Codes as B3 name the failure cases that a test holds; each test ends with its section.
"""

from __future__ import annotations

import pytest

from conflux.raft.effects import Persist, ReadReady
from conflux.raft.messages import (
    Accepted,
    Heartbeat,
    HeartbeatReply,
    Rejected,
    TimeoutNow,
    VoteRequest,
)
from tests.raft.harness import (
    CANDIDATE,
    FOLLOWER,
    LEADER,
    OPTIONS,
    PRE_CANDIDATE,
    Network,
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

MIN, MAX, BEAT = OPTIONS.election_ticks_min, OPTIONS.election_ticks_max, OPTIONS.heartbeat_ticks


# -- pre-vote (9.6) ----------------------------------------------------------------------------------------------


def test_a_pre_candidate_changes_neither_its_term_nor_its_vote_nor_its_disk():
    a = node(term=3, vote="c")
    a.disk.writes = 0
    messages = a.time_out()
    assert (a.role, a.term, a.raft.vote, a.disk.writes) == (PRE_CANDIDATE, 3, "c", 0)
    assert messages == [vote_request(pre=True)] * 2  # 9.6


def test_a_pre_vote_asks_for_the_term_above_the_own():
    a = node(term=3)
    a.raft.tick(a.raft.election_timeout)
    a.settle()
    assert {envelope.term for envelope in a.took()} == {4}  # 9.6


def test_a_majority_of_pre_votes_begins_the_election():
    a = node(of="abcde", term=3)
    a.time_out()
    a.hears(vote(True, pre=True), of="b", term=4)
    assert a.role is PRE_CANDIDATE
    a.hears(vote(True, pre=True), of="c", term=4)
    assert (a.role, a.term) == (CANDIDATE, 4)  # 9.6


def test_pre_votes_of_another_round_do_not_count():
    a = node(of="abcde", term=3)
    a.time_out()
    for voter in "bcde":
        a.hears(vote(True, pre=True), of=voter, term=3)
    assert a.role is PRE_CANDIDATE  # 9.6


def test_pre_votes_are_no_votes():
    a = candidate()
    a.hears(vote(True, pre=True), of="b", term=a.term + 1)
    a.hears(vote(True, pre=True), of="b", term=a.term)
    assert a.role is CANDIDATE  # 9.6


def test_granting_a_pre_vote_promises_nothing():
    a = node(term=3)
    before = (a.disk.writes, a.raft.election_elapsed)
    assert a.hears(vote_request(pre=True), of="b", term=4) == [vote(True, pre=True)]
    assert a.hears(vote_request(pre=True), of="c", term=4) == [vote(True, pre=True)]
    assert (a.term, a.raft.vote, a.role) == (3, None, FOLLOWER)
    assert (a.disk.writes, a.raft.election_elapsed) == before  # 9.6


def test_who_hears_a_leader_refuses_a_pre_vote():
    a = follower()
    a.tick(MIN - 1)
    assert a.hears(vote_request((9, 1), pre=True), of="c", term=2) == [vote(False, pre=True)]
    a.tick()
    assert a.hears(vote_request((9, 1), pre=True), of="c", term=2) == [vote(True, pre=True)]  # 9.6


def test_a_leader_refuses_a_pre_vote():
    assert leader().hears(vote_request((9, 1), pre=True), of="c", term=2) == [vote(False, pre=True)]  # 9.6


def test_a_pre_vote_for_a_term_that_is_over_is_refused_with_the_current_term():
    a = node(term=5)
    a.raft.leader_silence = 99
    assert a.hears(vote_request((9, 4), pre=True), term=5) == [vote(False, pre=True)]  # 9.6


def test_B3_a_node_that_was_cut_off_comes_back_without_disturbing_anyone():
    network = led("abc")
    network.isolate("c")
    network.tick(20 * MAX)
    assert network["c"].term == 1 and network["c"].role is PRE_CANDIDATE
    network.propose()
    network.heal()
    network.tick(5 * MAX)
    assert network.leaders == ["a"] and {each.term for each in network.nodes.values()} == {1}
    assert network["c"].log == network["a"].log  # 9.6


def test_B3_a_node_that_comes_back_with_a_later_term_costs_one_election_and_no_more():
    network = led("abc")
    network["c"].disk.term = 9
    network.restart("c")
    network.tick(5 * MAX)
    assert len(network.leaders) == 1 and {each.term for each in network.nodes.values()} == {10}  # 9.6


def test_B8_a_quorum_with_a_node_at_an_old_term_still_elects():
    network = Network(node("a", log=[1, 1], term=1), node("b", log=[1, 1], term=7), node("c"))
    network.crash("c")
    network.tick(6 * MAX)
    assert len(network.leaders) == 1  # 9.6


@pytest.mark.parametrize("old", "ab")
def test_B8_whichever_of_the_two_has_the_longer_log(old):
    logs = {"a": [1], "b": [1], "c": []} | {old: [1, 2, 2]}
    terms = {"a": 8, "b": 8, "c": 0} | {old: 3}
    network = Network(*(node(name, log=logs[name], term=terms[name]) for name in "abc"))
    network.crash("c")
    network.tick(8 * MAX)
    assert network.leaders == [old]  # 9.6


def test_B9_a_granted_pre_vote_does_not_reset_the_clock_since_the_leader():
    a = follower()
    a.tick(MIN)
    before = (a.raft.leader_silence, a.raft.election_elapsed)
    assert a.hears(vote_request((9, 1), pre=True), of="c", term=2) == [vote(True, pre=True)]
    assert (a.raft.leader_silence, a.raft.election_elapsed) == before  # 9.6


def test_B9_a_leader_just_deposed_may_grant_a_pre_vote():
    a = leader()
    a.hears(HeartbeatReply(round=0), of="b", term=5)
    assert a.role is FOLLOWER
    assert a.hears(vote_request((9, 1), pre=True), of="c", term=6) == [vote(True, pre=True)]  # 9.6


def test_B9_a_leader_that_steps_down_by_itself_may_grant_a_pre_vote():
    a = leader()
    a.raft.step_down()
    assert a.hears(vote_request((9, 1), pre=True), of="c", term=2) == [vote(True, pre=True)]  # 9.6


def test_a_pre_candidate_that_hears_its_leader_again_follows_it():
    a = follower()
    a.time_out()
    assert a.role is PRE_CANDIDATE
    a.hears(heartbeat())
    assert (a.role, a.raft.leader) == (FOLLOWER, "b")  # 9.6


def test_a_late_refusal_of_an_earlier_pre_vote_does_not_win_against_a_grant():
    a = node(of="abc", term=1)
    a.time_out()
    a.time_out()  # a second round at the same term
    a.hears(vote(False, pre=True), of="b", term=1)  # b's answer to the first: it still heard a leader then
    a.hears(vote(True, pre=True), of="b", term=2)
    assert a.role is CANDIDATE  # 9.6


# -- check-quorum (6.2), and votes that a living leader protects from (4.2.3) ----------------------------------------


def test_B6_a_leader_that_hears_no_majority_steps_down():
    network = led("abcde")
    network.part("bcd", "a", one_way=True)  # it can send, but not hear
    network.tick(2 * MIN, only="a")
    assert network.leaders == [] and network["a"].term == 1  # 6.2


def test_B6_it_steps_down_within_one_election_time_out():
    network = led("abc", election_ticks_min=60, election_ticks_max=100, heartbeat_ticks=10)
    network.tick(60)  # it has just looked, and then heard all
    network.part("bc", "a", one_way=True)
    network.tick(100, only="a")
    assert network.leaders == []  # 6.2


def test_a_leader_that_hears_a_bare_majority_stays():
    network = led("abcde")
    network.part("de", "a")
    network.tick(20 * MAX, only="abc")
    assert network.leaders == ["a"] and network["a"].term == 1  # 6.2


def test_learners_do_not_keep_a_leader_in_office():
    a = leader(of="abc", learners="xyz")
    for _ in range(2 * MIN):
        a.tick()
        for name in "xyz":
            a.hears(HeartbeatReply(round=1), of=name)
    assert a.role is FOLLOWER  # 6.2


def test_any_answer_shows_that_a_follower_lives():
    for answer in (
        HeartbeatReply(round=1),
        Accepted(match_index=1),
        Rejected(prev_index=5, conflict_term=0, conflict_index=1),
    ):
        a = leader(of="abc")
        for _ in range(5 * MIN):
            a.tick()
            a.hears(answer, of="b")
        assert a.role is LEADER  # 6.2


def test_B5_one_broken_link_of_a_triangle_leaves_a_stable_leader():
    network = led("abc")
    network.part("a", "c")  # b sees both
    network.tick(3 * MAX)
    network.tick(20 * MAX)
    assert len(network.leaders) == 1
    leaders, term = network.leaders, network[network.leaders[0]].term
    network.tick(20 * MAX)
    assert network.leaders == leaders and network[leaders[0]].term == term  # 6.2 with 9.6


def test_B5_with_a_leader_at_an_end_the_other_end_does_not_take_turns_with_it():
    network = cluster("abc")
    network.part("a", "c")
    network.tick(10 * MAX)
    terms = {network[name].term for name in network.leaders}
    network.tick(20 * MAX)
    assert len(network.leaders) == 1 and {network[name].term for name in network.leaders} == terms  # 6.2 with 9.6


def test_a_living_leaders_followers_do_not_hear_of_a_later_term():
    a = follower()
    assert a.hears(vote_request((9, 9)), of="c", term=10) == []
    assert (a.term, a.raft.leader) == (1, "b")  # 4.2.3


def test_a_candidate_that_nobody_heard_leads_again_to_one_leader():
    network = led("abc")
    c = network["c"]
    network.isolate("c")
    c.time_out()
    c.hears(vote(True, pre=True), of="b", term=2)
    assert (c.role, c.term) == (CANDIDATE, 2)
    network.heal()
    network.tick(5 * MAX)
    assert len(network.leaders) == 1 and len({each.term for each in network.nodes.values()}) == 1  # 4.2.3


# -- linearizable reads (6.4) ------------------------------------------------------------------------------------


def test_a_read_is_ready_once_a_majority_has_answered_a_heartbeat_sent_after_it():
    network = led("abcde")
    a = network["a"]
    a.read(7)
    assert {type(message) for message in (envelope.message for envelope in a.sent)} == {Heartbeat}
    assert a.ready == {}
    network.deliver()
    assert a.ready == {7: 1}  # 6.4


def test_F5_an_answer_to_an_older_heartbeat_confirms_no_read():
    network = led("abc")
    a = network["a"]
    old = a.leadership.round
    a.read()
    for peer in "bc":
        a.hears(HeartbeatReply(round=old), of=peer)
    assert a.ready == {}
    a.hears(HeartbeatReply(round=old + 1), of="b")
    assert a.ready == {1: 1}  # 6.4


def test_F5_a_read_that_comes_while_a_round_is_on_its_way_gets_a_round_of_its_own():
    network = led("abc")
    a = network["a"]
    a.read(1)
    first = a.leadership.round
    a.read(2)
    a.hears(HeartbeatReply(round=first), of="b")
    assert a.ready == {1: 1}
    a.hears(HeartbeatReply(round=first + 1), of="b")
    assert a.ready == {1: 1, 2: 1}  # 6.4


def test_F4_a_read_on_a_new_leader_waits_for_its_no_op():
    a = leader(log=[1, 1], term=1)
    a.read()
    for peer in "bc":
        a.hears(HeartbeatReply(round=a.leadership.round), of=peer)
    assert a.ready == {} and a.commit_index == 0
    a.hears(Accepted(match_index=3))
    a.hears(HeartbeatReply(round=a.leadership.round))
    assert a.ready == {1: 3}  # 6.4


def test_F4_the_round_begins_after_the_no_op_not_before():
    a = leader()
    a.read()
    early = a.leadership.round
    a.hears(Accepted(match_index=1))
    a.hears(HeartbeatReply(round=early))
    assert a.ready == {} and a.leadership.round > early  # 6.4


def test_a_stale_leader_answers_no_read():
    network = led("abc")
    network.isolate("a")
    network.elect("b")
    network["b"].propose(b"news")
    network.deliver()
    a = network["a"]
    a.read()
    network.deliver()
    assert a.role is LEADER and a.ready == {}
    network.heal()
    network.beat()
    assert a.ready == {} and a.failed == [1]  # 6.4


def test_B10_a_leader_that_slept_answers_no_read_before_a_quorum_confirms_it():
    network = led("abc")
    a = network["a"]
    network.isolate("a")  # stopped: it hears nothing and its clock stands still
    network.elect("b")
    network.heal()
    a.read()
    assert a.ready == {}
    network.deliver()
    assert a.ready == {} and a.failed == [1] and network.leaders == ["b"]  # 6.4


def test_reads_that_wait_fail_when_leadership_ends():
    a = leader()
    a.read(1)  # waits for the no-op
    a.hears(Accepted(match_index=1))
    a.read(2)  # waits for its round
    a.hears(heartbeat(), term=9)
    assert a.failed == [1, 2] and a.ready == {}  # 6.4


def test_a_leaders_timer_knows_when_a_transfer_is_given_up():
    a = leader(of="abc")
    a.hears(Accepted(match_index=1))
    a.transfer("c")
    a.leadership.transfer_elapsed = MAX - 1
    assert a.raft.ticks_to_timer() == 1


@pytest.mark.parametrize("make", [follower, candidate])
def test_a_read_on_another_than_the_leader_fails_at_once(make):
    a = make()
    a.read(5)
    assert a.failed == [5]  # 6.4


def test_a_cluster_of_one_confirms_itself():
    network = led("a")
    network["a"].read()
    assert network["a"].ready == {1: 1}  # 6.4


def test_a_learner_confirms_no_read():
    a = leader(of="abc", learners="x")
    a.hears(Accepted(match_index=1))
    a.read()
    a.hears(HeartbeatReply(round=a.leadership.round), of="x")
    assert a.ready == {}  # 6.4


def test_one_round_confirms_all_reads_of_a_turn():
    network = led("abc")
    a = network["a"]
    for context in range(5):
        a.raft.read_index(context)
    a.settle()
    assert len(a.sent) == 2
    network.deliver()
    assert a.ready == dict.fromkeys(range(5), 1)  # 6.4


def test_a_read_names_the_commit_index_of_the_moment_it_came():
    network = led("abc")
    a = network["a"]
    network.propose()
    a.read()
    a.propose()
    network.deliver()
    assert a.ready == {1: 2} and a.commit_index == 3  # 6.4


def test_a_read_leaves_after_the_sync():
    network = led("a")
    raft = network["a"].raft
    raft.propose(b"x")
    raft.read_index(1)
    kinds = [type(effect) for effect in raft.take_effects()]
    assert kinds.index(Persist) < kinds.index(ReadReady)  # 6.4


# -- leadership transfer (3.10) ----------------------------------------------------------------------------------


def test_a_leader_hands_over_to_a_level_follower_within_no_time():
    network = led("abc")
    assert network["a"].transfer("c")
    network.deliver()
    assert network.leaders == ["c"] and network["c"].term == 2  # 3.10


def test_a_transfer_needs_no_silence_of_the_old_leader():
    network = led("abcde")
    network.beat()
    network["a"].transfer("b")
    network.deliver()
    assert network.leaders == ["b"] and {each.raft.leader for each in network.nodes.values()} == {"b"}  # 3.10


def test_a_target_that_lags_is_brought_level_first():
    network = led("abc")
    network.part("a", "c")
    for _ in range(5):
        network.propose()
    a = network["a"]
    assert a.transfer("c")
    network.deliver()
    assert network.leaders == ["a"]
    network.heal()
    network.beat()
    assert network.leaders == ["c"] and network["c"].log == [1] * 6 + [2]  # 3.10


def test_no_target_is_told_to_stand_before_it_is_level():
    a = leader(log=[1] * 5, term=1)
    a.hears(Accepted(match_index=3))
    a.transfer("b")
    assert TimeoutNow() not in a.said()
    assert TimeoutNow() not in a.hears(Accepted(match_index=5))
    assert TimeoutNow() in a.hears(Accepted(match_index=6))  # 3.10


def test_while_it_hands_over_a_leader_takes_no_proposal():
    network = led("abc")
    network.isolate("c")
    a = network["a"]
    assert a.raft.may_propose and a.transfer("c") and not a.raft.may_propose  # 3.10


def test_a_transfer_to_a_dead_target_is_given_up_after_an_election_time_out():
    network = led("abc")
    network.crash("c")
    a = network["a"]
    a.transfer("c")
    network.tick(MAX - 1, only="ab")
    assert not a.raft.may_propose
    network.tick(1, only="ab")
    assert a.raft.may_propose and network.leaders == ["a"]
    assert network.propose() == 2 and a.commit_index == 2  # 3.10


def test_a_target_that_dies_as_candidate_leaves_a_cluster_that_elects():
    network = led("abc")
    network["a"].transfer("c")
    network.deliver(rounds=1)  # c stands for election and asks
    network.crash("c")
    network.deliver()
    network.tick(6 * MAX)
    assert len(network.leaders) == 1  # 3.10


def test_a_transfer_can_be_begun_again_after_it_failed():
    network = led("abc")
    network.isolate("c")
    network["a"].transfer("c")
    network.tick(MAX, only="ab")
    network.heal()
    network.beat()
    assert network["a"].transfer("c")
    network.deliver()
    assert network.leaders == ["c"]  # 3.10


@pytest.mark.parametrize("target", ["a", "z", "x", ""], ids=["itself", "a stranger", "a learner", "nobody"])
def test_a_transfer_to_no_other_voter_is_refused(target):
    a = leader(of="abc", learners="x")
    assert not a.transfer(target)
    assert a.raft.may_propose  # 3.10


def test_a_second_transfer_is_refused_while_one_is_under_way():
    network = led("abc")
    network.isolate("c")
    assert network["a"].transfer("c") and not network["a"].transfer("b")
    assert network["a"].leadership.transferee == "c"  # 3.10


def test_only_a_leader_transfers():
    assert not follower().transfer("c")
    assert not candidate().transfer("c")  # 3.10


def test_only_the_own_leader_may_ask_a_node_to_stand():
    a = follower(leader="b")
    assert a.hears(TimeoutNow(), of="c") == [] and a.role is FOLLOWER
    assert a.hears(TimeoutNow(), of="b") == [vote_request(transfer=True)] * 2 and a.role is CANDIDATE  # 3.10


def test_a_learner_does_not_stand_even_when_asked():
    a = follower("x", of="abc", learners="x")
    assert a.hears(TimeoutNow()) == [] and a.role is FOLLOWER  # 3.10, 4.2.1


def test_a_transfer_loses_no_proposal_made_before_it():
    network = led("abc")
    a = network["a"]
    index = a.propose(b"before")
    a.transfer("b")
    network.deliver()
    assert network.leaders == ["b"]
    assert all(each.payloads[index - 1] == b"before" for each in network.nodes.values())  # 3.10


# -- learners (4.2.1) --------------------------------------------------------------------------------------------


def test_a_learner_receives_the_log_and_counts_for_nothing():
    a = leader(of="abc", learners="x")
    a.hears(Accepted(match_index=1), of="x")
    assert a.commit_index == 0
    network = Network(*(node(name, of="abc", learners="x") for name in "abcx"))
    network.elect("a")
    assert network["x"].commit_index == 1  # 4.2.1


def test_a_learner_never_stands_for_election():
    x = node("x", of="abc", learners="x")
    assert x.tick(10 * MAX) == [] and x.role is FOLLOWER  # 4.2.1


def test_a_learners_vote_does_not_count():
    a = candidate(of="abc", learners="xyz")
    for name in "xyz":
        a.hears(vote(True), of=name)
    assert a.role is CANDIDATE  # 4.2.1


def test_a_learner_is_not_asked_for_its_vote():
    a = node(of="abc", learners="x")
    a.raft.tick(a.raft.election_timeout)
    a.settle()
    assert [e.receiver for e in a.took() if isinstance(e.message, VoteRequest)] == ["b", "c"]  # 4.2.1


# -- the shell's timer -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [node, follower, candidate, leader])
def test_nothing_happens_before_the_timer(make):
    a = make()
    assert a.tick(a.raft.ticks_to_timer() - 1) == []
    assert a.tick() != []


def test_a_leaders_timer_knows_of_the_look_for_a_quorum():
    a = leader(of="abc")
    a.hears(Accepted(match_index=1))
    for tick in range(3 * MIN):
        a.read(tick)  # begins a round, so that no heartbeat is due for long
        due = a.raft.ticks_to_timer()
        a.tick()
        if a.role is FOLLOWER:
            break
    assert a.role is FOLLOWER and due == 1


@pytest.mark.parametrize("make", [follower, candidate])
def test_only_a_leader_knows_who_is_most_level(make):
    assert make().raft.most_level_voter() is None


def test_the_most_level_voter_is_the_one_whose_log_is_nearest_and_no_learner():
    a = leader(of="abc", learners="x", log=[1, 1, 1])
    a.hears(Accepted(match_index=2), of="b")
    a.hears(Accepted(match_index=3), of="c")
    a.hears(Accepted(match_index=4), of="x")
    assert a.raft.most_level_voter() == "c"


def test_a_voter_that_is_level_but_silent_is_not_handed_leadership():
    a = leader(of="abc", log=[1, 1, 1])
    a.hears(Accepted(match_index=4), of="b")
    for _ in range(MIN):
        a.tick()
        a.hears(Accepted(match_index=3), of="c")
    assert a.raft.most_level_voter() == "c"


def test_alone_nobody_is_most_level():
    assert led("a")["a"].raft.most_level_voter() is None
