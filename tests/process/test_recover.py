"""A cluster that lost its majority for good comes back from what is left."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.process.cluster import Cluster
from tests.process.test_kill import Appender, assert_each_once


def lose(cluster: Cluster, *labels: str) -> None:
    """Processes and directories of these nodes are gone."""
    cluster.kill(*labels)
    for label in labels:
        shutil.rmtree(cluster.data_dir / "conflux" / label)


def test_five_lose_three_and_come_back_from_two(start_cluster: Callable[..., Cluster]) -> None:
    cluster = start_cluster(5)
    appender = Appender(cluster, "a")
    appender.start()
    appender.await_more(100)
    acknowledged = appender.end()
    cluster_id = cluster.status()["cluster_id"]
    cluster.await_equal()
    lose(cluster, "n1", "n3", "n5")
    assert cluster.run("perform", "append", "no", "--timeout", "1").status == 4

    ran = cluster.run("recover")
    assert ran.status == 2 and "n1, n3, n5 are 3 of 5 voters" in ran.out and "nothing was changed" in ran.err
    ran = cluster.run("recover", "--yes")
    assert ran.status == 1 and "is open in process" in ran.err
    cluster.run("stop")
    ran = cluster.run("recover", "--yes", "--json")
    assert ran.status == 0, ran.err
    made = ran.json()

    cluster.start()
    cluster.await_equal()
    assert_each_once(cluster.state(), acknowledged)
    assert cluster.run("perform", "append", "on").status == 0
    status = cluster.status()
    assert status["cluster_id"] != cluster_id
    assert sorted(row["id"] for row in status["nodes"]) == sorted(node["id"] for node in made["nodes"])
    aside = Path(made["set_aside"])
    assert {path.name for path in aside.glob("*/")} == {"n2", "n4"}


def test_old_nodes_do_not_find_back_into_the_new_cluster(start_cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    cluster = start_cluster(3)
    assert cluster.run("perform", "append", "foo").status == 0
    cluster.await_equal()
    lose(cluster, "n1", "n2")
    cluster.run("stop")
    made = cluster.run("recover", "--yes", "--cluster-size", "1", "--json").json()
    (address,) = [row["endpoint"] for row in cluster.run("start", "--detach", "--json").lines()]
    (tmp_path / "old").mkdir()
    shutil.move(made["set_aside"], tmp_path / "old" / "conflux")
    old = Cluster(tmp_path / "old", 3)
    ran = old.run("start", "--detach", "--peer", address, "--timeout", "3")
    assert ran.status == 4, ran.out
    nodes = cluster.status()["nodes"]
    assert [(row["label"], row["healthy"]) for row in nodes] == [("n1", True)]
    assert cluster.state() == ["foo"]


def test_a_majority_that_is_left_is_not_recovered(start_cluster: Callable[..., Cluster]) -> None:
    cluster = start_cluster(3)
    assert cluster.run("perform", "append", "foo").status == 0
    lose(cluster, "n2")
    cluster.run("stop")
    ran = cluster.run("recover", "--yes")
    assert ran.status == 1 and "2 of 3 voters are left, which is a majority" in ran.err
    assert not [*cluster.data_dir.glob("conflux.*")]


def test_directories_from_elsewhere_become_a_cluster_here(
    start_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    cluster = start_cluster(3)
    assert cluster.run("perform", "append", "foo").status == 0
    cluster.await_equal()
    cluster.run("stop")
    shutil.copytree(cluster.data_dir / "conflux" / "n3", tmp_path / "survivor")
    other = Cluster(tmp_path / "other", 1)
    ran = other.run("recover", "--from", str(tmp_path / "survivor"), "--yes", "--json")
    assert ran.status == 0, ran.err
    assert ran.json()["set_aside"] is None
    other.start()
    assert other.state() == ["foo"]
    other.close()


def test_a_log_that_was_cut_is_exported_and_recovered_with_its_snapshot(
    start_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    cluster = start_cluster(3)
    for thing in "abc":
        assert cluster.run("perform", "append", thing).status == 0
        assert cluster.run("snapshot", "now").status == 0
    assert cluster.run("perform", "append", "d").status == 0
    rows = cluster.await_equal()
    assert all(row["first_index"] > 1 for row in rows)
    while True:  # the commit index reaches the disk when the node is idle
        ran = cluster.run("export", str(tmp_path / "history"), "--force", "--json")
        if ran.json()["last_index"] == rows[0]["last_index"]:
            break
    assert ran.json()["base_revision"] == 2
    ran = cluster.run("replay", str(tmp_path / "history"), "--expect-hash", rows[0]["state_hash"])
    assert ran.status == 0, ran.err

    lose(cluster, "n1", "n2")
    cluster.run("stop")
    ran = cluster.run("recover", "--yes", "--json")
    assert ran.status == 0, ran.err
    cluster.start()
    cluster.await_equal()
    assert [cluster.state("--at", str(revision)) for revision in (2, 3, 4)] == [[*"ab"], [*"abc"], [*"abcd"]]
    assert cluster.run("state", "--at", "1").err == (
        "error: revision 1 is compacted away: 2 to 4 can be looked at. "
        "What `start --archive` kept of older ones: conflux export --archive, then conflux replay.\n"
    )
    assert cluster.run("perform", "append", "e", "--json").json()["revision"] == 5
    assert cluster.run("snapshot", "now").status == 0
    cluster.run("stop")
    cluster.start()
    assert cluster.state() == [*"abcde"]
