"""A node dies on its way from the log to the archive, and from there to the cut: no entry is missing, and none twice.

With it the archive's own disk: full, and with room again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.budget import FULL
from tests.faults.cluster import await_until
from tests.faults.failpoints.points import POINTS
from tests.faults.smalldisk import SmallDisk, why_not
from tests.faults.test_failpoints import environment
from tests.process.cluster import Cluster

POINTS_OF_A_CUT = ("base.in_transaction", "base.installed", "compact.in_transaction")
ALL = [*(name for name, role in POINTS.items() if role == "archiving"), *POINTS_OF_A_CUT]
SHORT = ("archive.before_sync", "archive.after_rename", "base.installed")  # without CONFLUX_FAULTS=1
DEATH_SECONDS = 30.0


def cut_some(cluster: Cluster) -> None:
    """Two snapshots, each behind an action; what dies on the way is looked at later."""
    for number in range(2):
        cluster.run("perform", "append", f"{number}", "--timeout", "2")
        cluster.run("snapshot", "now", "--timeout", "2")


def first_index(cluster: Cluster) -> int:
    return int(cluster.status()["nodes"][0]["first_index"] or 0)


def replayed_whole(cluster: Cluster, place: Path, file: Path) -> None:
    """The whole history, out of the archive and the log, folds into the state of the cluster."""
    (row,) = cluster.await_equal()
    while True:  # the commit index reaches the disk when the node is idle
        ran = cluster.run("export", str(file), "--archive", str(place), "--force", "--json")
        assert ran.status == 0, ran.err
        if ran.json()["last_index"] == row["last_index"]:
            break
    assert (ran.json()["first_index"], ran.json()["base_revision"]) == (1, 0)
    ran = cluster.run("replay", str(file), "--expect-hash", row["state_hash"])
    assert ran.status == 0, ran.err


@pytest.mark.timeout(300)
def test_a_node_that_dies_anywhere_between_its_log_and_its_archive_loses_nothing(tmp_path: Path) -> None:
    place = tmp_path / "archive"
    cluster = Cluster(tmp_path / "data", 1, "--archive", str(place))
    try:
        cluster.start()
        cluster.run("stop")
        for number, point in enumerate(ALL if FULL else SHORT):
            words = tmp_path / f"words{number}"
            ran = cluster.run("start", "--detach", "--json", **environment(point, 1, words))
            assert ran.status == 0 or (words / point).exists(), ran.err
            while not (words / point).exists():
                cut_some(cluster)
            await_until(lambda: cluster.run("stop").status == 0, "the node to be gone", DEATH_SECONDS)
            ran = cluster.run("start", "--detach", "--json")
            assert ran.status == 0, (point, ran.err)
            cluster.pids = {row["label"]: row["pid"] for row in ran.lines()}
            before = first_index(cluster)
            while first_index(cluster) == before:
                cut_some(cluster)
            replayed_whole(cluster, place, tmp_path / "history")
            (found,) = cluster.run("inspect-archive", str(place), "--json").lines()
            assert found["gaps"] == [] and found["problem"] is None and len(found["runs"]) == 1, (point, found)
            cluster.run("stop")
    finally:
        cluster.close()


@pytest.fixture
def cluster(tmp_path: Path, small_disk: SmallDisk) -> Iterator[Cluster]:
    """One node, with its archive on a small disk."""
    cluster = Cluster(tmp_path / "data", 1, "--archive", str(small_disk.path / "archive"))
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    disk = SmallDisk(tmp_path / "disk", mib=2)
    yield disk
    disk.close()


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
@pytest.mark.timeout(300)
def test_a_node_whose_archive_has_no_room_serves_on_and_cuts_nothing_until_it_has(
    tmp_path: Path, small_disk: SmallDisk, cluster: Cluster
) -> None:
    place = small_disk.path / "archive"
    small_disk.fill()

    def problem() -> str | None:
        archive = cluster.status()["nodes"][0]["archive"]
        return str(archive["problem"]) if archive["problem"] else None

    for number in range(4):
        assert cluster.run("perform", "append", f"{number}" * 100_000).status == 0
        assert cluster.run("snapshot", "now").status == 0
    await_until(lambda: problem() is not None, "the archive to have no room", DEATH_SECONDS)
    assert "No space left on device" in str(problem()) and first_index(cluster) == 1
    (row,) = cluster.status()["nodes"]
    assert row["healthy"] and row["problem"] is None
    assert "its archive takes nothing" in cluster.run("status").out
    assert cluster.run("perform", "append", "on").status == 0
    log = (Path(row["data_dir"]) / "node.log").read_text()
    assert log.count("the archive takes nothing, so the log is not cut") == 1
    small_disk.free()
    await_until(lambda: first_index(cluster) > 1, "the log to be cut", DEATH_SECONDS)
    assert problem() is None
    assert "takes entries again" in (Path(row["data_dir"]) / "node.log").read_text()
    replayed_whole(cluster, place, tmp_path / "history")
    assert os.listdir(place) == ["n1"]
