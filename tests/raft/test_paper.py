"""The Raft paper (extended version), sections 5.1 to 5.4, claim by claim. Each test ends with its section."""

from __future__ import annotations

import pytest

from conflux.raft.effects import Persist, Send
from conflux.raft.invariant import InvariantViolated
from conflux.raft.messages import (
    Accepted,
    Append,
    Envelope,
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
    append,
    candidate,
    cluster,
    entries,
    follower,
    heartbeat,
    leader,
    led,
    node,
    vote,
    vote_request,
)

STALE = [
    append((0, 0), [1]),
    heartbeat(commit=1),
    vote_request((9, 1)),
    vote(True),
    Accepted(match_index=1),
    Rejected(prev_index=1, conflict_term=0, conflict_index=1),
    HeartbeatReply(round=1),
    TimeoutNow(),
]


# -- 5.1 Raft basics ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", STALE, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("make", [follower, candidate, leader])
def test_a_message_of_a_past_term_is_rejected(make, message):
    a = make(log=[1, 1], term=3)
    before = (a.term, a.role, a.log, a.commit_index, a.raft.vote)
    answers = a.hears(message, of="c", term=2)
    assert (a.term, a.role, a.log, a.commit_index, a.raft.vote) == before
    assert not any(isinstance(answer, Accepted) or getattr(answer, "granted", False) for answer in answers)  # 5.1


@pytest.mark.parametrize("make", [follower, candidate, leader])
def test_whoever_sees_a_later_term_updates_its_own(make):
    a = make(term=3)
    a.hears(heartbeat(), term=9)
    assert a.term == a.disk.term == 9  # 5.1


@pytest.mark.parametrize("message", STALE, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("make", [candidate, leader])
def test_a_candidate_or_leader_that_sees_a_later_term_becomes_a_follower(make, message):
    a = make(term=1)
    a.raft.leader_silence = 99
    if make is leader and isinstance(message, VoteRequest):
        message = vote_request((9, 1), transfer=True)  # a living leader is left in peace by others: thesis 4.2.3
    a.hears(message, term=9)
    assert (a.role, a.term) == (FOLLOWER, 9)  # 5.1


@pytest.mark.parametrize("message", [append((0, 0), [1]), heartbeat(), vote_request()])
def test_the_sender_of_a_past_term_is_told_the_current_one(message):
    a = node(term=5)
    a.raft.step(Envelope("b", "a", 4, message))
    a.settle()
    assert [envelope.term for envelope in a.took()] == [5]  # 5.1


def test_terms_never_fall_and_outlive_a_crash():
    network = led("abc", term=6)
    network.crash("b")
    network.restart("b")
    assert network["b"].term == 7  # 5.1


# -- 5.2 Leader election -----------------------------------------------------------------------------------------


def test_servers_start_as_followers():
    assert node().role is FOLLOWER  # 5.2


def test_a_follower_stays_one_while_it_hears_its_leader():
    a = follower()
    for _ in range(100):
        a.tick(OPTIONS.election_ticks_min - 1)
        a.hears(heartbeat())
    assert (a.role, a.raft.leader, a.term) == (FOLLOWER, "b", 1)  # 5.2


def test_a_leader_sends_heartbeats_to_all_others_again_and_again():
    a = leader(of="abcd")
    for _ in range(3):
        a.raft.tick(OPTIONS.heartbeat_ticks)
        a.settle()
        sent = a.took()
        assert [envelope.receiver for envelope in sent] == ["b", "c", "d"]
        assert {type(envelope.message) for envelope in sent} == {Heartbeat}  # 5.2


def test_a_follower_that_hears_nothing_begins_an_election():
    a = node()
    a.tick(a.raft.election_timeout - 1)
    assert a.role is FOLLOWER
    messages = a.tick()
    assert a.role is PRE_CANDIDATE  # which section 9.6 of the thesis puts before the candidate
    assert {type(message) for message in messages} == {VoteRequest}  # 5.2


def test_a_candidate_increments_its_term_votes_for_itself_and_asks_all_voters():
    a = candidate(of="abcde", term=3, log=[1, 3])
    persists = [effect for effect in a.history if isinstance(effect, Persist)]
    asked = [effect.envelope for effect in a.history if isinstance(effect, Send)][-4:]
    assert (persists[-1].term, persists[-1].vote) == (4, "a")
    assert [(envelope.receiver, envelope.term) for envelope in asked] == [(voter, 4) for voter in "bcde"]
    assert {envelope.message for envelope in asked} == {vote_request((2, 3))}  # 5.2


@pytest.mark.parametrize("names", ["ab", "abc", "abcd", "abcde", "abcdef", "abcdefg", "abcdefgh", "abcdefghi"])
def test_a_candidate_wins_with_the_votes_of_a_majority_and_not_before(names):
    a = candidate(of=names)
    for votes, voter in enumerate(names[1:], 2):
        a.hears(vote(True), of=voter)
        assert (a.role is LEADER) == (votes > len(names) / 2)  # 5.2


def test_a_vote_counts_once_however_often_it_arrives():
    a = candidate(of="abcde")
    for _ in range(5):
        a.hears(vote(True), of="b")
    assert a.role is CANDIDATE  # 5.2


def test_refusals_are_no_votes():
    a = candidate(of="abc")
    a.hears(vote(False), of="b")
    a.hears(vote(False), of="c")
    assert a.role is CANDIDATE  # 5.2


def test_a_server_votes_for_one_candidate_a_term_first_come_first_served():
    a = node()
    assert a.hears(vote_request(), of="b", term=1) == [vote(True)]
    assert a.hears(vote_request(), of="c", term=1) == [vote(False)]
    assert a.hears(vote_request(), of="b", term=1) == [vote(True)]  # 5.2


def test_a_candidate_has_no_vote_left_for_another():
    a = candidate(term=2)
    assert a.hears(vote_request((9, 2)), of="b") == [vote(False)]  # 5.2


def test_in_a_later_term_a_server_has_a_vote_again():
    a = node(term=3, vote="b")
    assert a.hears(vote_request(), of="c", term=4) == [vote(True)]  # 5.2


def test_the_vote_is_on_disk_before_the_reply_leaves():
    a = node()
    a.raft.step(Envelope("b", "a", 1, vote_request()))
    effects = a.raft.take_effects()
    persist, reply = effects[0], effects[1]
    assert isinstance(persist, Persist) and (persist.term, persist.vote) == (1, "b")
    assert isinstance(reply, Send) and reply.envelope.message == vote(True)  # 5.2, figure 2 "updated before responding"


def test_at_most_one_candidate_wins_a_term():
    network = cluster("abc")
    for name in "ab":
        network[name].hears(vote(True, pre=True), of="c", term=network[name].term + 1)
        network[name].raft.tick(network[name].raft.election_timeout)
        network[name].settle()
    network.deliver()
    assert len(network.leaders) == 1 and {each.term for each in network.nodes.values()} == {1}  # 5.2, election safety


def test_a_new_leader_sends_heartbeats_at_once():
    a = candidate()
    messages = a.hears(vote(True))
    assert messages[:2] == [heartbeat(), heartbeat()]  # 5.2, to prevent new elections


def test_a_candidate_that_hears_the_leader_of_its_term_follows_it():
    a = candidate(term=2)
    a.hears(heartbeat(), of="c", term=3)
    assert (a.role, a.raft.leader, a.term) == (FOLLOWER, "c", 3)  # 5.2


def test_a_candidate_rejects_a_leader_of_an_earlier_term_and_goes_on():
    a = candidate(term=2)
    a.hears(append((0, 0), [1]), of="c", term=2)
    assert (a.role, a.term, a.log) == (CANDIDATE, 3, [])  # 5.2


def test_a_split_vote_ends_with_a_new_election_in_a_later_term():
    network = cluster("abcd")
    for name in "ab":
        network[name].raft.tick(network[name].raft.election_timeout)
        network[name].settle()
    network.deliver(hold=lambda envelope: {envelope.sender, envelope.receiver} in ({"a", "d"}, {"b", "c"}), rounds=4)
    network.lose_all()
    assert network.leaders == []
    network.held.clear()
    network.tick(10 * OPTIONS.election_ticks_max)
    assert len(network.leaders) == 1  # 5.2


def test_a_candidate_waits_a_time_out_before_it_tries_again():
    a = candidate()
    a.tick(a.raft.election_timeout - 1)
    assert a.role is CANDIDATE and a.term == 1
    a.time_out()
    assert a.role is PRE_CANDIDATE  # 5.2


def test_election_time_outs_are_drawn_from_the_whole_interval():
    a = node()
    drawn = set()
    for _ in range(1000):
        a.raft.draw_election_timeout()
        drawn.add(a.raft.election_timeout)
    assert drawn == set(range(OPTIONS.election_ticks_min, OPTIONS.election_ticks_max + 1))  # 5.2


def test_each_election_draws_its_time_out_anew():
    a = node(of="abc")
    drawn = []
    for _ in range(50):
        a.time_out()
        drawn.append(a.raft.election_timeout)
    assert len(set(drawn)) > 5  # 5.2


def test_most_lonely_timers_fire_apart():
    ends = [node(name, of="abcde", seed=seed).raft.election_timeout for seed in range(100) for name in "abcde"]
    groups = [ends[start : start + 5] for start in range(0, 500, 5)]
    assert sum(group.count(min(group)) == 1 for group in groups) > 60  # 5.2


# -- 5.3 Log replication -----------------------------------------------------------------------------------------


def test_a_leader_appends_a_proposal_to_its_log_and_hands_it_to_all_others_at_once():
    network = led("abc")
    a = network["a"]
    index = a.propose(b"hello")
    sent = {envelope.receiver: envelope.message for envelope in a.took()}
    assert a.log == [1, 1] and index == 2
    assert sent.keys() == {"b", "c"}
    assert all(isinstance(each, Append) and each.entries[0].payload == b"hello" for each in sent.values())  # 5.3


def test_an_entry_is_committed_once_a_majority_holds_it():
    a = leader(of="abcde", log=[1])
    a.hears(Accepted(match_index=2), of="b")
    assert a.commit_index == 0
    a.hears(Accepted(match_index=2), of="c")
    assert a.commit_index == 2 and [entry.index for entry in a.committed] == [1, 2]  # 5.3


@pytest.mark.parametrize("names", ["ab", "abc", "abcd", "abcde", "abcdef", "abcdefgh", "abcdefghi"])
def test_no_entry_is_committed_by_less_than_a_majority(names):
    a = leader(of=names)
    for holders, peer in enumerate(names[1:], 2):
        a.hears(Accepted(match_index=1), of=peer)
        assert (a.commit_index == 1) == (holders > len(names) / 2)  # 5.3


def test_a_cluster_of_one_elects_itself_and_commits_alone():
    network = cluster("a")
    network.tick(OPTIONS.election_ticks_max)
    assert network.leaders == ["a"] and network["a"].commit_index == 1
    assert network.propose() == 2 and network["a"].commit_index == 2  # 5.2, 5.3


def test_a_commit_commits_all_entries_before_it_also_those_of_earlier_leaders():
    a = leader(log=[1, 1, 2], term=3)
    a.hears(Accepted(match_index=4))
    assert a.commit_index == 4 and [entry.term for entry in a.committed] == [1, 1, 2, 4]  # 5.3


def test_committed_entries_are_applied_in_log_order_by_every_server():
    network = led("abc")
    for payload in (b"1", b"2", b"3"):
        network.propose(payload)
    applied = [[entry.payload for entry in each.committed] for each in network.nodes.values()]
    assert applied == [[b"no-op", b"1", b"2", b"3"]] * 3  # 5.3


def test_the_leader_names_its_commit_index_in_what_it_sends():
    network = led("abc")
    a = network["a"]
    a.propose()
    assert {message.commit_index for message in a.said() if isinstance(message, Append)} == {1}  # 5.3


def test_a_follower_that_learns_of_a_commit_applies_it():
    a = follower(log=[1, 1, 1])
    a.hears(append((3, 1), [1], commit=3))
    assert [entry.index for entry in a.committed] == [1, 2, 3] and a.commit_index == 3  # 5.3


def test_the_leader_tries_again_until_a_follower_that_was_down_holds_all_entries():
    network = led("abc")
    network.crash("c")
    for _ in range(5):
        network.propose()
    network.beat()
    assert network["a"].commit_index == 6  # although c is down
    network.restart("c")
    network.tick(3 * OPTIONS.heartbeat_ticks)
    assert network["c"].log == network["a"].log and network["c"].commit_index == 6  # 5.3


def test_an_append_names_the_entry_before_its_first():
    network = led("abc")
    a = network["a"]
    a.propose()
    a.propose()
    appends = [message for message in a.said() if isinstance(message, Append)]
    assert [(each.prev_index, each.prev_term) for each in appends] == [(1, 1), (1, 1), (2, 1), (2, 1)]  # 5.3


@pytest.mark.parametrize(
    ("after", "hint"),
    [
        ((4, 3), Rejected(prev_index=4, conflict_term=0, conflict_index=4)),  # no such entry
        ((3, 3), Rejected(prev_index=3, conflict_term=2, conflict_index=2)),  # one of another term
    ],
)
def test_a_follower_refuses_entries_where_the_logs_do_not_agree_before_them(after, hint):
    a = follower(log=[1, 2, 2], term=3)
    assert a.hears(append(after, [3])) == [hint]
    assert a.log == [1, 2, 2] and a.truncated == []  # 5.3, consistency check


def test_a_follower_takes_entries_where_the_logs_agree_and_answers_once_they_are_on_disk():
    a = follower(log=[1, 2], term=3)
    assert a.hears(append((2, 2), [3, 3])) == [Accepted(match_index=4)]
    persist, answer = a.history[-2:]
    assert isinstance(persist, Persist) and persist.entries == entries([3, 3], 3)
    assert isinstance(answer, Send) and answer.envelope.message == Accepted(match_index=4)
    assert a.log == [1, 2, 3, 3]  # 5.3


def test_the_consistency_check_holds_at_the_logs_beginning():
    a = follower(log=[])
    assert a.hears(append((0, 0), [1])) == [Accepted(match_index=1)]  # 5.3


def test_a_follower_drops_its_entries_that_conflict_with_the_leaders_and_all_behind_them():
    a = follower(log=[1, 2, 2, 2], term=3)
    assert a.hears(append((1, 1), [3])) == [Accepted(match_index=2)]
    assert a.log == [1, 3] and a.truncated == [2] and a.payloads == [b"1@1", b"2@3"]  # 5.3


def test_logs_with_the_same_entry_are_the_same_up_to_it():
    network = led("abc")
    network.part("a", "bc")
    for _ in range(3):
        network["a"].propose(b"lost")
    network.elect("b")
    network["b"].propose(b"kept")
    network.deliver()
    network.heal()
    network.tick(3 * OPTIONS.heartbeat_ticks)
    assert network["a"].payloads == network["b"].payloads == network["c"].payloads  # 5.3, log matching
    assert b"lost" not in network["a"].payloads


FIGURE_7 = {
    "b": [1, 1, 1, 4, 4, 5, 5, 6, 6],  # (a) lacks an entry
    "c": [1, 1, 1, 4],  # (b) lacks many
    "d": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],  # (c) has one too many
    "e": [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],  # (d) has two of a later term
    "f": [1, 1, 1, 4, 4, 4, 4],  # (e) lacks some and has some too many
    "g": [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],  # (f) led twice, and nobody noticed
}
FIGURE_7_LEADER = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]


@pytest.mark.parametrize("which", FIGURE_7)
def test_each_follower_of_figure_7_converges(which):
    a = leader(log=FIGURE_7_LEADER, of=["a", "v", which], term=7)  # v votes and is then silent
    network = Network(a, node(which, of=["a", "v", which], log=FIGURE_7[which], term=7))
    network.beat()
    network.beat()
    assert network[which].log == [*FIGURE_7_LEADER, 8] and a.commit_index == 11  # 5.3, figure 7


def test_all_followers_of_figure_7_converge_together():
    others = [node(name, of="abcdefg", log=log, term=7) for name, log in FIGURE_7.items()]
    network = Network(node("a", of="abcdefg", log=FIGURE_7_LEADER, term=7), *others)
    network.elect("a")
    network.beat()
    assert network.logs == [[*FIGURE_7_LEADER, 8]] * 7
    assert {each.commit_index for each in network.nodes.values()} == {11}  # 5.3, figure 7


def test_a_new_leader_looks_for_agreement_from_its_logs_end():
    a = leader(log=[1, 1, 1])
    assert [a.progress(peer).next_index for peer in "bc"] == [4, 4]  # 5.3, nextIndex


def test_a_rejection_makes_the_leader_look_further_back():
    a = leader(log=[1, 1, 1, 1], term=2)
    (probe,) = a.hears(Rejected(prev_index=4, conflict_term=0, conflict_index=4))
    assert isinstance(probe, Append) and (probe.prev_index, probe.prev_term) == (3, 1)  # 5.3


def test_a_conflicting_term_is_skipped_in_one_round_trip():
    a = leader(log=[1, 1, 4, 4, 5, 5], term=5)
    (probe,) = a.hears(Rejected(prev_index=6, conflict_term=2, conflict_index=3))
    assert isinstance(probe, Append) and probe.prev_index == 2  # 5.3, end: none of term 2 here
    (probe,) = a.hears(Rejected(prev_index=2, conflict_term=0, conflict_index=1))
    assert isinstance(probe, Append) and probe.prev_index == 0


def test_the_back_up_needs_no_more_round_trips_than_there_are_conflicting_terms():
    ours, theirs = [1] + [5] * 40, [1] + [2] * 10 + [3] * 10 + [4] * 20
    a, b = leader(log=ours, term=6), node("b", log=theirs, term=6)
    network = Network(a, b)
    network.beat()
    refusals = [effect for effect in b.history if isinstance(effect, Send)]
    refusals = [effect for effect in refusals if isinstance(effect.envelope.message, Rejected)]
    assert b.log == a.log and 1 <= len(refusals) <= 4  # 5.3, end


def test_a_probe_answered_late_does_not_move_the_leader_back():
    a = leader(log=[1, 1, 1, 1])
    a.hears(Accepted(match_index=5))
    before = a.progress("b").next_index
    assert a.hears(Rejected(prev_index=3, conflict_term=0, conflict_index=1)) == []
    assert a.progress("b").next_index == before  # 5.3


def test_a_rejection_of_an_older_probe_does_not_move_the_leader_back():
    a = leader(log=[1, 1, 1, 1])
    before = a.progress("b").next_index
    assert a.hears(Rejected(prev_index=2, conflict_term=0, conflict_index=1)) == []
    assert a.progress("b").next_index == before  # 5.3


def test_a_leader_never_overwrites_or_deletes_entries_of_its_own_log():
    a = leader(log=[1, 1, 1], term=3)
    for message in (append((0, 0), [2, 2]), append((0, 0), [4, 4], commit=2), heartbeat(commit=3)):
        assert a.hears(message) == []
    assert a.log == [1, 1, 1, 4] and a.role is LEADER  # 5.3, leader append-only


# -- 5.4 Safety --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "granted"),
    [
        ((3, 2), True),  # as up to date
        ((4, 2), True),  # longer
        ((1, 3), True),  # shorter, of a later term
        ((2, 2), False),  # shorter
        ((9, 1), False),  # longer, of an earlier term
        ((0, 0), False),
    ],
)
@pytest.mark.parametrize("pre", [False, True], ids=["vote", "pre-vote"])
def test_a_voter_refuses_a_candidate_whose_log_is_less_up_to_date(last, granted, pre):
    a = node(log=[1, 1, 2], term=3)
    assert a.hears(vote_request(last, pre=pre), term=4) == [vote(granted, pre=pre)]  # 5.4.1


def test_only_a_candidate_with_all_committed_entries_wins():
    network = led("abc")
    network.isolate("c")
    network.propose(b"committed")
    network.crash("a")
    network.heal()
    network.tick(10 * OPTIONS.election_ticks_max)
    assert network.leaders == ["b"]
    assert b"committed" in network["c"].payloads  # 5.4.1, leader completeness


def figure_8(until: str) -> Network:
    """Figure 8 from (a) on; each entry beyond the first is the no-op of its term, and Appends carry one entry."""

    def appends_beyond(*names: str):
        return lambda envelope: isinstance(envelope.message, Append) and envelope.receiver not in names

    network = led("abcde", append_bytes_max=1)
    network["a"].raft.step_down()
    network.elect("a", hold=appends_beyond("b"))  # (a) a leads term 2 and brings its entry to b alone
    network.held.clear()
    network.crash("a")
    network.elect("e", hold=appends_beyond())  # (b) e leads term 3 by the votes of c and d, and brings it to nobody
    network.held.clear()
    network.crash("e")
    network.restart("a")

    def would_bring_the_entry_of_term_4(envelope):
        message = envelope.message
        if not isinstance(message, Append) or not message.entries:
            return False
        fits = message.prev_index == 2 and network[envelope.receiver].log == [1, 2]
        return fits or envelope.receiver == "d"

    network.elect("a", hold=would_bring_the_entry_of_term_4)  # (c) a leads term 4 and brings its *old* entry to c
    network.wire.append(Envelope("a", "b", 4, append((2, 2))))  # a bare probe: a learns that b holds it, too
    network.deliver(hold=would_bring_the_entry_of_term_4)
    assert [network["a"].progress(peer).match_index for peer in "bcd"] == [2, 2, 0]
    if until == "e":
        network.heal()
        network.deliver()  # (e) its new entry gets through, too
    network.held.clear()
    network.crash("a")
    network.restart("e")
    return network


def test_figure_8_an_entry_of_an_earlier_term_is_not_committed_by_counting():
    a = leader(of="abcde", log=[1, 2], term=3)
    a.hears(Accepted(match_index=2), of="b")
    a.hears(Accepted(match_index=2), of="c")
    assert a.commit_index == 0 and a.committed == []  # 5.4.2, figure 8 (c)


def test_figure_8_an_entry_that_was_only_counted_is_not_committed_and_may_be_overwritten():
    network = figure_8(until="c")
    assert [network[name].log for name in "abcde"] == [[1, 2, 4], [1, 2], [1, 2], [1], [1, 3]]
    assert {network[name].commit_index for name in "abcd"} == {1}
    network.elect("e")  # (d) by the votes of b, c and d: its last term is 3
    network.beat()
    assert [network[name].log for name in "bcde"] == [[1, 3, 5]] * 4
    network.restart("a")
    network.tick(3 * OPTIONS.heartbeat_ticks)
    assert network["a"].log == [1, 3, 5]  # 5.4.2, figure 8 (d)


def test_figure_8_an_entry_of_the_current_term_commits_all_before_it_for_good():
    network = figure_8(until="e")
    assert [network[name].log for name in "abc"] == [[1, 2, 4]] * 3 and network["a"].commit_index == 3
    for _ in range(3):
        network.campaign("e")
        assert network["e"].role is not LEADER  # its last term is 3, b's and c's is 4
    network.tick(10 * OPTIONS.election_ticks_max)
    assert network.leaders and all(network[name].log[:3] == [1, 2, 4] for name in "bcde")  # 5.4.2, figure 8 (e)


def test_a_committed_entry_is_in_the_log_of_every_later_leader():
    network = led("abcde")
    network.part("abc", "de")
    index = network.propose(b"kept")
    network.crash("a")
    network.heal()
    for _ in range(3):
        network.tick(5 * OPTIONS.election_ticks_max)
        (name,) = network.leaders
        assert network[name].payloads[index - 1] == b"kept"
        network.isolate(name)
        network.tick(5 * OPTIONS.election_ticks_max, only=[each for each in "bcde" if each != name])
        network.heal()
        network.tick(OPTIONS.heartbeat_ticks * 3)  # 5.4.3


def test_a_conflict_with_a_committed_entry_stops_the_node():
    a = follower(log=[1, 1, 1], commit=2, term=1)
    with pytest.raises(InvariantViolated, match="a committed entry is never dropped"):
        a.hears(append((1, 1), [2]), term=2)  # 5.4.3, state machine safety


# -- 5.5 Follower and candidate crashes ---------------------------------------------------------------------------


def test_requests_that_arrive_twice_do_no_harm():
    a = follower(log=[1, 1])
    message = append((2, 1), [1, 1], commit=3)
    assert a.hears(message) == a.hears(message) == [Accepted(match_index=4)]
    assert a.log == [1, 1, 1, 1] and [entry.index for entry in a.committed] == [1, 2, 3]  # 5.5


def test_a_follower_that_died_after_its_sync_and_before_its_answer_takes_the_entries_again():
    a = follower(log=[1, 1])
    a.hears(append((2, 1), [1]))
    a.start()
    assert a.hears(append((2, 1), [1])) == [Accepted(match_index=3)]
    assert a.log == [1, 1, 1]  # 5.5
