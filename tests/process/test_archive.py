"""`start --archive`, and who reads what it kept, on real clusters."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.process.cluster import Cluster, Ran
from tests.process.rows import row


def cut(cluster: Cluster, *labels: str, calls: int = 1) -> None:
    """Let nodes cut their logs: two snapshots, each behind some actions."""
    for _ in range(2):
        for number in range(calls):
            assert cluster.run("perform", "append", f"thing {number}").status == 0
        cluster.await_equal()
        ran = cluster.run("snapshot", "now", *(option for label in labels for option in ("--node", label)))
        assert ran.status == 0, ran.err


def await_cut(cluster: Cluster, *labels: str) -> dict[str, int]:
    """First indices, once the logs of these nodes begin behind what their archives hold."""
    while True:
        rows = {row["label"]: row for row in cluster.status()["nodes"] if row["label"] in labels}
        if all(
            row["first_index"] and row["archive"]["last_index"] == row["first_index"] - 1 > 0 for row in rows.values()
        ):
            return {label: row["first_index"] for label, row in rows.items()}


def inspect(cluster: Cluster, place: Path) -> dict[str, Any]:
    ran = cluster.run("inspect-archive", str(place), "--json")
    assert ran.status == 0, ran.err
    return {found["label"]: found for found in ran.lines()}


def replay(cluster: Cluster, file: Path, *arguments: str) -> Ran:
    return cluster.run("replay", str(file), "--json", *arguments)


def one_line(ran: Ran, status: int, text: str) -> None:
    assert ran.status == status and text in ran.err, (ran.status, ran.err)
    assert len(ran.err.splitlines()) == 1


def test_the_whole_history_outlives_the_log_and_a_restart_goes_on_with_it(
    start_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    place, file = tmp_path / "archive", tmp_path / "history"
    cluster = start_cluster(3, "--archive", str(place))
    labels = ("n1", "n2", "n3")
    cut(cluster)
    await_cut(cluster, *labels)
    cluster.kill("n1", "n2", "n3")
    cluster.options = ()
    ran = cluster.run("start", "--detach", "--json")  # it is remembered
    cluster.pids = {row["label"]: row["pid"] for row in ran.lines()}
    before = await_cut(cluster, *labels)
    cut(cluster)
    while any(first == before[label] for label, first in await_cut(cluster, *labels).items()):
        pass
    row = cluster.await_equal()[0]
    for found in inspect(cluster, place).values():
        assert [run["first_index"] for run in found["runs"]] == [1] and found["gaps"] == []
        assert found["runs"][0]["first_revision"] == 1 and found["runs"][0]["last_revision"] >= 2
    while True:  # the commit index reaches the disk when the node is idle
        ran = cluster.run("export", str(file), "--archive", str(place), "--json", "--force")
        if ran.json()["last_index"] >= row["last_index"]:
            break
    assert (ran.json()["first_index"], ran.json()["base_revision"]) == (1, 0)
    assert replay(cluster, file, "--expect-hash", row["state_hash"]).json()["revision"] == row["applied_revision"]
    text = cluster.run("inspect-archive", str(place / "n2")).out
    assert text.startswith("n2 (") and "all checksums right\n  entries 1 to " in text
    # Elsewhere, without the nodes' directories, it is what was cut.
    other = Cluster(tmp_path / "nothing", 1)
    ran = other.run("export", str(file), "--archive", str(place / "n1"), "--json", "--force")
    assert ran.json()["last_index"] < row["last_index"] and replay(other, file).status == 0


def test_a_gap_is_told_and_what_is_behind_it_can_be_replayed(
    start_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    place, file = tmp_path / "archive", tmp_path / "history"
    cluster = start_cluster(3, "--archive", str(place))
    cut(cluster)
    await_cut(cluster, "n1", "n2", "n3")
    victim = next(label for label in ("n1", "n2", "n3") if label != cluster.leader())
    cluster.kill(victim)
    for _ in range(2):
        for _ in range(2):
            assert cluster.run("perform", "append", "meanwhile").status == 0
            cluster.run("snapshot", "now", "--timeout", "3")
    ran = cluster.run("start", "--detach", "--json")
    cluster.pids |= {row["label"]: row["pid"] for row in ran.lines()}
    cluster.await_equal()
    cut(cluster)
    await_cut(cluster, victim)
    found = inspect(cluster, place)
    assert len(found[victim]["gaps"]) == 1 and len(found[victim]["runs"]) == 2
    (gap,) = found[victim]["gaps"]
    first, second = found[victim]["runs"]
    assert (first["last_index"] + 1, second["first_index"] - 1) == (gap["first_index"], gap["last_index"])
    assert second["base_revision"] == second["first_revision"] - 1
    text = cluster.run("inspect-archive", str(place / victim)).out
    assert f"  a gap: entries {gap['first_index']} to {gap['last_index']} are missing\n" in text
    assert f"  the state at revision {second['base_revision']}, then entries {second['first_index']} to " in text
    assert cluster.run("export", str(file), "--archive", str(place)).status == 0, "the others have it"
    assert replay(cluster, file).status == 0
    only = ("--archive", str(place), "--node", victim, "--force")
    ran = cluster.run("export", str(file), *only)
    one_line(ran, 1, f"entries {gap['first_index']} to {gap['last_index']} are in no archive there")
    ran = cluster.run("export", str(file), *only, "--after-gap", "--json")
    assert ran.status == 0 and ran.json()["base_revision"] == second["base_revision"], ran.err
    assert replay(cluster, file).status == 0
    (early,) = [path for path in (place / victim).glob("*.log") if path.name.startswith(f"{1:020}")]
    early.rename(tmp_path / "elsewhere")  # then nothing leads to the rest of that run
    assert cluster.run("export", str(file), *only, "--after-gap").status == 0


@row("`--archive DIR` where a node's archive can't be: not to be written to, another node's, something else there")
def test_places_that_can_not_be_an_archive_are_refused_in_a_line_and_nothing_is_made(
    start_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    place = tmp_path / "archive"
    start_cluster(1, "--archive", str(place))
    other = Cluster(tmp_path / "other", 1)
    first = ("start", "--cluster-size", "1", "--detach")
    (tmp_path / "file").write_text("")
    (tmp_path / "full" / "n1").mkdir(parents=True)
    (tmp_path / "full" / "n1" / "mine").write_text("")
    for where, status, text in (
        (place, 1, "is that of the node n1"),
        (tmp_path / "file" / "deeper", 1, "it can't be written to"),
        (tmp_path / "full", 1, "holds something else than an archive"),
        (other.data_dir / "conflux" / "archive", 2, "a part of the cluster's own directory"),
    ):
        one_line(other.run(*first, "--archive", str(where)), status, text)
        assert not other.data_dir.exists()
    one_line(other.run(*first[:-1], "--archive", str(place), "--ephemeral"), 2, "goes with neither --ephemeral")
    one_line(other.run(*first, "--archive", str(place), "--no-archive"), 2, "goes with neither --ephemeral")
    for command, status, text in (
        (("inspect-archive", str(tmp_path / "full")), 1, "holds no archive"),
        (("export", str(tmp_path / "h"), "--archive", str(tmp_path / "full")), 1, "holds no archive"),
        (("export", str(tmp_path / "h"), "--archive", str(place)), 1, "nothing was archived yet"),
        (("export", str(tmp_path / "h"), "--archive", str(place), "--node", "n9"), 2, "no archive of a node n9"),
        (("export", str(tmp_path / "h"), "--after-gap"), 2, "--after-gap is for --archive"),
    ):
        one_line(other.run(*command), status, text)
    assert "nothing yet" in other.run("inspect-archive", str(place)).out


def test_an_archive_that_is_gone_is_not_begun_anew_unawares(
    start_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    place = tmp_path / "archive"
    cluster = start_cluster(1, "--archive", str(place))
    assert cluster.run("stop").status == 0
    place.rename(tmp_path / "unmounted")
    ran = cluster.run("start", "--detach")
    one_line(ran, 1, f"the archive {place / 'n1'} is not there. Mount its disk or put it back")
    assert not place.exists()
    (tmp_path / "unmounted").rename(place)
    assert cluster.run("start", "--detach").status == 0
    assert cluster.run("stop").status == 0
    place.rename(tmp_path / "unmounted")
    assert cluster.run("start", "--detach", "--archive", str(place)).status == 0


def test_it_is_remembered_until_it_is_unsaid_and_destroy_leaves_it_unless_it_is_told_to(
    start_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    place = tmp_path / "archive"
    cluster = start_cluster(1, "--archive", str(place))
    cut(cluster)
    await_cut(cluster, "n1")
    assert cluster.run("stop").status == 0
    ran = cluster.run("start", "--detach", "--no-archive", "--json")
    cluster.pids = {row["label"]: row["pid"] for row in ran.lines()}
    assert cluster.await_equal()[0]["archive"] is None
    cut(cluster)
    assert cluster.run("stop").status == 0
    assert cluster.run("start", "--detach").status == 0
    assert cluster.await_equal()[0]["archive"] is None, "also that is remembered"
    assert cluster.run("stop").status == 0
    assert cluster.run("start", "--detach", "--archive", os.path.relpath(place)).status == 0
    row = cluster.await_equal()[0]
    assert row["archive"]["directory"] == str(place / "n1")
    cut(cluster)
    await_cut(cluster, "n1")
    assert len(inspect(cluster, place)["n1"]["gaps"]) == 1, "what was cut without it is missing"
    assert cluster.run("stop").status == 0
    ran = cluster.run("destroy", "--with-archive")
    assert ran.status == 2 and f"would remove {place / 'n1'}" in ran.out and (place / "n1").exists()
    assert f"would remove {place / 'n1'}" not in cluster.run("destroy").out
    ran = cluster.run("destroy", "--yes")
    assert ran.status == 0 and f"What was archived stays: {place / 'n1'}." in ran.err
    assert inspect(cluster, place)["n1"]["problem"] is None


@row("the archive that is remembered can't be one node's any more, or is not there: its disk is not mounted, say")
def test_destroy_takes_the_archives_along_that_are_these_nodes(
    start_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    place = tmp_path / "archive"
    cluster = start_cluster(2, "--archive", str(place))
    assert cluster.run("stop").status == 0
    owner = place / "n2" / "archive.json"
    owner.write_text(json.dumps(json.loads(owner.read_text()) | {"identity": "f" * 32}))
    ran = cluster.run("start", "--detach", "--json", "--timeout", "2")
    assert "n2 is not started: the archive" in ran.err and "that of the node n2 (ffffffff)" in ran.err
    assert cluster.run("stop").status == 0
    ran = cluster.run("destroy", "--yes", "--with-archive")
    assert ran.status == 0 and f"removed {place / 'n1'}" in ran.out
    assert sorted(path.name for path in place.iterdir()) == ["n2"], "another node's stays"


def test_a_file_that_was_changed_is_named_and_its_entries_may_be_elsewhere(
    start_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    place, file = tmp_path / "archive", tmp_path / "history"
    cluster = start_cluster(2, "--archive", str(place))
    cut(cluster)
    await_cut(cluster, "n1", "n2")
    path = min((place / "n1").glob("*.log"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    ran = cluster.run("inspect-archive", str(place), "--json")
    assert ran.status == 1 and "is cut short" in ran.err
    by_label = {found["label"]: found for found in ran.lines()}
    assert "is cut short" in by_label["n1"]["problem"] and by_label["n2"]["problem"] is None
    one_line(cluster.run("export", str(file), "--archive", str(place), "--node", "n1"), 1, "is cut short")
    assert not file.exists()
    assert cluster.run("export", str(file), "--archive", str(place), "--node", "n2").status == 0


@pytest.mark.parametrize("command", [("export", "h", "--archive", "x"), ("inspect-archive", "x")])
def test_a_place_that_is_not_there_is_wrong_usage(tmp_path: Path, command: tuple[str, ...]) -> None:
    ran = Cluster(tmp_path, 1).run(*command)
    assert ran.status == 2 and "does not exist" in ran.err


def test_archives_of_two_clusters_are_not_mixed(start_cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    place, file = tmp_path / "archive", str(tmp_path / "history")
    one, other = start_cluster(1, "--archive", str(place), "--id", "a"), None
    other = start_cluster(1, "--archive", str(place), "--id", "b")
    for cluster, label in ((one, "a"), (other, "b")):
        cut(cluster)
        await_cut(cluster, label)
    ran = one.run("export", file, "--archive", str(place), "--json", "--force")
    assert ran.status == 0 and ran.json()["node"] == "a", ran.err
    elsewhere = Cluster(tmp_path / "elsewhere", 1)
    one_line(elsewhere.run("export", file, "--archive", str(place), "--force"), 2, "archives of several clusters")
    ran = elsewhere.run("export", file, "--archive", str(place), "--force", "--node", "b", "--json")
    assert ran.status == 0 and ran.json()["node"] == "b"
