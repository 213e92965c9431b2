"""What the benchmarks make of what they measured."""

from __future__ import annotations

import pytest
from benchmarks.exactly_once import verdict
from benchmarks.figures import latencies_ms, outage_seconds, paired_ratios, ratio, spread

# ---- Latencies, spreads, ratios ----


def test_latencies_are_given_in_milliseconds():
    found = latencies_ms(number / 1000 for number in range(1, 101))
    assert (found["p50"], found["p99"], found["p99.9"], found["max"]) == (50, 99, 100, 100)


def test_no_latency_has_no_percentiles():
    assert latencies_ms([]) == {}


def test_a_spread_is_the_median_between_the_least_and_the_greatest():
    assert spread([3, 1, 2]).as_json() == {"median": 2, "low": 1, "high": 3, "runs": 3}


def test_only_rounds_that_have_both_are_compared():
    assert paired_ratios([10, 30, None, 40], [5, None, 5, 0]) == [2]


def test_a_ratio_is_taken_in_each_round_and_not_of_the_medians():
    found = ratio([10, 100, 1], [1, 50, 1])
    assert found is not None and (found.low, found.median, found.high) == (1, 2, 10)


def test_there_is_no_ratio_where_no_round_has_both():
    assert ratio([1, None], [None, 1]) is None


# ---- Outages ----


def test_an_outage_ends_with_the_first_answer_after_the_silence():
    assert outage_seconds([0.9, 1.01, 1.6, 1.7], killed_at=1.0, until=2.0) == pytest.approx(0.6)


def test_an_answer_that_was_on_its_way_at_the_kill_ends_nothing():
    assert outage_seconds([0.9, 1.001, 1.002, 1.5, 1.51], killed_at=1.0, until=1.6) == pytest.approx(0.5)


@pytest.mark.parametrize("answered", [[], [0.9], [0.9, 1.01]])
def test_a_silence_that_lasts_has_no_end(answered: list[float]):
    assert outage_seconds(answered, killed_at=1.0, until=4.0) is None


def test_answers_after_the_last_call_are_no_silence():
    assert outage_seconds([0.9, 1.5, 2.1], killed_at=1.0, until=2.0) == pytest.approx(1.1)


# ---- Exactly once ----


def test_a_state_that_holds_each_acknowledged_action_once_is_right():
    assert verdict(["b", "a"], ["a", "b"]) == []


def test_what_was_never_answered_may_be_there_or_not():
    assert verdict(["a"], ["a"], uncertain=["b"]) == verdict(["a", "b"], ["a"], uncertain=["b"]) == []


@pytest.mark.parametrize(
    ("state", "word"),
    [
        (["a"], "1 acknowledged actions are missing"),
        (["a", "b", "b"], "1 actions are there more than once"),
        (["a", "b", "c"], "1 actions are there that nobody asked for"),
    ],
)
def test_a_state_that_lost_doubled_or_invented_an_action_is_wrong(state: list[str], word: str):
    assert verdict(state, ["a", "b"]) == [word]


def test_what_was_never_answered_must_not_be_there_twice():
    assert verdict(["a", "b", "b"], ["a"], uncertain=["b"]) == ["1 actions are there more than once"]
