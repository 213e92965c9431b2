"""A node dies at each named point of a snapshot, of the cut behind it, and of an install: H1 to H4 on real processes.

Two nodes take a snapshot at each hash point; the third one takes none, so that its log holds all that ever happened,
and the others are held against it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.budget import FULL
from tests.faults.cluster import FaultCluster, await_until
from tests.faults.committed import last_index
from tests.faults.failpoints.points import POINTS
from tests.faults.test_failpoints import DIRECTORY, VICTIM, environment
from tests.faults.workload import Load

SERVER, WITNESS = "n2", "n3"  # leads and cuts its log; keeps all of its log
PADDING_BYTES = 4000  # a hash point comes with each 64 KiB of log
ANSWERS_BETWEEN = 10
DEATH_SECONDS = 30.0
TRIES_MAX = 5
SHORT = {"base.installed", "install.after_base"}


def chosen(role: str) -> list[str]:
    return [name for name, each in POINTS.items() if each == role and (FULL or name in SHORT)]


def with_snapshots(**more: str) -> dict[str, str]:
    path = os.pathsep.join([str(DIRECTORY), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, "CONFLUX_SNAPSHOTS": f"{VICTIM},{SERVER}", **more}


def await_death(cluster: FaultCluster, point: str, words: Path) -> None:
    await_until((words / point).exists, f"{VICTIM} to die at {point}", DEATH_SECONDS)
    cluster.await_gone(VICTIM)


def first_index(cluster: FaultCluster, label: str) -> int:
    return int(cluster.rows()[label]["first_index"] or 0)


def await_snapshot(cluster: FaultCluster, label: str, behind: int) -> None:
    """Until a node's log begins behind an index."""
    await_until(lambda: first_index(cluster, label) > behind, f"{label} to cut its log behind {behind}", DEATH_SECONDS)


def fall_behind(cluster: FaultCluster) -> int:
    """Kill the victim, and let the leader cut its log past where the victim's ends; gives that end."""
    cluster.make_leader(SERVER)
    cluster.kill(VICTIM)
    last = last_index(cluster.directory, VICTIM)
    await_snapshot(cluster, SERVER, last + 1)  # a log that begins right behind the victim's end would be enough for it
    return last


@contextmanager
def judged(cluster: FaultCluster, report: Callable[..., None], **more: int) -> Iterator[Load]:
    """Load; at its end everything is judged, once more after all nodes have started from their disks."""
    with cluster.load(clients=4, padding=PADDING_BYTES) as load:
        yield load
        verdict = cluster.settle(load)
    before = cluster.await_equal()
    cluster.kill(*cluster.labels)
    cluster.start(**with_snapshots())
    after = cluster.await_equal()
    assert {row["applied_revision"] for row in (*before.values(), *after.values())} == {
        before[WITNESS]["applied_revision"]
    }
    assert first_index(cluster, WITNESS) == 1 < first_index(cluster, VICTIM)
    report(verdict, **more)


@pytest.mark.timeout(600)
def test_H1_a_node_that_dies_at_any_point_of_a_snapshot_or_of_a_cut_goes_on_from_there(
    make_cluster: Callable[..., FaultCluster], report: Callable[..., None], tmp_path: Path
) -> None:
    cluster = make_cluster(3, **with_snapshots())
    points = chosen("compacting")
    with judged(cluster, report, killed=2 * len(points), points=len(points)) as load:
        for number, point in enumerate(points):
            words = tmp_path / f"words{number}"
            cluster.kill(VICTIM)
            cluster.start(VICTIM, check=False, **with_snapshots(**environment(point, 1 + number % 3, words)))
            await_death(cluster, point, words)
            load.await_more(ANSWERS_BETWEEN)
            cluster.start(VICTIM, **with_snapshots())
            cluster.await_serving(VICTIM)
        await_snapshot(cluster, VICTIM, first_index(cluster, VICTIM))


@pytest.mark.timeout(600)
def test_H4_a_node_that_dies_at_any_point_of_an_install_gets_the_snapshot_all_the_same(
    make_cluster: Callable[..., FaultCluster], report: Callable[..., None], tmp_path: Path
) -> None:
    cluster = make_cluster(3, **with_snapshots())
    points = chosen("installing")
    with judged(cluster, report, killed=2 * len(points), points=len(points)) as load:
        for number, point in enumerate(points):
            words = tmp_path / f"words{number}"
            for _ in range(TRIES_MAX):  # on a busy machine the witness may come to lead, and has all of its log
                last = fall_behind(cluster)
                cluster.start(VICTIM, check=False, **with_snapshots(**environment(point, 1, words)))
                if cluster.leader() == SERVER or (words / point).exists():
                    break
            await_death(cluster, point, words)
            load.await_more(ANSWERS_BETWEEN)
            cluster.start(VICTIM, **with_snapshots())
            await_snapshot(cluster, VICTIM, last)
