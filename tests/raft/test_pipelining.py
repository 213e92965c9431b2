"""Chapter 10 of the thesis: the leader writes in parallel, sends ahead of the answers, and sends again what was lost.

Each test ends with its section.
"""

from __future__ import annotations

from conflux.raft.effects import Commit, Persist, Send
from conflux.raft.messages import (
    Accepted,
    Append,
    Envelope,
)
from conflux.raft.progress import Mode
from tests.raft.harness import (
    CANDIDATE,
    LEADER,
    OPTIONS,
    Network,
    follower,
    leader,
    led,
    node,
    vote,
)

MIN, MAX, BEAT = OPTIONS.election_ticks_min, OPTIONS.election_ticks_max, OPTIONS.heartbeat_ticks


# -- the leader writes while its followers do (10.2.1) ---------------------------------------------------------------


def test_a_leaders_appends_leave_before_its_own_sync_and_its_vote_counts_after_it():
    network = led("abc")
    raft = network["a"].raft
    raft.propose(b"x")
    kinds = [type(effect) for effect in raft.take_effects()]
    assert kinds == [Send, Send, Persist]  # 10.2.1


def test_A10_a_leader_counts_itself_only_after_its_sync():
    network = led("abcd")
    network.isolate("d")
    a = network["a"]
    a.raft.propose(b"x")
    effects = a.raft.take_effects()
    assert a.raft.log.last_index == 2 and a.raft.log.stable_index == 1
    for effect in effects:
        a.carry_out(effect)
    a.hears(Accepted(match_index=2), of="b")
    assert a.commit_index == 1  # two of four
    a.hears(Accepted(match_index=2), of="c")
    assert a.commit_index == 2  # 10.2.1


def test_A11_a_cluster_of_one_acknowledges_nothing_before_its_own_sync():
    network = led("a")
    raft = network["a"].raft
    raft.propose(b"x")
    effects = raft.take_effects()
    assert [type(effect) for effect in effects] == [Persist] and raft.commit_index == 1
    network["a"].carry_out(effects[0])
    assert raft.take_effects() == [Commit(2, 2)]  # 10.2.1


def test_A11_nor_does_it_tell_a_learner():
    a = node(of="a", learners="x")
    a.time_out()
    a.hears(Accepted(match_index=1), of="x")
    a.raft.propose(b"x")
    sends = [effect.envelope.message for effect in a.raft.take_effects() if isinstance(effect, Send)]
    assert [message.commit_index for message in sends] == [1]  # 10.2.1


def test_a_majority_without_the_leader_commits_and_survives_its_death_before_the_sync():
    network = led("abc")
    a = network["a"]
    a.raft.propose(b"kept by b and c")
    a.die_before_the_sync()
    network.deliver()
    assert a.log == [1] and network["b"].log == [1, 1]
    network.tick(6 * MAX)
    assert len(network.leaders) == 1
    assert all(each.payloads[1] == b"kept by b and c" for each in network.nodes.values())  # 10.2.1


def test_a_candidate_asks_for_votes_only_after_its_term_and_vote_are_on_disk():
    a = node(of="ab")
    a.raft.tick(a.raft.election_timeout)
    a.settle()
    a.raft.step(Envelope("b", "a", 1, vote(True, pre=True)))
    kinds = [type(effect) for effect in a.raft.take_effects()]
    assert kinds[:2] == [Persist, Send] and a.role is CANDIDATE  # 10.2.1


def test_a_candidate_counts_its_own_vote_only_after_the_sync():
    a = node(of="a")
    a.raft.tick(a.raft.election_timeout)
    effects = a.raft.take_effects()
    assert a.role is CANDIDATE
    for effect in effects:
        a.carry_out(effect)
    assert a.role is LEADER  # 10.2.1


# -- pipelining (10.2) and its limits --------------------------------------------------------------------------------


def filled(**options: int):
    """A leader with b in REPLICATE mode and nothing on the way."""
    a = leader(of="abc", **options)
    a.hears(Accepted(match_index=1), of="b")
    a.said()
    return a


def to_b(a) -> list[Append]:
    return [e.message for e in a.took() if e.receiver == "b" and isinstance(e.message, Append)]


def test_a_leader_sends_ahead_of_the_answers():
    a = filled()
    for _ in range(5):
        a.propose()
    assert [message.prev_index for message in to_b(a)] == [1, 2, 3, 4, 5]  # 10.2


def test_no_more_messages_are_on_the_way_than_allowed():
    a = filled(inflight_messages_max=3)
    for _ in range(10):
        a.propose()
    assert len(to_b(a)) == 3
    a.raft.step(Envelope("b", "a", 1, Accepted(match_index=2)))
    a.settle()
    (message,) = to_b(a)
    assert message.prev_index == 4 and len(message.entries) == 7  # all that waits, in one


def test_no_more_bytes_are_on_the_way_than_allowed():
    a = filled(inflight_bytes_max=100, append_bytes_max=40)
    for _ in range(10):
        a.propose(b"x" * 40)
    assert len(to_b(a)) == 3 and a.progress("b").inflight_bytes == 120  # the last one may pass the limit
    a.hears(Accepted(match_index=4))
    assert a.progress("b").inflight_bytes == 120 and a.progress("b").next_index == 8  # 10.2


def test_a_probe_is_alone_on_its_way():
    a = leader(of="abc")
    for _ in range(5):
        a.propose()
    assert to_b(a) == []
    assert a.progress("b").mode is Mode.PROBE  # the first left with the no-op


def test_an_append_holds_no_more_bytes_than_allowed():
    network = led("abc", append_bytes_max=50)
    network.crash("c")
    for _ in range(10):
        network.propose(b"x" * 20)
    network.restart("c")
    network.tick(5 * BEAT)
    appends = [each.envelope.message for each in network["a"].history if isinstance(each, Send)]
    sizes = [sum(len(e.payload) for e in each.entries) for each in appends if isinstance(each, Append)]
    assert max(sizes) <= 50 and network["c"].log == network["a"].log  # 10.2


def test_B12_an_entry_larger_than_an_append_is_sent_alone():
    network = led("abc", append_bytes_max=10, inflight_bytes_max=10)
    for payload in (b"small", b"x" * 1000, b"small"):
        network.propose(payload)
    assert network["c"].log == [1] * 4 and network["a"].commit_index == 4


def test_B12_also_to_a_follower_that_lags_behind_the_cache():
    network = led("abc", append_bytes_max=10, inflight_bytes_max=10, tail_cache_bytes_max=1)
    network.crash("c")
    for payload in (b"small", b"x" * 1000, b"small", b"y" * 500):
        network.propose(payload)
    network.restart("c")
    network.tick(5 * BEAT)
    assert network["c"].payloads == network["a"].payloads and network["c"].commit_index == 5


def test_B13_a_slow_follower_does_not_slow_the_majority():
    network = led("abc", inflight_messages_max=2, inflight_bytes_max=20)
    for _ in range(50):
        network["a"].propose(b"x" * 10)
        network.deliver(hold=lambda envelope: envelope.receiver == "c")
    assert network["a"].commit_index == 51 and len(network.held) <= 2 + 50  # appends are bounded, commits told
    assert sum(isinstance(envelope.message, Append) for envelope in network.held) <= 2


def test_a_leader_takes_no_more_uncommitted_entries_than_allowed():
    a = leader(of="abc", uncommitted_entries_max=3)
    a.propose()
    a.propose()
    assert not a.raft.may_propose
    a.hears(Accepted(match_index=1))
    assert a.raft.may_propose


def test_a_leader_takes_no_more_uncommitted_bytes_than_allowed():
    a = leader(of="abc", uncommitted_bytes_max=100)
    a.propose(b"x" * 94)
    assert a.raft.may_propose
    a.propose(b"x")
    assert not a.raft.may_propose
    a.hears(Accepted(match_index=3))
    assert a.raft.may_propose and a.leadership.uncommitted_bytes == 0


def lagging_by_one() -> Network:
    """c is down, and an Append from a to b was lost."""
    network = led("abc", election_ticks_min=50, election_ticks_max=90)
    network.crash("c")
    network["a"].propose()
    network.lose_all()
    return network


def test_an_append_that_was_lost_is_sent_again_after_the_next_heartbeat():
    network = lagging_by_one()
    network.beat()
    assert network["a"].commit_index == 2  # 10.2.2


def far_apart(network: Network, rounds: int, each_round) -> None:
    """Let messages between a and b take as long as two rounds of heartbeats."""
    a, b = network["a"], network["b"]
    to_b, to_a = [[], []], [[], []]
    for _ in range(rounds):
        each_round(a)
        to_b.append(a.took())
        to_a.append(b.took())
        for envelope in to_b.pop(0):
            if envelope.receiver == "b":
                b.step(envelope)
        for envelope in to_a.pop(0):
            a.step(envelope)


def test_a_lost_append_is_sent_again_also_where_the_way_is_longer_than_a_heartbeats_pause():
    network = lagging_by_one()
    far_apart(network, 20, lambda a: (a.raft.tick(BEAT), a.settle()))
    assert network["a"].role is LEADER and network["a"].commit_index == 2  # 10.2.2


def test_a_lost_append_is_sent_again_also_under_a_stream_of_reads():
    network = lagging_by_one()
    far_apart(network, 50, lambda a: (a.raft.read_index(1), a.settle()))
    assert network["a"].commit_index == 2  # 10.2.2


def test_an_append_that_is_on_its_way_is_not_sent_twice():
    network = led("abc")
    network.propose()
    network.tick(MIN, only="a")
    sent = [each.envelope.message for each in network["a"].history if isinstance(each, Send)]
    assert sum(isinstance(message, Append) for message in sent) == 4  # the no-op and the proposal, to two each


def test_followers_learn_of_the_last_commit_without_waiting_for_a_heartbeat():
    network = led("abc")
    network.propose()
    assert {each.commit_index for each in network.nodes.values()} == {2}


def test_a_leader_says_from_where_on_its_followers_know_less_than_they_could():
    a = leader()
    assert a.raft.commit_owed_from is None, "nothing is committed, and none of it owed"
    a.hears(Accepted(match_index=1), of="b")
    assert a.raft.commit_owed_from == 0, "b does not know of the no-op; c can't have it"
    a.hears(Accepted(match_index=1), of="c")
    index = a.propose()
    assert a.raft.commit_owed_from is None, "the entry's Append carries it"
    a.hears(Accepted(match_index=index), of="b")
    assert a.raft.commit_owed_from == 1
    a.raft.announce_commit()
    a.settle()
    assert a.raft.commit_owed_from is None
    assert follower().raft.commit_owed_from is None
