from __future__ import annotations

import random
from collections import Counter

import pytest

from conflux import limits
from conflux.discovery.candidates import KEEP_SECONDS, PLACES_MAX, Candidates, Hints
from conflux.discovery.combined import CombinedDiscovery
from conflux.discovery.interface import StaticPeers
from conflux.discovery.record import Sighting


@pytest.fixture
def candidates():
    return Candidates(random.Random(1))


def seen(identity, *addresses, life="00000001"):
    return Sighting(cluster="c", fingerprint="f", identity=identity, incarnation=life, addresses=addresses)


def same(_address):
    return 0


def test_each_node_has_its_first_address_tried_before_any_has_its_second(candidates):
    candidates.hear(seen("a", "a1", "a2"), 0)
    candidates.hear(seen("b", "b1", "b2"), 0)
    assert candidates.addresses(same) == ["a1", "b1", "a2", "b2"]


def test_the_order_stays_when_the_same_is_heard_again_in_another_order(candidates):
    for addresses in (("a1", "a2"), ("a2", "a1")):
        candidates.hear(seen("a", *addresses), 0)
    assert candidates.addresses(same) == ["a1", "a2"]


def test_e9_near_addresses_are_tried_before_far_ones(candidates):
    candidates.hear(seen("a", "far", "near"), 0)
    assert candidates.addresses(["near", "far"].index) == ["near", "far"]


def test_e2_one_identity_under_several_names_is_one_node_whose_newest_life_comes_first(candidates):
    candidates.hear(seen("a", "old1", "old2", life="ffffffff"), 0)
    candidates.hear(seen("a", "new", life="00000001"), 1)
    assert candidates.addresses(same) == ["new", "old1", "old2"]
    assert candidates.instances() == ["a-ffffffff", "a-00000001"]
    assert len(candidates) == 1


def test_e3_a_forged_address_is_tried_beside_the_true_one_and_not_in_its_place(candidates):
    candidates.hear(seen("a", "true"), 0)
    candidates.hear(seen("a", "forged"), 1)
    assert candidates.addresses(same) == ["true", "forged"]


def test_e3_a_thousand_forged_addresses_do_not_push_out_the_true_one(candidates):
    candidates.hear(seen("a", "true"), 0)
    for number in range(1000):
        candidates.hear(seen("a", f"forged{number}", life=f"{number:08x}"), 1)
    assert "true" in candidates.addresses(same)
    assert len(candidates.addresses(same)) == PLACES_MAX


def test_e4_silence_costs_a_candidate_its_place_after_ten_minutes_and_not_before(candidates):
    candidates.hear(seen("a", "a1"), 0)
    candidates.forget(KEEP_SECONDS)
    assert candidates.addresses(same) == ["a1"]
    candidates.forget(KEEP_SECONDS + 1)
    assert candidates.addresses(same) == candidates.instances() == []


def test_an_address_that_is_no_longer_said_goes_while_its_node_stays(candidates):
    candidates.hear(seen("a", "old", "kept"), 0)
    candidates.hear(seen("a", "kept", "new"), KEEP_SECONDS)
    candidates.forget(KEEP_SECONDS + 1)
    assert candidates.addresses(same) == ["kept", "new"]


def test_e5_a_flood_of_names_neither_grows_without_bound_nor_pushes_out_who_was_there(candidates):
    for identity in "abcde":
        candidates.hear(seen(identity, identity), 0)
    for number in range(10_000):
        candidates.hear(seen(f"flood{number}", f"10.0.0.1:{number}"), 1)
    assert len(candidates) == limits.CANDIDATES_MAX
    assert candidates.addresses(same)[:5] == [*"abcde"]
    assert len(candidates.addresses(same)) == limits.CANDIDATES_MAX
    assert candidates.displaced == 10_005 - limits.CANDIDATES_MAX


def test_e5_who_comes_during_a_flood_is_always_let_in():
    """For how long is a matter of luck, so being heard again and again makes it be tried sooner or later."""
    for seed in range(20):
        candidates = Candidates(random.Random(seed))
        for number in range(1000):
            candidates.hear(seen(f"flood{number}", str(number)), 0)
        candidates.hear(seen("late", "late"), 1)
        assert "late" in candidates.addresses(same)


def test_hints_displace_each_of_the_younger_half_alike_and_never_the_older():
    displaced = Counter()
    for seed in range(400):
        hints = Hints(8, random.Random(seed))
        assert [hints.hear(key, 0) for key in range(8)] == [None] * 8
        displaced[hints.hear("new", 0)] += 1
    assert set(displaced) == {4, 5, 6, 7}


def test_written_down_and_discovered_addresses_are_equal_in_rank():
    both = CombinedDiscovery(StaticPeers(("s1", "s2", "both")), StaticPeers(("m1", "both")))
    assert both.addresses() == ["s1", "m1", "s2", "both"]
    both.close()


def test_a_flood_leaves_room_for_what_was_written_down():
    flood = StaticPeers(tuple(f"10.0.0.1:{port}" for port in range(1000)))
    both = CombinedDiscovery(flood, StaticPeers(("s1", "s2")))
    assert {"s1", "s2"} < set(both.addresses())
    assert len(both.addresses()) == limits.CANDIDATES_MAX
