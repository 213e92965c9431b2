"""A node dies at each named point of a change of the members: G1 to G6 on real processes.

While clients append, a fourth and a fifth node learn and become voters, and one leaves again. Whoever dies in the
middle, the change comes about once it is asked for again, and all that hold the log hold the same one.
"""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conflux.errors import ConfluxError
from tests.faults.budget import FULL
from tests.faults.cluster import FaultCluster, await_until
from tests.faults.failpoints.points import POINTS
from tests.faults.test_failpoints import VICTIM, environment

ANSWERS_BETWEEN = 10
DEATH_SECONDS = 40.0
CHANGE_SECONDS = 3.0
# Changes in their order: what an operator asks for, and of whom.
CHANGES = (("learn", "n4"), ("promote", "n4"), ("learn", "n5"), ("promote", "n5"), ("remove", "n5"), ("invite", ""))
STANDING = {"learn": "learner", "promote": "voter", "remove": None}
SHORT = {"members.after_persist"}


def chosen() -> list[tuple[str, str]]:
    """The points of a change, with the role in which each is passed."""
    found = []
    for name, role in POINTS.items():
        if "changing" in role and (FULL or name in SHORT):
            found += [(name, each) for each in (("leader",) if "leader" in role else ("leader", "follower"))]
    return found if FULL else found[:1]


def standings(cluster: FaultCluster) -> dict[str, str]:
    return {each["label"]: each["standing"] for each in cluster.client.members(timeout=1.0)}


def ask(cluster: FaultCluster, change: str, member: str) -> bool:
    """Ask for a change once; whether it was done."""
    try:
        cluster.client.change_members(change, member, timeout=CHANGE_SECONDS)
    except ConfluxError:
        return False
    return True


def bring_about(cluster: FaultCluster, change: str, member: str) -> None:
    """Ask again until the members are so."""

    def is_so() -> bool:
        asked = ask(cluster, change, member)
        return asked if change == "invite" else standings(cluster).get(member) == STANDING[change]

    await_until(is_so, f"{change} {member} to come about", DEATH_SECONDS)


def give_role(cluster: FaultCluster, role: str) -> None:
    cluster.make_leader(VICTIM if role == "leader" else "n2")


def die_at(cluster: FaultCluster, point: str, role: str, change: tuple[str, str], words: Path) -> None:
    """Arm the victim, give it its role, ask for the change, and see that it dies of it."""
    cluster.kill(VICTIM)
    cluster.start(VICTIM, **environment(point, 1, words, arm="signal"))
    cluster.await_serving(VICTIM)
    give_role(cluster, role)
    cluster.signal(signal.SIGUSR1, VICTIM)
    deadline_s = time.monotonic() + DEATH_SECONDS
    ask(cluster, *change)
    while cluster.pid(VICTIM) is not None:  # on a busy machine it may have lost its role meanwhile
        assert time.monotonic() < deadline_s, f"{VICTIM} passes {point} never"
        give_role(cluster, role)
        ask(cluster, "invite", "")
    assert [path.name for path in words.iterdir()] == [point], f"{point} as {role}"


def join(cluster: FaultCluster, label: str) -> None:
    """Start a node that waits to be let in."""
    ran = cluster.run("start", "--join", "wait", "--id", label, "--detach", "--json")
    assert ran.status == 0, ran.err
    cluster.labels.append(label)
    cluster.size += 1


def leave(cluster: FaultCluster, label: str) -> None:
    """Take away what is left of a node that was removed."""
    cluster.kill(label)
    shutil.rmtree(cluster.directory / label)
    cluster.labels.remove(label)
    cluster.size -= 1


@pytest.mark.timeout(600)
def test_G3_a_node_that_dies_at_any_point_of_a_change_of_members_takes_nothing_with_it(
    make_cluster: Callable[..., FaultCluster], report: Callable[..., None], tmp_path: Path
) -> None:
    cluster = make_cluster(3)
    cases = chosen()
    with cluster.load(clients=4) as load:
        for number, ((point, role), change) in enumerate(zip(cases, CHANGES, strict=False)):
            if change[0] == "learn":
                join(cluster, change[1])
            load.await_more(ANSWERS_BETWEEN)
            die_at(cluster, point, role, change, tmp_path / f"words{number}")
            if change[0] == "promote":  # a fourth voter counts only where three others are healthy
                cluster.start(VICTIM)
            bring_about(cluster, *change)  # else without the victim: a majority is there
            if cluster.pid(VICTIM) is None:
                cluster.start(VICTIM)
            if change[0] == "remove":
                leave(cluster, change[1])
        bring_about(cluster, "promote", "n4")  # unless that was done in between
        verdict = cluster.settle(load)
    assert set(standings(cluster).values()) == {"voter"}
    report(verdict, killed=2 * len(cases), points=len({point for point, _ in cases}))
