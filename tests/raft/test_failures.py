"""What must not happen: the failure cases of sections A and B that are the core's affair, by their codes.

A10, A11, B12 and B13 stand in test_pipelining.py; B3, B5, B6, B8, B9 and B10 in test_thesis.py.
"""

from __future__ import annotations

from random import Random

import pytest

from conflux.raft.invariant import InvariantViolated
from conflux.raft.messages import Accepted, Append, Envelope, HeartbeatReply, Rejected, TimeoutNow
from conflux.raft.sanity import NUMBER_MAX
from tests.raft.harness import (
    CANDIDATE,
    FOLLOWER,
    LEADER,
    OPTIONS,
    PRE_CANDIDATE,
    Network,
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

MIN, MAX, BEAT = OPTIONS.election_ticks_min, OPTIONS.election_ticks_max, OPTIONS.heartbeat_ticks
SIZES = ["a", "ab", "abc", "abcd", "abcde", "abcdef", "abcdefg", "abcdefgh", "abcdefghi"]


# -- A. Safety ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", "abcd")
def test_A1_of_two_candidates_of_a_term_at_most_one_wins(first):
    network = Network(*(node(name, of="abcd") for name in sorted("abcd", key=lambda name: name != first)))
    for name in "ab":
        network[name].time_out()
        for voter in "abcd":
            if voter != name:
                network[name].hears(vote(True, pre=True), of=voter, term=1)
        assert network[name].term == 1
        network[name].sent += [Envelope(name, voter, 1, vote_request()) for voter in "abcd" if voter != name]
    network.deliver()
    assert len(network.leaders) <= 1  # two votes each is a split: a fair end, too


def test_A1_a_leader_ignores_another_that_claims_its_term():
    a = leader()
    assert a.hears(heartbeat(), of="c") == [] and a.role is LEADER


def test_A2_after_a_restart_a_vote_still_stands():
    a = node()
    a.hears(vote_request(), of="b", term=1)
    a.start()
    assert a.hears(vote_request(), of="c", term=1) == [vote(False)]
    assert a.hears(vote_request(), of="b", term=1) == [vote(True)]


def test_A2_a_node_that_dies_before_the_sync_has_not_voted_and_told_nobody():
    a = node()
    a.raft.step(Envelope("b", "a", 1, vote_request()))
    a.die_before_the_sync()
    assert a.took() == [] and (a.term, a.raft.vote) == (0, None)


def test_A2_a_candidate_that_dies_does_not_vote_for_another_in_its_term():
    a = candidate(term=4)
    a.start()
    assert (a.role, a.term, a.raft.vote) == (FOLLOWER, 5, "a")
    assert a.hears(vote_request((9, 4)), of="b") == [vote(False)]


@pytest.mark.parametrize("names", SIZES)
def test_A3_a_restart_of_all_nodes_at_once_loses_nothing(names):
    network = led(names)
    for payload in (b"1", b"2", b"3"):
        network.propose(payload)
    terms = {name: each.term for name, each in network.nodes.items()}
    for name in names:
        network.crash(name)
    network.restart(*names)
    assert {name: each.term for name, each in network.nodes.items()} == terms
    network.tick(10 * MAX)
    assert len(network.leaders) == 1 and network.propose(b"4")
    assert {tuple(each.payloads) for each in network.nodes.values()} == {
        (b"no-op", b"1", b"2", b"3", *network[network.leaders[0]].payloads[4:-1], b"4")
    }


def test_A3_the_commit_index_on_disk_lets_a_node_serve_what_it_knew():
    network = led("abc")
    network.propose(b"1")
    network.propose(b"2")
    b = network["b"]
    b.start()
    assert [entry.payload for entry in b.committed] == [b"no-op", b"1"]  # a hint: never too high


@pytest.mark.parametrize("names", SIZES[2:])
def test_A4_an_entry_of_an_old_term_is_not_committed_by_counting(names):
    a = leader(of=names, log=[1, 2], term=2)
    for peer in names[1:]:
        a.hears(Accepted(match_index=2), of=peer)
    assert a.commit_index == 0
    for peer in names[1:]:
        a.hears(Accepted(match_index=3), of=peer)
    assert a.commit_index == 3


def test_A5_a_voter_with_a_newer_log_refuses():
    for log in ([1, 1, 1], [2]):
        a = node(log=log, term=2)
        assert a.hears(vote_request((2, 1)), term=3) == [vote(False)] and a.raft.vote is None


@pytest.mark.parametrize(
    "late",
    [append((0, 0), [1]), append((1, 1), [1, 1]), append((0, 0), [1, 1, 1]), append((4, 1)), append((2, 1))],
    ids=["first", "middle", "from the start", "probe at the end", "probe in the middle"],
)
def test_A6_what_is_already_there_is_not_truncated_by_a_late_or_shorter_append(late):
    a = follower(log=[1, 1, 1, 1])
    answer = a.hears(late)
    assert answer == [Accepted(match_index=late.prev_index + len(late.entries))]
    assert a.log == [1, 1, 1, 1] and a.truncated == [] and len(a.disk.entries) == 4


def test_A6_only_the_conflicting_end_is_truncated():
    a = follower(log=[1, 1, 2, 2], term=3)
    a.hears(append((0, 0), [1, 1, 3]))
    assert a.log == [1, 1, 3] and a.truncated == [3] and a.payloads == [b"1@1", b"2@1", b"3@3"]


@pytest.mark.parametrize(
    ("message", "commit"),
    [
        (append((1, 1), commit=9), 1),  # verified 1 of 4 entries
        (append((1, 1), [1], commit=9), 2),
        (append((1, 1), [1, 1, 1, 1], commit=9), 5),
        (append((1, 1), [1, 1], commit=2), 2),
    ],
)
def test_A7_a_follower_commits_no_further_than_the_message_has_verified(message, commit):
    a = follower(log=[1, 1, 1, 1])
    a.hears(message)
    assert a.commit_index == commit


def test_A7_a_heartbeat_never_names_more_than_its_follower_is_known_to_hold():
    a = leader(of="abc", log=[1, 1, 1], term=1)
    a.hears(Accepted(match_index=4), of="b")
    a.hears(Accepted(match_index=2), of="c")
    a.raft.tick(BEAT)
    a.settle()
    told = {e.receiver: e.message.commit_index for e in a.took() if not isinstance(e.message, Append)}
    assert a.commit_index == 4 and told == {"b": 4, "c": 2}


def test_A7_divergent_entries_of_a_follower_are_not_committed_by_a_heartbeat():
    network = Network(node("a", log=[1, 1], term=2), node("b", log=[1, 1], term=2), node("c", log=[1, 2, 2], term=2))
    network.part("ab", "c")
    network.elect("a")
    network.propose()
    network.heal()
    a, c = network["a"], network["c"]
    a.raft.tick(BEAT)
    a.settle()
    for envelope in a.took():
        if envelope.receiver == "c" and not isinstance(envelope.message, Append):
            c.step(envelope)
    assert c.log == [1, 2, 2] and c.commit_index == 0


@pytest.mark.parametrize("conflict", [append((0, 0), [2]), append((1, 1), [2, 2]), append((1, 1), [1, 2])])
def test_A8_an_append_that_contradicts_a_committed_entry_stops_the_node(conflict):
    a = follower(log=[1, 1, 1, 1], commit=3)
    with pytest.raises(InvariantViolated, match="a committed entry is never dropped"):
        a.hears(conflict, of="c", term=2)
    assert [entry.term for entry in a.disk.entries] == [1, 1, 1, 1]


def test_A8_also_one_that_contradicts_it_in_the_entry_before():
    a = follower(log=[1, 2, 2], commit=3, term=2)
    with pytest.raises(InvariantViolated, match="a committed entry is never dropped"):
        a.hears(append((3, 1), [2]), of="c", term=4)
    assert len(a.disk.entries) == 3


@pytest.mark.parametrize(
    "late",
    [
        Accepted(match_index=3),
        Rejected(prev_index=3, conflict_term=0, conflict_index=1),
        HeartbeatReply(round=1),
        vote(True),
        vote(False),
        TimeoutNow(),
    ],
    ids=lambda message: type(message).__name__,
)
@pytest.mark.parametrize("make", [follower, candidate, leader])
def test_A9_a_late_reply_of_an_older_term_is_ignored(make, late):
    a = make(of="abc", log=[1, 1, 1], term=3)
    a.read()
    before = (a.role, a.term, a.commit_index, a.log, a.ready)
    assert a.hears(late, term=2) == []
    assert (a.role, a.term, a.commit_index, a.log, a.ready) == before


def test_A9_votes_of_an_earlier_candidacy_do_not_count():
    a = candidate(of="abc", term=1)
    while a.term == 2:
        a.time_out()
        a.hears(vote(True, pre=True), of="b", term=a.term + 1)
    assert (a.role, a.term) == (CANDIDATE, 3)
    a.hears(vote(True), of="b", term=2)
    assert a.role is CANDIDATE


def test_A9_an_acceptance_of_an_earlier_leadership_does_not_count():
    a = leader(of="abc", log=[1], term=1)  # leads term 2 with the entry (2, 2)
    a.hears(append((1, 1), [3]), of="c", term=3)
    a.time_out()
    a.hears(vote(True, pre=True), of="c", term=4)
    a.hears(vote(True), of="c")
    assert a.role is LEADER and a.log == [1, 3, 4]
    a.hears(Accepted(match_index=3), of="b", term=2)  # of another third entry: what b held in term 2
    assert a.commit_index == 0 and a.progress("b").match_index == 0


def test_A9_a_leader_that_leads_again_begins_without_what_it_knew_of_followers():
    a = leader(of="abc", log=[1])
    a.hears(Accepted(match_index=a.raft.log.last_index), of="b")
    a.hears(heartbeat(), of="c", term=a.term + 1)  # another led meanwhile, and may have cut b's log
    a.time_out()
    for pre in (True, False):
        a.hears(vote(True, pre=pre), of="b", term=a.term + pre)
    assert a.role is LEADER
    assert [progress.match_index for progress in a.raft.role.progress.values()] == [0, 0]


def test_A9_a_reply_that_names_more_than_the_log_holds_is_ignored():
    a = leader()
    for absurd in (Accepted(match_index=2), HeartbeatReply(round=99), vote(True)):
        a.hears(absurd)
    assert a.commit_index == 0 and a.progress("b").match_index == 0 and a.progress("b").acked_round == 0


def test_A9_an_older_acceptance_does_not_move_a_follower_back():
    a = leader(log=[1, 1, 1], term=1)
    a.hears(Accepted(match_index=4))
    a.hears(Accepted(match_index=2))
    assert (a.progress("b").match_index, a.progress("b").next_index) == (4, 5)


@pytest.mark.parametrize("seed", range(20))
def test_A12_messages_reordered_duplicated_and_late_change_nothing(seed):
    random = Random(seed)
    network = led("abc")
    archive: list[Envelope] = []
    for _ in range(10):
        network["a"].propose()
        archive += (sent := network["a"].took())
        network.wire += sent
        network.deliver()
    archive += [Envelope("b", "a", 1, Accepted(match_index=index)) for index in range(12)]
    before = (network.logs, [each.commit_index for each in network.nodes.values()])
    for _ in range(200):
        envelope = random.choice(archive)
        network[envelope.receiver].step(envelope)
    network.deliver()
    assert (network.logs, [each.commit_index for each in network.nodes.values()]) == before
    assert network.leaders == ["a"] and all(each.truncated == [] for each in network.nodes.values())


def test_A12_a_late_append_of_a_deposed_leader_changes_nothing():
    network = led("abc")
    network["a"].propose(b"late")
    late = network["a"].took()
    network.elect("b")
    network.tick(BEAT)
    before = network.logs
    for envelope in late:
        network[envelope.receiver].step(envelope)
    assert network.logs == before


@pytest.mark.parametrize("term", [NUMBER_MAX + 1, 2**63 - 1, 2**63, 2**64, 10**30, 0, -1])
@pytest.mark.parametrize("message", [heartbeat(), append((0, 0), [1]), vote_request((9, 1)), vote(False, pre=True)])
def test_A13_a_term_beyond_all_reason_is_refused(term, message):
    a = node(term=3)
    assert a.hears(message, term=term) == [] and a.term == 3


@pytest.mark.parametrize("index", [NUMBER_MAX + 1, 2**63, -1])
def test_A13_so_is_an_index(index):
    a = leader(log=[1, 1])
    before = (a.commit_index, a.progress("b").match_index, a.progress("b").next_index)
    a.hears(Accepted(match_index=index))
    a.hears(Rejected(prev_index=index, conflict_term=0, conflict_index=index))
    a.hears(HeartbeatReply(round=index))
    assert (a.commit_index, a.progress("b").match_index, a.progress("b").next_index) == before
    b = follower(log=[1, 1])
    for message in (append((index, 1), [1]), append((2, 1), commit=index), heartbeat(commit=index)):
        b.hears(message)
    assert b.commit_index == 0 and b.log == [1, 1]


def test_A13_a_huge_term_does_not_end_elections_for_ever():
    network = led("abc")
    network["b"].hears(heartbeat(), of="c", term=NUMBER_MAX)
    network.tick(20 * MAX)
    assert len(network.leaders) == 1


# -- B. Liveness -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_B1_a_dead_leader_is_followed_by_another_within_two_election_time_outs(seed):
    network = led("abcde", seed=seed * 10)
    network.crash("a")
    network.tick(4 * MAX)
    assert len(network.leaders) == 1


def test_B1_nearly_always_within_two():
    slow = 0
    for seed in range(100):
        network = led("abcde", seed=seed * 7)
        network.crash("a")
        network.tick(2 * MAX)
        slow += not network.leaders
    assert slow <= 5


@pytest.mark.parametrize("names", SIZES)
def test_B2_all_time_outs_at_once_still_end_with_one_leader(names):
    network = cluster(names)
    for each in network.nodes.values():
        each.raft.tick(MAX)
        each.settle()
    network.tick(20 * MAX)
    assert len(network.leaders) == 1


def test_B4_a_stranger_with_a_high_term_cannot_disturb_a_living_leader():
    network = led("abc")
    for name in "bc":
        assert network[name].hears(vote_request((99, 99)), of="z", term=99) == []
        network[name].hears(vote_request((99, 99), pre=True), of="z", term=99)
    network.tick(5 * MAX)
    assert network.leaders == ["a"] and network["a"].term == 1


def test_B7_a_leader_whose_disk_is_slow_gives_up_when_told():
    network = led("abc")
    network["a"].raft.step_down()
    assert network["a"].role is FOLLOWER and not network["a"].raft.may_propose
    network.tick(5 * MAX)
    assert len(network.leaders) == 1


def test_B7_no_more_heartbeats_leave_while_a_sync_is_under_way():
    network = led("abc")
    raft = network["a"].raft
    raft.propose(b"x")
    raft.take_effects()
    for door in (raft.tick, raft.take_effects):
        with pytest.raises(InvariantViolated):
            door()


def test_B11_a_follower_far_behind_catches_up_while_writes_go_on():
    network = led("abc", append_bytes_max=50, inflight_messages_max=2)
    network.crash("c")
    for _ in range(100):
        network.propose(b"x" * 20)
    network.restart("c")
    for _ in range(20):
        network.propose(b"y" * 20)
        network.tick(BEAT)
    assert network["c"].log == network["a"].log and network["c"].commit_index == network["a"].commit_index


@pytest.mark.parametrize("order", ["abc", "cba", "bca"])
def test_B14_a_cold_start_in_any_order_elects(order):
    network = led("abc")
    for name in "abc":
        network.crash(name)
    for name in order:
        network.restart(name)
        network.tick(MAX // 2)
    network.tick(5 * MAX)
    assert len(network.leaders) == 1


@pytest.mark.parametrize("dead", "ab")
def test_B15_two_nodes_one_down_make_no_progress_and_recover(dead):
    network = led("ab")
    network.crash(dead)
    other = "b" if dead == "a" else "a"
    network.tick(10 * MAX)
    assert network.leaders == [] and network[other].commit_index == 1 and not network[other].raft.may_propose
    network.restart(dead)
    network.tick(6 * MAX)
    assert len(network.leaders) == 1 and network.propose()


@pytest.mark.parametrize("names", SIZES[3::2])
def test_half_of_an_even_cluster_is_no_majority(names):
    network = led(names)
    half = len(names) // 2
    network.part(names[:half], names[half:])
    network["a"].propose()
    network.tick(10 * MAX)
    assert network.leaders == [] and {each.commit_index for each in network.nodes.values()} == {1}
    network.heal()
    network.tick(10 * MAX)
    assert len(network.leaders) == 1 and len({tuple(log) for log in network.logs}) == 1


@pytest.mark.parametrize("names", SIZES)
def test_every_size_survives_the_loss_of_the_most_it_can(names):
    network = led(names)
    for name in names[: (len(names) - 1) // 2]:
        network.crash(name)
    network.tick(10 * MAX)
    assert len(network.leaders) == 1
    index = network.propose(b"on")
    assert all(network[name].payloads[index - 1] == b"on" for name in network.up)


def test_B17_a_stall_of_one_heartbeat_is_no_evidence_against_the_leader():
    a = follower()
    a.tick(BEAT)
    a.hears(heartbeat())
    a.tick(BEAT)
    assert a.role is FOLLOWER and a.raft.hears_a_leader()


def test_a_pre_candidate_without_a_majority_stays_at_its_term_for_ever():
    a = node(of="abc", term=2)
    a.tick(100 * MAX)
    assert (a.role, a.term) == (PRE_CANDIDATE, 2)
