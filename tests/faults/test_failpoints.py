"""A node dies at each named point of the write path, under load, and comes back: the history stays legal (C1, A2, C17).

`failpoints/points.py` lists the points. Formation and start have their own, in which no load runs yet.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.budget import FULL
from tests.faults.cluster import HERE, FaultCluster, await_until
from tests.faults.failpoints.points import POINTS
from tests.faults.workload import Load

DIRECTORY = HERE / "failpoints"
ANSWERS_BETWEEN = 10
DEATH_SECONDS = 40.0
VICTIM = "n1"
# Without CONFLUX_FAULTS=1, only these: one of each kind.
SHORT = {
    *("append.after_send", "persist.written", "accepted.before_send", "answer.before", "vote.before_send"),
    *("start.reading", "form.before_formed"),
}


def chosen(*roles: str) -> list[tuple[str, str]]:
    """The points with these roles, with the role in which each is passed."""
    found = []
    for name, role in POINTS.items():
        if role in roles and (FULL or name in SHORT):
            found += [(name, each) for each in (("leader", "follower") if role == "any" else (role,))]
    return found if FULL else [*dict(found).items()]


def environment(point: str, count: int, words: Path, *, arm: str = "") -> dict[str, str]:
    """What makes a node die at a point."""
    words.mkdir(exist_ok=True)
    path = os.pathsep.join([str(DIRECTORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {
        "PYTHONPATH": path,
        "CONFLUX_FAILPOINT": f"{point}:{count}",
        "CONFLUX_FAILPOINT_NODE": VICTIM,
        "CONFLUX_FAILPOINT_DIR": str(words),
        "CONFLUX_FAILPOINT_ARM": arm,
    }


def provoke(cluster: FaultCluster, point: str, role: str) -> None:
    """Keep the victim in its role, or have it stand for election or vote for another, until it dies of it."""
    deadline_s = time.monotonic() + DEATH_SECONDS
    while cluster.pid(VICTIM) is not None:
        assert time.monotonic() < deadline_s, f"{VICTIM} passes the point never"
        leader = cluster.leader()
        if role in ("candidate", "voter"):
            third = next(label for label in cluster.labels if label not in (VICTIM, leader))
            cluster.transfer_to(VICTIM if role == "candidate" else third)
        elif (leader == VICTIM) != (role == "leader"):  # on a busy machine it may lose its role again
            cluster.transfer_to(VICTIM if role == "leader" else "n2")
        elif point.startswith("read"):  # clients ask the leader: a follower must be named
            cluster.run("state", "--node", VICTIM, "--timeout", "1")
        time.sleep(0.2)


def die_at(cluster: FaultCluster, load: Load, point: str, role: str, count: int, words: Path) -> None:
    """Start the victim with its trap, give it its role, arm the trap, and see that it dies there."""
    cluster.kill(VICTIM)
    cluster.start(VICTIM, **environment(point, count, words, arm="signal"))
    cluster.await_serving(VICTIM)
    cluster.make_leader(VICTIM if role == "leader" else "n2")
    load.await_more(ANSWERS_BETWEEN)
    cluster.signal(signal.SIGUSR1, VICTIM)
    if point.startswith("commit_index"):
        with load.paused():
            provoke(cluster, point, role)
    else:
        provoke(cluster, point, role)
    assert [path.name for path in words.iterdir()] == [point], f"{point} as {role}"


@pytest.mark.timeout(600)
def test_a_node_that_dies_at_any_point_of_the_write_path_takes_nothing_with_it(
    make_cluster: Callable[..., FaultCluster], report: Callable[..., None], tmp_path: Path
) -> None:
    cluster = make_cluster(3)
    cases = chosen("leader", "follower", "any", "candidate", "voter")
    with cluster.load(clients=4) as load:
        for number, (point, role) in enumerate(cases):
            count = 1 + number % 3 if role in ("leader", "follower") and "commit_index" not in point else 1
            die_at(cluster, load, point, role, count, tmp_path / f"words{number}")
            load.await_more(ANSWERS_BETWEEN)
            cluster.start(VICTIM)
        verdict = cluster.settle(load)
    report(verdict, killed=2 * len(cases), points=len({point for point, _ in cases}))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("point", [name for name, _ in chosen("starting")])
def test_a_node_that_dies_while_it_starts_starts_the_next_time(
    point: str, make_cluster: Callable[..., FaultCluster], report: Callable[..., None], tmp_path: Path
) -> None:
    cluster = make_cluster(3)
    with cluster.load(clients=3) as load:
        for count in (1, 5):
            load.await_more(50)
            cluster.kill(VICTIM)
            words = tmp_path / f"words{count}"
            passes = count if point in ("start.reading", "start.folding") else 1
            cluster.start(VICTIM, check=False, **environment(point, passes, words))
            cluster.await_gone(VICTIM, seconds=20)
            assert [path.name for path in words.iterdir()] == [point]
            cluster.start(VICTIM)
        verdict = cluster.settle(load)
    report(verdict, killed=4)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("point", [name for name, _ in chosen("forming")])
def test_a_node_that_dies_while_the_cluster_forms_leaves_one_cluster_to_form(
    point: str, make_cluster: Callable[..., FaultCluster], report: Callable[..., None], tmp_path: Path
) -> None:
    cluster = make_cluster(3, start=False)
    words = tmp_path / "words"
    cluster.start(check=False, seconds=3, **environment(point, 1, words))
    await_until(lambda: words.joinpath(point).exists(), f"{VICTIM} to die")
    cluster.await_gone(VICTIM)
    ids_before = ids(cluster)
    cluster.start(check=False)
    cluster.await_equal()
    assert ids_before <= ids(cluster) and len(ids(cluster)) == 1
    with cluster.load(clients=2) as load:
        load.await_more(20)
        verdict = cluster.settle(load)
    report(verdict, killed=1)


def ids(cluster: FaultCluster) -> set[str]:
    """Of the clusters that the running nodes say they have formed."""
    if not cluster.running():
        return set()
    time.sleep(0.2)
    found = {report["cluster_id"] for report in cluster.client.status(timeout=0.5)}
    return found - {None}
