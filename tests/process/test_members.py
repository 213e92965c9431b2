"""Members that come and go while a client appends: with real processes, as a user types it."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conflux import Client
from conflux.discovery.local import Manifest
from conflux.node.beginnings import is_removed
from tests.process.cluster import DEADLINE_S, Cluster, conflux
from tests.process.rows import row
from tests.process.test_kill import Appender, assert_each_once


def members(cluster: Cluster) -> dict[str, str]:
    """Standing by label."""
    rows = cluster.run("members", "list", "--json").json()["members"]
    return {row["label"]: row["standing"] for row in rows}


def await_voters(cluster: Cluster, *labels: str) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while (found := members(cluster)) != dict.fromkeys(labels, "voter"):
        assert time.monotonic() < deadline_s, found
    cluster.size = len(labels)


def join(cluster: Cluster, token: str, *options: str) -> str:
    """Start one more node; gives its label."""
    ran = cluster.run("start", "--join", token, "--detach", "--json", *options)
    assert ran.status == 0, ran.err
    (row,) = ran.lines()
    cluster.pids[row["label"]] = row["pid"]
    return str(row["label"])


def done(cluster: Cluster, *arguments: str) -> str:
    """Run a command that succeeds; what it prints."""
    ran = cluster.run(*arguments)
    assert ran.status == 0, ran.err
    return ran.out


@pytest.fixture
def appending() -> Iterator[Callable[[Cluster], Appender]]:
    """Begins to append to a cluster; it ends with the test at the latest."""
    appenders: list[Appender] = []

    def begin(cluster: Cluster) -> Appender:
        appenders.append(Appender(cluster, "m"))
        appenders[-1].start()
        return appenders[-1]

    yield begin
    for appender in appenders:
        appender.end()


@row("nodes of the cluster, and a token", "the same, and `--join wait`")
def test_a_cluster_grows_from_1_to_5_and_shrinks_under_load_and_a_kill(
    start_cluster: Callable[..., Cluster], appending: Callable[[Cluster], Appender]
) -> None:
    cluster = start_cluster(1)
    appender = appending(cluster)
    for number in (2, 3):
        assert join(cluster, done(cluster, "members", "add").strip()) == f"n{number}"
        await_voters(cluster, *(f"n{each}" for each in range(1, number + 1)))
    for number in (4, 5):
        assert join(cluster, "wait") == f"n{number}"
        assert done(cluster, "members", "add", f"n{number}") == f"n{number} is a voter.\n"
    await_voters(cluster, "n1", "n2", "n3", "n4", "n5")
    victim = cluster.leader()
    cluster.kill(victim)
    appender.await_more(20)
    done(cluster, "start", "--cluster-size", "1", "--detach")  # that at formation is still accepted
    leader = cluster.leader()
    others = [label for label in ("n5", "n4", "n3", "n2", "n1") if label != leader]
    for label in (leader, others[0], others[1]):
        assert done(cluster, "members", "remove", label) == f"{label} is no member any more.\n"
        appender.await_more(5)
    assert members(cluster) == dict.fromkeys(sorted(others[2:]), "voter")
    acknowledged = appender.end()
    assert_each_once(cluster.state(), acknowledged)
    assert appender.unknown == []


@row("a node that was removed from the cluster", "the label of a node that was removed, and its directory")
def test_a_removed_node_says_what_it_is_and_its_directory_is_destroyed(start_cluster: Callable[..., Cluster]) -> None:
    cluster = start_cluster(1)
    join(cluster, "wait")
    done(cluster, "members", "add", "n2", "--learner")
    assert members(cluster) == {"n1": "voter", "n2": "learner"}
    assert done(cluster, "members", "promote", "n2") == "n2 is a voter.\n"
    done(cluster, "members", "remove", "n2")
    deadline_s = time.monotonic() + DEADLINE_S
    while not is_removed(cluster.data_dir / "conflux" / "n2"):
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    done(cluster, "stop", "--id", "n2")
    ran = cluster.run("start", "--id", "n2", "--detach")
    assert ran.status == 1 and "n2 is not started: it was removed from the cluster for good" in ran.err
    assert "conflux destroy --node n2 --yes" in ran.err
    ran = cluster.run("start", "--join", "wait", "--id", "n2", "--detach")
    assert ran.status == 1 and "n2 was removed from the cluster for good" in ran.err
    done(cluster, "destroy", "--node", "n2", "--yes")
    done(cluster, "stop")
    ran = cluster.run("start", "--detach")
    assert (ran.status, ran.err.count("n2")) == (0, 0)


@row("a node that was removed from the cluster, and its directory is gone")
def test_a_founder_that_was_removed_while_it_was_down_is_not_missed(start_cluster: Callable[..., Cluster]) -> None:
    cluster = start_cluster(4)
    for label in ("n3", "n4"):
        done(cluster, "stop", "--id", label)
        done(cluster, "members", "remove", label)
        assert not is_removed(cluster.data_dir / "conflux" / label)  # it has not heard of that
    done(cluster, "destroy", "--node", "n4", "--yes")
    assert labels_of_the_manifest(cluster) == ["n1", "n2", "n3"]
    shutil.rmtree(cluster.data_dir / "conflux" / "n3")
    done(cluster, "stop")
    ran = cluster.run("start", "--detach")
    assert (ran.status, ran.err.count("n3"), ran.err.count("n4")) == (0, 0, 0), ran.err
    assert labels_of_the_manifest(cluster) == ["n1", "n2"]
    await_voters(cluster, "n1", "n2")


def labels_of_the_manifest(cluster: Cluster) -> list[str]:
    manifest = Manifest.load(cluster.data_dir / "conflux")
    assert manifest is not None
    return [node.label for node in manifest.nodes]


@row("a founder's label, whose directory is lost")
def test_a_wiped_node_is_replaced_by_a_new_one_under_its_label(
    start_cluster: Callable[..., Cluster], appending: Callable[[Cluster], Appender]
) -> None:
    cluster = start_cluster(3)
    appender = appending(cluster)
    appender.await_more(20)
    cluster.kill("n2")
    shutil.rmtree(cluster.data_dir / "conflux" / "n2")
    ran = cluster.run("start", "--detach")
    assert ran.status == 1 and "conflux start --join wait --id n2" in ran.err
    assert join(cluster, "wait", "--id", "n2") == "n2"
    assert done(cluster, "members", "replace", "n2") == "n2 is replaced.\n"
    await_voters(cluster, "n1", "n2", "n3")
    acknowledged = appender.end()
    cluster.await_equal()
    assert_each_once(cluster.state(), acknowledged)


@row("nothing, and `--key FILE`", "the node that came with this very token")
def test_a_node_joins_from_elsewhere_with_the_key_and_an_address(
    start_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    cluster = start_cluster(1, "--bind", "127.0.0.1")
    done(cluster, "perform", "append", "kept")
    token = done(cluster, "members", "add").strip()
    peer = cluster.status()["nodes"][0]["endpoint"]
    elsewhere = Cluster(tmp_path / "elsewhere", 2)
    key = str(cluster.data_dir / "conflux" / "cluster.key")
    try:
        label = join(elsewhere, token, "--key", key, "--peer", peer, "--bind", "127.0.0.1", "--id", "web")
        await_voters(cluster, "n1", label)
        done(elsewhere, "stop")
        done(elsewhere, "start", "--detach", "--peer", peer, "--bind", "127.0.0.1")  # without a word of joining
        elsewhere.size = 2
        elsewhere.await_equal()
        done(elsewhere, "stop")
        done(elsewhere, "start", "--join", token, "--detach")  # a service file says it again
        rows = elsewhere.await_equal()
        assert [row["label"] for row in rows] == ["n1", "web"]
        assert conflux("state", "--node", "web", data_dir=elsewhere.data_dir).out == '["kept"]\n'
    finally:
        elsewhere.close()


def test_a_leader_that_is_stopped_hands_over_first(
    start_cluster: Callable[..., Cluster], appending: Callable[[Cluster], Appender]
) -> None:
    cluster = start_cluster(3)
    appender = appending(cluster)
    appender.await_more(20)
    before, old = cluster.status(), cluster.leader()
    os.kill(cluster.pids[old], signal.SIGTERM)
    appender.await_more(20)
    after = cluster.status()
    assert cluster.leader() != old
    assert after["term"] == before["term"] + 1
    acknowledged = appender.end()
    assert appender.unknown == []
    assert_each_once(cluster.state(), acknowledged)


def test_leadership_goes_where_it_is_told_to(start_cluster: Callable[..., Cluster]) -> None:
    cluster = start_cluster(3)
    for label in ("n2", "n3", "n3"):
        assert done(cluster, "transfer-leadership", label).startswith(f"{label} leads in term ")
    assert cluster.leader() == "n3"
    done(cluster, "transfer-leadership")
    assert cluster.leader() != "n3"
    ran = cluster.run("transfer-leadership", "n9")
    assert ran.status == 2 and "there is no node 'n9'" in ran.err


def test_a_watch_from_what_is_compacted_away_begins_with_the_state(start_cluster: Callable[..., Cluster]) -> None:
    cluster = start_cluster(3)
    for thing in ("a", "b", "c"):
        done(cluster, "perform", "append", thing)
        done(cluster, "snapshot", "now")
    done(cluster, "perform", "append", "d")
    with Client(data_dir=cluster.data_dir) as client:
        watched = client.watch(1)
        gap = next(watched)
        assert gap.gap and gap.revision is not None
        assert gap.state == ["a", "b", "c", "d"][: gap.revision]
        client.perform("append", "e", timeout=10)
        rest: list[Any] = [next(watched).action["thing"] for _ in range(5 - gap.revision)]
        assert rest == ["a", "b", "c", "d", "e"][gap.revision :]
