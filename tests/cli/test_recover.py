"""`recover`, `export`, `replay` and the options of `state`, as far as they need no running node."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from conflux.discovery.local import Manifest
from conflux.storage.lock import DirectoryLock
from conflux.transport.keys import ClusterKey
from tests.cli.running import Ran, conflux
from tests.node.test_survivors import directory


def run(data_dir: Path, *arguments: str) -> Ran:
    return conflux(*arguments, CONFLUX_DATA_DIR=str(data_dir))


@pytest.fixture
def two_of_five(tmp_path: Path) -> Path:
    """What is left of a cluster of five."""
    for label, terms in (("b", (1, 1, 2)), ("d", (1, 1))):
        directory(tmp_path / "conflux", label, *terms, app="list")
    return tmp_path


def contents(place: Path) -> dict[str, bytes]:
    return {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("data.mdb")}


def test_without_yes_nothing_is_changed(two_of_five: Path):
    before = contents(two_of_five)
    ran = run(two_of_five, "recover")
    assert ran.status == 2 and "nothing was changed" in ran.err
    assert "The most advanced is b" in ran.out and "a, c, e are 3 of 5 voters" in ran.out
    assert contents(two_of_five) == before


def test_the_findings_as_json(two_of_five: Path):
    found = run(two_of_five, "recover", "--json").json
    assert [(each["label"], each["last_index"], each["last_term"]) for each in found["survivors"]] == [
        ("b", 3, 2),
        ("d", 2, 1),
    ]
    assert (found["most_advanced"], found["complete"]) == ("b", False)
    assert [each["label"] for each in found["lost"]] == ["a", "c", "e"]


def test_a_new_cluster_stands_in_the_place_of_the_old_one_which_is_set_aside(two_of_five: Path):
    before = contents(two_of_five / "conflux")
    made = run(two_of_five, "recover", "--yes", "--cluster-size", "3", "--json").json
    manifest = Manifest.load(two_of_five / "conflux")
    assert manifest is not None and manifest.size == 3
    assert [node.identity for node in manifest.nodes] == [node["id"] for node in made["nodes"]]
    assert contents(Path(made["set_aside"])) == before
    assert (two_of_five / "conflux" / "cluster.key").exists()
    again = run(two_of_five, "recover", "--yes")
    assert again.status == 1 and "3 of 3 voters are left" in again.err


def test_the_key_may_be_given(two_of_five: Path):
    ClusterKey.generate().save(two_of_five / "own.key")
    assert run(two_of_five, "recover", "--yes", "--key", str(two_of_five / "own.key")).status == 0
    assert ClusterKey.load(two_of_five / "conflux" / "cluster.key") == ClusterKey.load(two_of_five / "own.key")


def test_a_cluster_without_a_key_stays_so(two_of_five: Path):
    manifest = Manifest(cluster="conflux", size=5, app="conflux.apps.list:app", app_dir="/", insecure=True)
    manifest.save(two_of_five / "conflux")
    assert run(two_of_five, "recover", "--yes", "--cluster-size", "1").status == 0
    assert not (two_of_five / "conflux" / "cluster.key").exists()


def test_directories_in_use_are_left_alone(two_of_five: Path):
    lock = DirectoryLock.acquire(two_of_five / "conflux" / "d")
    ran = run(two_of_five, "recover", "--yes")
    lock.release()
    assert ran.status == 1 and "is open in process" in ran.err
    assert [path.name for path in two_of_five.iterdir()] == ["conflux"]


def test_another_app_is_refused_before_anything_is_changed(tmp_path: Path):
    directory(tmp_path / "conflux", "b", 1)
    ran = run(tmp_path, "recover", "--yes")
    assert ran.status == 1 and "the state is of the app things, version 1" in ran.err
    assert [path.name for path in tmp_path.iterdir()] == ["conflux"]


def test_a_recovery_that_died_between_its_last_steps_is_said(two_of_five: Path):
    run(two_of_five, "recover", "--yes")
    (aside,) = two_of_five.glob("conflux.before-*")
    shutil.rmtree(two_of_five / "conflux")
    ran = run(two_of_five, "recover")
    assert ran.status == 1 and f"mv {aside} {two_of_five / 'conflux'}" in ran.err


def test_nothing_to_recover_is_one_line(tmp_path: Path):
    ran = run(tmp_path, "recover")
    assert ran.status == 1 and len(ran.err.splitlines()) == 1 and "no directory can be read" in ran.err
    assert ran.err.endswith("Name those that are left: conflux recover --from DIR, once for each.\n")


@pytest.mark.parametrize("command", [("replay",), ("snapshot", "inspect"), ("snapshot", "restore")])
def test_a_file_that_is_not_ours_is_said_to_be_that(tmp_path: Path, command: tuple[str, ...]):
    (tmp_path / "shopping.txt").write_text("tea\nmilk\nbread\n")
    ran = run(tmp_path / "data", *command, str(tmp_path / "shopping.txt"))
    assert (ran.status, ran.err) == (
        1,
        f"error: {tmp_path}/shopping.txt was not written by Conflux. Name a file that a `conflux` command wrote.\n",
    )


def test_nothing_to_export_is_one_line(tmp_path: Path):
    ran = run(tmp_path, "export", str(tmp_path / "a"))
    assert ran.status == 1 and len(ran.err.splitlines()) == 1 and "no node's log is in" in ran.err


def test_the_node_that_reaches_furthest_is_exported(tmp_path: Path):
    for label, commit in (("a", 1), ("b", 3), ("c", 2)):
        directory(tmp_path / "conflux", label, 1, 1, 1, commit=commit, app="list")
    made = run(tmp_path, "export", str(tmp_path / "a.log"), "--json").json
    assert (made["node"], made["first_index"], made["last_index"]) == ("b", 1, 3)
    made = run(tmp_path, "export", str(tmp_path / "b.log"), "--json", "--node", "c").json
    assert (made["node"], made["last_index"]) == ("c", 2)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("replay", "/dev/null", "--expect-hash", "abc"), "is no hash of a state"),
        (("state", "--at", "1", "--diff", "1:2"), "exclude each other"),
        (("state", "--at", "1", "--consistency", "local"), "exclude each other"),
        (("state", "--diff", "1-2"), "does not name two revisions"),
        (("state", "--at", "-1"), "--at"),
        (("snapshot", "restore", "a", "--cluster-size", "10"), "10"),
    ],
)
def test_wrong_usage(tmp_path: Path, arguments: Any, says: str):
    (tmp_path / "a").touch()
    ran = conflux(*arguments, CONFLUX_DATA_DIR=str(tmp_path), cwd=tmp_path)
    assert ran.status == 2 and says in ran.err
