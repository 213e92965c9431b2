"""B10, F5, D4: nodes that stand still for a while, and then go on as if no time had passed."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

from tests.faults.budget import FULL, SEED
from tests.faults.cluster import FaultCluster
from tests.faults.history import LINEARIZABLE
from tests.faults.workload import Load

SHORT_SECONDS = 0.15  # less than the shortest election time-out
LONG_SECONDS = (1.5, 5.0, 20.0) if FULL else (1.5,)
ANSWERS_BETWEEN = 20
MAKERS = Callable[..., FaultCluster]


def pause(cluster: FaultCluster, seconds: float, *labels: str) -> None:
    """Stop nodes for a while."""
    cluster.signal(signal.SIGSTOP, *labels)
    time.sleep(seconds)
    cluster.signal(signal.SIGCONT, *labels)


def settle(cluster: FaultCluster, load: Load, report: Callable[..., None], pauses: int) -> None:
    load.await_more(ANSWERS_BETWEEN)
    report(cluster.settle(load), pauses=pauses)


def test_a_leader_that_pauses_shortly_goes_on_leading(make_cluster: MAKERS, report: Callable[..., None]) -> None:
    cluster = make_cluster(3)
    with cluster.load(seed=SEED) as load:
        for _ in range(5):
            load.await_more(ANSWERS_BETWEEN)
            pause(cluster, SHORT_SECONDS, cluster.leader())
        settle(cluster, load, report, 5)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("size", [3, 5] if FULL else [3])
def test_a_leader_that_comes_back_from_a_long_pause_answers_nothing_as_leader(
    size: int, make_cluster: MAKERS, report: Callable[..., None]
) -> None:
    cluster = make_cluster(size)
    with cluster.load(clients=5, seed=SEED) as load:
        for seconds in LONG_SECONDS:
            load.await_more(ANSWERS_BETWEEN)
            paused = cluster.leader()
            cluster.signal(signal.SIGSTOP, paused)
            began_s = time.monotonic()
            assert cluster.leader(other_than=paused) != paused
            load.await_more(ANSWERS_BETWEEN)
            time.sleep(max(0.0, began_s + seconds - time.monotonic()))
            cluster.signal(signal.SIGCONT, paused)
        settle(cluster, load, report, len(LONG_SECONDS))


@pytest.mark.timeout(300)
def test_a_paused_follower_costs_the_others_nothing_and_catches_up(
    make_cluster: MAKERS, report: Callable[..., None]
) -> None:
    cluster = make_cluster(3)
    with cluster.load(seed=SEED) as load:
        for seconds in LONG_SECONDS:
            load.await_more(ANSWERS_BETWEEN)
            leader, paused = cluster.leader(), cluster.followers()[0]
            cluster.signal(signal.SIGSTOP, paused)
            began_s = time.monotonic()
            load.await_more(10 * ANSWERS_BETWEEN)
            assert cluster.leader() == leader
            time.sleep(max(0.0, began_s + seconds - time.monotonic()))
            cluster.signal(signal.SIGCONT, paused)
        settle(cluster, load, report, len(LONG_SECONDS))


@pytest.mark.timeout(300)
def test_all_pause_at_once_and_go_on(make_cluster: MAKERS, report: Callable[..., None]) -> None:
    cluster = make_cluster(3)
    with cluster.load(seed=SEED) as load:
        for seconds in (SHORT_SECONDS, *LONG_SECONDS):
            load.await_more(ANSWERS_BETWEEN)
            pause(cluster, seconds, *cluster.labels)
        settle(cluster, load, report, 1 + len(LONG_SECONDS))


@pytest.mark.timeout(300)
def test_a_leader_that_is_woken_just_as_another_is_elected_gives_no_stale_answer(
    make_cluster: MAKERS, report: Callable[..., None]
) -> None:
    """Pauses around the election time-out, and mostly reads: whoever answers must have asked a majority."""
    cluster = make_cluster(3)
    pauses = [0.3, 0.4, 0.5, 0.6, 0.8] * (6 if FULL else 1)
    weights = {LINEARIZABLE: 70, "append": 30}
    with cluster.load(clients=6, seed=SEED, pause_s=0.001, weights=weights) as load:
        for seconds in pauses:
            load.await_more(ANSWERS_BETWEEN)
            pause(cluster, seconds, cluster.leader())
        settle(cluster, load, report, len(pauses))
