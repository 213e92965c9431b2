"""Backups, exports and looks into the past, of real clusters at work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from conflux import Client
from conflux.errors import Unreachable
from tests.process.cluster import Cluster
from tests.process.test_kill import Appender, assert_each_once

OTHER_APP = """
import conflux
from conflux.apps.list import app as right


def reduce(state, action):
    return right.reduce(state, {**action, "thing": "x"} if action else None)


app = conflux.App(dict(right.methods), reduce, name="list")
"""


def restored(cluster: Cluster, file: Path, tmp_path: Path, size: int = 1) -> Cluster:
    """A cluster made from a file, running."""
    other = Cluster(tmp_path / "restored", size)
    ran = other.run("snapshot", "restore", str(file), "--cluster-size", str(size), "--json")
    assert ran.status == 0, ran.err
    assert [node["label"] for node in ran.json()["nodes"]] == [f"n{number}" for number in range(1, size + 1)]
    other.start()
    return other


def test_a_backup_under_load_holds_what_was_acknowledged_before(
    start_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    cluster = start_cluster(3)
    appender = Appender(cluster, "a")
    appender.start()
    appender.await_more(100)
    before = [*appender.acknowledged]
    ran = cluster.run("snapshot", "save", str(tmp_path / "backup"), "--json")
    appender.await_more(20)
    acknowledged = appender.end()
    assert ran.status == 0, ran.err
    other = restored(cluster, tmp_path / "backup", tmp_path, 3)
    try:
        state = other.state()
        assert len(state) == ran.json()["revision"]
        assert_each_once(state, before)
        assert state == cluster.state()[: len(state)] and set(acknowledged) <= set(cluster.state())
        assert other.run("perform", "append", "on", "--json").json()["revision"] == len(state) + 1
        assert other.status()["cluster_id"] != cluster.status()["cluster_id"]
        other.await_equal()
    finally:
        other.close()


def test_a_restored_cluster_of_one_grows(start_cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    cluster = start_cluster(1)
    assert cluster.run("perform", "append", "foo").status == 0
    assert cluster.run("snapshot", "save", str(tmp_path / "backup")).status == 0
    other = restored(cluster, tmp_path / "backup", tmp_path)
    try:
        token = other.run("members", "add", "--json")
        assert token.status == 0, token.err
        ran = other.run("start", "--join", token.json()["token"], "--id", "n2", "--detach", "--json")
        assert ran.status == 0, ran.err
        other.pids |= {row["label"]: row["pid"] for row in ran.lines()}
        other.size = 2
        other.await_equal()
        assert other.state("--node", "n2") == ["foo"]
    finally:
        other.close()


def test_a_node_that_dies_while_it_is_saved_is_said(start_cluster: Callable[..., Cluster]) -> None:
    cluster = start_cluster(1)
    with Client(data_dir=cluster.data_dir) as client:
        for number in range(20):
            client.perform("append", chr(97 + number) * 200_000, timeout=20)
        backup = client.back_up(timeout=20)
        chunks = backup.chunks(timeout=1)
        assert next(chunks)
        cluster.kill("n1")
        with pytest.raises(Unreachable, match="answers no longer"):
            list(chunks)


def test_nothing_is_written_over(start_cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    cluster = start_cluster(1)
    (tmp_path / "backup").write_text("mine")
    for command in (("snapshot", "save"), ("export",)):
        ran = cluster.run(*command, str(tmp_path / "backup"))
        assert ran.status == 1 and "is there already" in ran.err and len(ran.err.splitlines()) == 1
    assert (tmp_path / "backup").read_text() == "mine"
    assert cluster.run("snapshot", "save", str(tmp_path / "backup"), "--force").status == 0
    ran = cluster.run("snapshot", "restore", str(tmp_path / "backup"))
    assert ran.status == 1 and "there is a cluster 'conflux'" in ran.err


def test_a_damaged_backup_makes_no_cluster(start_cluster: Callable[..., Cluster], tmp_path: Path) -> None:
    cluster = start_cluster(1)
    assert cluster.run("snapshot", "save", str(tmp_path / "backup")).status == 0
    whole = (tmp_path / "backup").read_bytes()
    (tmp_path / "backup").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    other = Cluster(tmp_path / "other", 1)
    ran = other.run("snapshot", "restore", str(tmp_path / "backup"))
    assert ran.status == 1 and "does not match its checksum" in ran.err and len(ran.err.splitlines()) == 1
    assert not [*(tmp_path / "other").glob("*")]


def test_an_export_beside_the_running_node_replays_to_the_state_of_the_cluster(
    start_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    cluster = start_cluster(3)
    for number in range(10):
        assert cluster.run("perform", "append", str(number)).status == 0
    row = next(row for row in cluster.await_equal() if row["label"] == "n1")
    while True:  # the commit index reaches the disk when the node is idle
        ran = cluster.run("export", str(tmp_path / "history"), "--node", "n1", "--force", "--json")
        if ran.json()["last_index"] == row["last_index"]:
            break
    file = str(tmp_path / "history")
    ran = cluster.run("replay", file, "--expect-hash", row["state_hash"], "--json")
    assert ran.status == 0, ran.err
    assert (ran.json()["revision"], ran.json()["state_hash"]) == (10, row["state_hash"])
    (tmp_path / "other_app.py").write_text(OTHER_APP)
    other = ("--app", "other_app:app", "--app-dir", str(tmp_path))
    ran = cluster.run("replay", file, "--expect-hash", row["state_hash"], *other)
    assert ran.status == 1 and "revision 10 has the hash" in ran.err
    ran = cluster.run("snapshot", "restore", file, "--cluster", "new")
    assert ran.status == 1 and "is not a saved snapshot" in ran.err


def test_the_state_at_a_revision_over_a_restart(start_cluster: Callable[..., Cluster]) -> None:
    cluster = start_cluster(3)
    for thing in "abc":
        assert cluster.run("perform", "append", thing).status == 0
    cluster.run("stop")
    cluster.start()
    assert [cluster.state("--at", str(revision)) for revision in range(4)] == [[], ["a"], ["a", "b"], ["a", "b", "c"]]
    ran = cluster.run("state", "--diff", "1:3")
    assert ran.out.splitlines() == ['+ [1] "b"', '+ [2] "c"']
    assert cluster.run("state", "--diff", "3:1", "--json").json()["removed"][0] == {"path": [1], "value": "b"}
    ran = cluster.run("state", "--at", "4")
    said = "error: revision 4 is not there yet: the newest is 3. Ask for one that was committed.\n"
    assert ran.status == 1 and ran.err == said == cluster.run("state", "--diff", "1:4").err


BAG_APP = """
import conflux

class Bag:
    def __init__(self, things):
        self.things = things

app = conflux.App(name="bag")

@app.method
def add(state, thing):
    return {"thing": thing}

@app.reducer
def reduce(state, action):
    return Bag([*state.things, action["thing"]] if action else [])

@app.dumper
def dump(state):
    return {"things": state.things}

@app.loader
def load(value):
    return Bag(value["things"]LOST)
"""


def test_a_state_of_the_apps_own_goes_through_backups_the_past_and_replays(
    start_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    (tmp_path / "bag.py").write_text(BAG_APP.replace("LOST", ""))
    app = ("--app", "bag:app", "--app-dir", str(tmp_path))
    cluster = start_cluster(3, *app)
    for thing in ("x", "y"):
        assert cluster.run("perform", "add", thing).status == 0
    assert cluster.state() == {"things": ["x", "y"]} and cluster.state("--at", "1") == {"things": ["x"]}
    cluster.await_equal()
    assert cluster.run("snapshot", "save", str(tmp_path / "backup")).status == 0
    other = Cluster(tmp_path / "restored", 1, *app)
    try:
        ran = other.run("snapshot", "restore", str(tmp_path / "backup"), *app)
        assert ran.status == 0, ran.err
        other.start()
        assert other.run("perform", "add", "z").status == 0
        assert other.state() == {"things": ["x", "y", "z"]}
        assert other.run("export", str(tmp_path / "history")).status == 0
        ran = other.run("replay", str(tmp_path / "history"), *app, "--json")
        assert ran.status == 0 and ran.json()["revision"] >= 2, ran.err
        assert other.run("stop").status == 0
        (tmp_path / "bag.py").write_text(BAG_APP.replace("LOST", "[:1]"))
        ran = other.run("start", "--detach")
        assert ran.status == 1 and len(ran.err.splitlines()) == 1, ran.err
        assert "the app's load does not bring back what its dump gave" in ran.err
        (tmp_path / "bag.py").write_text(BAG_APP.replace("LOST", ""))
        other.start()
        assert other.state() == {"things": ["x", "y", "z"]}
    finally:
        other.close()
