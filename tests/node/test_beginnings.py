"""How a cluster on this machine begins: what each directory is, and what is done with it. Processes: tests/process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from conflux.discovery.local import KEY, LocalNode, Manifest, Runtime
from conflux.errors import AlreadyOpen, ConfluxError, Damaged, OptionsError, WrongDirectory
from conflux.node import beginnings
from conflux.node import directory as directories
from conflux.node.beginnings import Condition
from conflux.storage.interface import Storage
from conflux.storage.lmdb_storage import LmdbStorage
from conflux.storage.reader import LogReader
from conflux.transport.keys import ClusterKey
from tests.node.test_survivors import directory


def first(size: int | None, *, label: str | None = None, local: int | None = None) -> Manifest:
    return beginnings.first_manifest("test", size, None, Path("/"), label=label, local=local, insecure=False)


def labels(manifest: Manifest) -> list[str]:
    return [node.label for node in manifest.nodes]


def test_a_new_cluster_names_its_nodes_itself() -> None:
    assert labels(first(3)) == ["n1", "n2", "n3"]
    assert labels(first(3, label="n2")) == ["n1", "n2", "n3"]
    assert labels(first(3, label="web", local=1)) == ["web"]
    with pytest.raises(OptionsError, match="names them itself, not web"):
        first(3, label="web")


def test_a_part_of_a_cluster_is_named_by_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "my_host.example.org")
    assert all(label.startswith("my-host-") for label in labels(first(3, local=2)))


def test_a_size_is_needed_and_no_more_nodes_here_than_that() -> None:
    with pytest.raises(OptionsError, match="its size is not given"):
        first(None)
    with pytest.raises(OptionsError, match="4 nodes here are more than the 3"):
        first(3, local=4)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ((None, None, 2), "3 nodes of the cluster 'test' are on this machine, not 2"),
        ((5, None, None), "was formed with 3 nodes, not 5"),
        ((None, "other:app", None), "was formed with the app .*, not other:app"),
    ],
)
def test_what_is_there_is_not_started_as_something_else(
    asked: tuple[int | None, str | None, int | None], words: str
) -> None:
    with pytest.raises(WrongDirectory, match=words):
        beginnings.check_again(first(3), *asked)
    beginnings.check_again(first(3), 3, beginnings.DEFAULT_APP, 3)


def test_what_was_said_of_the_network_holds_until_something_else_is_said() -> None:
    def said(manifest: Manifest, **more: object) -> Manifest:
        nothing = {"peers": (), "mdns": None, "bind": None, "advertise": None}
        return beginnings.with_network(manifest, **{**nothing, **more})  # type: ignore[arg-type]

    before = said(first(3), peers=("192.0.2.1:7420",), mdns=False, advertise="example.org")
    assert said(before) == before
    assert said(before, bind="0.0.0.0:7420").advertise is None
    with pytest.raises(OptionsError, match=r"nobody can dial 0\.0\.0\.0:7420"):
        said(before, peers=("0.0.0.0:7420",))


def of(*names: str, made: bool = True) -> Manifest:
    nodes = tuple(LocalNode(label=name, identity=name.encode().hex().rjust(32, "0"), made=made) for name in names)
    return replace(first(len(names)), nodes=nodes)


def mark(path: Path, write: Callable[[Storage], None]) -> None:
    storage = LmdbStorage.open(path, create=False)
    write(storage)
    storage.close()


def test_all_that_stands_still_is_started(tmp_path: Path) -> None:
    for label in "ab":
        directory(tmp_path, label, proposal=None)
    start, left = beginnings.to_start(of("a", "b"), tmp_path, None)
    assert ([node.label for node in start], left) == (["a", "b"], [])
    with pytest.raises(OptionsError, match="there is no node c here"):
        beginnings.to_start(of("a", "b"), tmp_path, "c")


def test_before_a_cluster_has_formed_a_directory_that_is_missing_is_made(tmp_path: Path) -> None:
    directory(tmp_path, "a", proposal=None)
    start, left = beginnings.to_start(of("a", "b", made=False), tmp_path, None)
    assert ([node.label for node in start], left) == (["a", "b"], [])


def test_once_it_has_formed_a_directory_that_is_missing_or_empty_is_left_alone(tmp_path: Path) -> None:
    directory(tmp_path, "a")
    (tmp_path / "c").mkdir()
    start, left = beginnings.to_start(of("a", "b", "c"), tmp_path, None)
    assert [node.label for node in start] == ["a"]
    assert [line.split(": ")[1].split(" is ")[1].split(".")[0] for line in left] == ["missing", "empty"]
    with pytest.raises(ConfluxError, match="no node can be started: b is not started"):
        beginnings.to_start(of("a", "b", "c"), tmp_path, "b")


def test_a_node_that_came_later_is_lost_with_its_directory_and_made_where_there_was_none(tmp_path: Path) -> None:
    directory(tmp_path, "a")
    manifest = of("a")
    for made, count in ((False, 2), (True, 1)):
        late = LocalNode(label="b", identity="b" * 32, join="", made=made)
        assert len(beginnings.to_start(manifest.with_node(late), tmp_path, None)[0]) == count


def test_a_node_that_was_removed_is_never_started(tmp_path: Path) -> None:
    for label in "ab":
        directory(tmp_path, label)
    mark(tmp_path / "b", directories.record_removed)
    start, left = beginnings.to_start(of("a", "b"), tmp_path, None)
    assert [node.label for node in start] == ["a"]
    assert "it was removed from the cluster for good" in left[0]
    with pytest.raises(ConfluxError, match="no node can be started: b is not started"):
        beginnings.to_start(of("a", "b"), tmp_path, "b")


def test_nodes_that_run_are_not_started_again(tmp_path: Path) -> None:
    for label in "ab":
        directory(tmp_path, label)
    running = LmdbStorage.open(tmp_path / "a", create=False)
    try:
        assert beginnings.condition_of(tmp_path / "a") is Condition.RUNNING
        assert [node.label for node in beginnings.to_start(of("a", "b"), tmp_path, None)[0]] == ["b"]
        with pytest.raises(AlreadyOpen, match="already running: node a"):
            beginnings.to_start(of("a", "b"), tmp_path, "a")
        with pytest.raises(AlreadyOpen, match="already running: all its nodes"):
            beginnings.to_start(of("a"), tmp_path, None)
    finally:
        running.close()


def test_a_directory_that_can_not_be_asked_counts_as_formed_and_not_as_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = directory(tmp_path, "a", proposal=None)
    assert not beginnings.is_formed(path)

    def unreadable(_reader: LogReader) -> dict[str, bytes]:
        raise Damaged("a page is damaged")

    monkeypatch.setattr(LogReader, "facts", unreadable)
    assert beginnings.is_formed(path) and not beginnings.is_removed(path)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "data.mdb").write_bytes(b"no log")
    assert beginnings.is_formed(tmp_path / "b") and not beginnings.is_removed(tmp_path / "b")


def test_a_clusters_key_is_made_once_and_no_other_is_taken(tmp_path: Path) -> None:
    kept = beginnings.key_for(first(3), tmp_path, None)
    assert kept == tmp_path / KEY and kept.exists()
    content = kept.read_bytes()
    assert beginnings.key_for(first(3), tmp_path, None) == kept and kept.read_bytes() == content
    assert beginnings.key_for(first(3), tmp_path, kept) == kept
    ClusterKey.generate().save(tmp_path / "other.key")
    with pytest.raises(WrongDirectory, match="has another key than"):
        beginnings.key_for(first(3), tmp_path, tmp_path / "other.key")


def test_a_key_that_is_given_is_kept_and_a_cluster_without_one_has_none(tmp_path: Path) -> None:
    ClusterKey.generate().save(tmp_path / "given.key")
    (tmp_path / "new").mkdir()
    kept = beginnings.key_for(first(3), tmp_path / "new", tmp_path / "given.key")
    assert kept is not None and ClusterKey.load(kept) == ClusterKey.load(tmp_path / "given.key")
    assert beginnings.key_for(replace(first(3), insecure=True), tmp_path, None) is None


def test_whose_directories_are_made_is_written_down() -> None:
    made = beginnings.with_made(of("a", "b", made=False), {"b"})
    assert [node.made for node in made.nodes] == [False, True]


def test_where_a_node_runs_is_what_it_wrote_down(tmp_path: Path) -> None:
    assert beginnings.running_address(tmp_path) is None
    Runtime(pid=1, endpoint="127.0.0.1:7420", label="a", identity="a" * 32).save(tmp_path)
    assert beginnings.running_address(tmp_path) == "127.0.0.1:7420"
