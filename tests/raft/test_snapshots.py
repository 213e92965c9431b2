"""Snapshots, as far as the core goes: section 7 of the paper, and failure cases H2 to H6."""

from __future__ import annotations

import pytest

from conflux.raft.configuration import Configuration
from conflux.raft.invariant import InvariantViolated
from conflux.raft.messages import Accepted, Append, Heartbeat, Rejected, SnapshotOffer
from tests.raft.harness import LEADER, Network, Snapshot, append, follower, leader, led

ABC = Configuration.of("abc")


def behind(entries: int = 5) -> Network:
    """A cluster whose follower c was away while entries came and were cut."""
    network = led("abc")
    network.isolate("c")
    for _ in range(entries):
        network.propose()
    network["a"].take_snapshot()
    network["a"].compact()
    network.heal()
    network.beat()
    network.deliver()
    network.beat()
    network.deliver()
    return network


def test_a_log_that_was_cut_goes_on():
    network = led("abc")
    network.propose()
    network["a"].take_snapshot()
    network["a"].compact()
    index = network.propose()
    assert network["a"].raft.log.first_index == index
    assert all(network[name].commit_index == index for name in "abc")


def test_H4_a_log_emptied_to_its_tip_is_matched_at_the_snapshots_end():
    network = led("abc")
    index = network.propose()
    for name in "abc":
        network[name].take_snapshot()
        network[name].compact()
    network.elect("b")
    assert network.leaders == ["b"]
    assert network["c"].commit_index == index + 1


def test_who_needs_what_is_gone_is_offered_a_snapshot():
    network = behind()
    newest = network["a"].disk.newest
    assert [(each.leader, each.index, each.term) for each in network["c"].offered][-1] == ("a", newest.index, 1)


def test_an_offer_is_repeated_until_it_is_taken():
    network = behind()
    seen = len(network["c"].offered)
    network.beat()
    network.deliver()
    network.beat()
    network.deliver()
    assert len(network["c"].offered) > seen  # H6: nothing is lost for good


def test_while_it_is_offered_no_entries_are_sent():
    network = behind()
    network["a"].took()
    network["a"].propose()
    to_c = [each.message for each in network["a"].took() if each.receiver == "c"]
    assert not any(isinstance(message, Append) for message in to_c)


def test_a_follower_goes_on_behind_the_snapshot():
    network = behind()
    network.propose()
    network["c"].install(network["a"].disk.newest)
    network.beat()
    network.deliver()
    network.beat()
    network.deliver()
    assert network["c"].raft.log.last_index == network["a"].raft.log.last_index
    assert network["c"].commit_index == network["a"].commit_index


def test_installing_answers_the_leader_like_entries():
    c = follower("c", leader="a")
    assert c.install(Snapshot(7, 1, ABC)) == [Accepted(match_index=7)]
    assert (c.commit_index, c.raft.applied_index, c.raft.log.last_index) == (7, 7, 7)


def test_a_snapshot_that_is_installed_once_its_leader_is_gone_is_answered_to_nobody():
    c = follower("c", leader="a")
    c.hears(SnapshotOffer(index=7, term=1), of="a")
    c.time_out()
    assert c.install(Snapshot(7, 1, ABC)) == []
    assert (c.commit_index, c.raft.log.last_index) == (7, 7)


def test_a_leader_fetches_no_snapshot_that_another_offers_in_its_term():
    a = leader("a", log=(1, 1))
    assert a.hears(SnapshotOffer(index=9, term=1), of="b") == []
    assert (a.role, a.offered) == (LEADER, [])


def test_H2_a_stale_snapshot_is_answered_with_what_is_committed():
    c = follower("c", leader="a", log=(1, 1, 1), commit=3)
    assert c.hears(SnapshotOffer(index=2, term=1), of="a") == [Accepted(match_index=3)]
    assert c.offered == []


def test_H2_a_stale_snapshot_is_never_installed():
    c = follower("c", leader="a", log=(1, 1, 1), commit=3)
    with pytest.raises(InvariantViolated):
        c.raft.install_snapshot(3, 1, ABC)


def test_H3_what_follows_the_snapshot_in_the_log_stays():
    c = follower("c", leader="a", log=(1, 1, 1, 1), commit=1)
    c.install(Snapshot(3, 1, ABC))
    assert (c.raft.log.first_index, c.raft.log.last_index) == (4, 4)


def test_H3_a_log_that_conflicts_with_the_snapshot_gives_way():
    c = follower("c", leader="a", log=(1, 1, 1, 1), commit=1, term=2)
    c.install(Snapshot(3, 2, ABC))
    assert (c.raft.log.first_index, c.raft.log.last_index, c.raft.log.snapshot_term) == (4, 3, 2)


def test_H5_a_restart_begins_behind_the_snapshot():
    network = led("abc")
    index = network.propose()
    network["b"].take_snapshot()
    network["b"].compact()
    network.restart("b")
    b = network["b"].raft
    assert (b.commit_index, b.applied_index, b.log.first_index) == (index, index, index + 1)


def test_a_snapshot_newer_than_the_logs_beginning_is_applied_at_a_restart():
    network = led("abc")
    first = network.propose()
    old = network["b"].take_snapshot()
    network["b"].compact()
    last = network.propose()
    network["b"].take_snapshot()
    network.restart("b")
    b = network["b"].raft
    assert (old.index, b.log.first_index) == (first, first + 1)  # the log reaches back to the older one
    assert (b.applied_index, b.newest_snapshot[0]) == (last, last)


def test_G9_a_snapshot_brings_its_configuration():
    c = follower("c", leader="a")
    c.install(Snapshot(7, 1, Configuration.of("abcd")))
    assert c.raft.configuration == Configuration.of("abcd")
    assert c.configurations == [Configuration.of("abcd")]


def test_G3_a_configuration_behind_the_snapshot_stays_in_force():
    network = led("abc")
    network["a"].take_snapshot()
    network["a"].change("abc", "d")
    network["a"].compact()
    assert network["a"].raft.configuration == Configuration.of("abc", "d")
    assert network["a"].raft.configurations.at(network["a"].raft.log.snapshot_index) == ABC
    network.restart("a")
    assert network["a"].raft.configuration == Configuration.of("abc", "d")


def test_G3_a_configuration_before_the_snapshot_becomes_its_base():
    network = led("abc")
    network["a"].change("abc", "d")
    network.deliver()
    network["a"].take_snapshot()
    network["a"].compact()
    network.restart("a")
    assert network["a"].raft.configuration == Configuration.of("abc", "d")


def test_a_log_cut_under_a_slow_follower_offers_it_the_snapshot():
    network = led("abc", inflight_messages_max=1)
    network.part("a", "c")
    for _ in range(4):
        network.propose()
    network["a"].take_snapshot()
    network["a"].compact()
    network["a"].took()
    network["a"].settle()
    network.heal()
    for _ in range(3):
        network.beat()
        network.deliver()
    assert network["c"].offered


def test_an_append_that_lies_before_the_snapshot_is_taken_from_its_end_on():
    c = follower("c", leader="a")
    c.install(Snapshot(3, 1, ABC))
    assert c.hears(append((1, 1), (1, 1, 1)), of="a") == [Accepted(match_index=4)]
    assert c.raft.log.last_index == 4


def test_a_follower_behind_its_snapshot_says_where_its_log_ends():
    c = follower("c", leader="a")
    c.install(Snapshot(3, 1, ABC))
    refusal = c.hears(append((9, 1)), of="a")
    assert refusal == [Rejected(prev_index=9, conflict_term=0, conflict_index=4)]


def test_a_heartbeat_does_not_commit_past_the_snapshot_without_entries():
    c = follower("c", leader="a")
    c.install(Snapshot(3, 1, ABC))
    c.hears(Heartbeat(round=5, commit_index=9), of="a")
    assert c.commit_index == 3


def test_a_past_leaders_offer_is_told_of_the_term():
    c = follower("c", leader="a", term=3)
    replies = c.hears(SnapshotOffer(index=9, term=1), of="b", term=2)
    assert len(replies) == 1
    assert c.offered == []


@pytest.mark.parametrize("offer", [SnapshotOffer(index=0, term=0), SnapshotOffer(index=3, term=9)])
def test_an_offer_that_makes_no_sense_is_dropped(offer):
    c = follower("c", leader="a")
    assert c.hears(offer, of="a") == []
    assert c.offered == []


def test_a_lost_answer_to_an_install_is_made_good_by_the_next_offer():
    network = behind()
    network["c"].install(network["a"].disk.newest)
    network.lose_all()
    for _ in range(3):
        network.beat()
        network.deliver()
    assert network["a"].progress("c").match_index == network["a"].raft.log.last_index


def test_only_what_a_snapshot_includes_is_cut():
    network = led("abc")
    network.propose()
    with pytest.raises(InvariantViolated):
        network["a"].raft.compact(2)


def test_a_newer_snapshot_is_offered_when_it_is_there():
    network = behind()
    network.propose()
    newest = network["a"].take_snapshot()
    network.beat()
    network.deliver()
    network.beat()
    network.deliver()
    assert network["c"].offered[-1].index == newest.index
