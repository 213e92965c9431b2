"""How much of the time that passed is evidence against a leader: waiting on purpose is, being blocked is not."""

from __future__ import annotations

import pytest

from conflux.node.options import TICK_MS
from conflux.node.ticking import TICK_S, Ticker

HEARTBEAT_S = 0.05
HEARTBEAT_TICKS = 10


def turn(ticker: Ticker, now_s: float, wait_s: float = 0.0) -> int:
    """One turn that takes no time; gives its ticks."""
    ticker.begin(now_s)
    ticks = ticker.take(now_s)
    ticker.end(wait_s)
    return ticks


@pytest.fixture
def ticker() -> Ticker:
    made = Ticker(HEARTBEAT_S, 0.0)
    turn(made, 0.0, wait_s=HEARTBEAT_S)
    return made


def test_time_that_was_waited_on_purpose_becomes_ticks(ticker):
    assert turn(ticker, 0.0501) == HEARTBEAT_S * 1000 / TICK_MS
    assert (ticker.stalls, ticker.longest_gap_s) == (0, pytest.approx(0.0001))


def test_a_wait_that_ends_early_gives_only_what_has_passed(ticker):
    assert turn(ticker, 0.0101, wait_s=0.5) == 2
    assert turn(ticker, 0.0149, wait_s=0.5) == 0
    assert turn(ticker, 0.0201, wait_s=0.5) == 2


def test_fractions_of_a_tick_are_not_lost(ticker):
    ticks = 0
    for number in range(1, 1001):
        ticks += turn(ticker, number * 0.0013, wait_s=1.0)
    assert ticks == int(1.3 / TICK_S)


@pytest.mark.parametrize("blocked_s", [0.06, 0.2, 1.0, 60.0, 86_400.0])
def test_b17_a_blocked_loop_counts_for_one_heartbeat_interval_at_most(ticker, blocked_s):
    assert turn(ticker, HEARTBEAT_S + blocked_s) <= 2 * HEARTBEAT_TICKS  # what it waited, and one interval
    assert ticker.stalls == 1 and ticker.longest_gap_s == pytest.approx(blocked_s)
    ticker.end(HEARTBEAT_S)
    assert turn(ticker, HEARTBEAT_S + blocked_s + HEARTBEAT_S) <= HEARTBEAT_TICKS


def test_a_loop_that_is_blocked_again_and_again_still_ticks(ticker):
    """One heartbeat interval a stall: slowly, but an election comes."""
    now_s, ticks = 0.0, 0
    for _ in range(10):
        now_s += 1.0
        ticks += turn(ticker, now_s)
    assert ticker.stalls == 10 and 9 * HEARTBEAT_TICKS <= ticks <= 11 * HEARTBEAT_TICKS


def test_short_gaps_are_time_like_any_other(ticker):
    now_s, ticks = 0.0, 0
    for _ in range(100):
        now_s += HEARTBEAT_S * 0.9
        ticks += turn(ticker, now_s)
    assert ticker.stalls == 0 and ticks == pytest.approx(now_s / TICK_S, abs=1)


def test_time_spent_within_a_turn_is_seen_by_its_own_ticks(ticker):
    """Messages are stepped between the two looks at the clock: what that takes may become ticks already."""
    ticker.begin(0.05)
    assert ticker.take(0.0601) == 12


def test_ticks_are_never_negative(ticker):
    ticker.begin(0.0)
    assert ticker.take(-5.0) == 0
