"""`conflux.Conflux(archive=...)`: real nodes on real disks, whose logs are cut because they grew."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import conflux
from conflux.errors import Damaged, DirectoryError, OptionsError, WrongDirectory
from conflux.node import embedding
from conflux.node.options import NodeOptions
from tests.cli.running import Ran
from tests.cli.running import conflux as run
from tests.node.test_embedded import SECONDS_MAX, Open, perform, until

CALLS = 100  # of 1 kB: more than lies between two points at which a snapshot may be taken

app: conflux.App[Any, Any] = conflux.App(name="counter")


@app.method
def count(state: int, padding: str) -> Any:
    return {"type": "count", "padding": padding}


@app.reducer
def reduce(state: int | None, action: Any) -> int:
    return (state or 0) + bool(action)


class Place:
    """Opens nodes whose logs are cut soon, in one place on disk."""

    def __init__(self, root: Path, opened: Open) -> None:
        self.data_dir = root / "data"
        self.archive = root / "archive"
        self._opened = opened

    def node(self, label: str = "a", **options: Any) -> conflux.Conflux:
        """One of a cluster of its own; it has the archive, but where another one is named."""
        channel = {"name": "memory", "hub": uuid4().hex}
        here = {"cluster_size": 1, "channel": channel, "data_dir": self.data_dir, "archive": self.archive}
        return self._opened.node(app, id=label, **here | options)

    def command(self, *arguments: str) -> Ran:
        return run(*arguments, CONFLUX_DATA_DIR=str(self.data_dir))

    def history(self, file: Path) -> tuple[int, int]:
        """First and last index of what archive and log hold together."""
        ran = self.command("export", str(file), "--archive", str(self.archive), "--json", "--force")
        assert ran.status == 0, ran.err
        return ran.json["first_index"], ran.json["last_index"]

    def inspected(self) -> Any:
        ran = self.command("inspect-archive", str(self.archive), "--json")
        assert ran.status == 0, ran.err
        return ran.json


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    monkeypatch.setattr(embedding, "NodeOptions", partial(NodeOptions, snapshot_entries=10, snapshot_bytes=1000))
    opened = Open()
    yield Place(tmp_path, opened)
    opened.close()


def grow(node: conflux.Conflux) -> None:
    """Perform until the log is cut once more."""
    before = row(node)["first_index"]
    while row(node)["first_index"] == before:
        for future in [node.submit("count", "x" * 1000) for _ in range(CALLS)]:
            future.result(SECONDS_MAX)


def row(node: conflux.Conflux) -> dict[str, Any]:
    until(lambda: node.status()["node"]["first_index"] is not None)
    found: dict[str, Any] = node.status()["node"]
    return found


def test_the_archive_and_the_log_hold_the_whole_history(place: Place, tmp_path: Path) -> None:
    node = place.node()
    grow(node)
    shown, revision = row(node), node.get_state("linearizable", timeout=SECONDS_MAX)
    assert shown["archive"]["directory"] == str(place.archive / "a") and shown["archive"]["problem"] is None
    until(lambda: row(node)["archive"]["last_index"] >= row(node)["first_index"] - 1)
    until(lambda: place.history(tmp_path / "log") == (1, row(node)["last_index"]))  # the commit index is on disk
    ran = place.command("replay", str(tmp_path / "log"), "--app", "tests.node.test_embedded_archive:app", "--json")
    assert ran.json["revision"] == revision >= CALLS
    found = place.inspected()
    assert (found["label"], found["id"], found["gaps"]) == ("a", shown["id"], [])


def test_a_node_that_is_opened_again_goes_on_in_its_archive(place: Place, tmp_path: Path) -> None:
    node = place.node()
    grow(node)
    node.close()
    before = place.inspected()["runs"][0]["last_index"]
    node = place.node()
    grow(node)
    node.close()
    (found,) = place.inspected()["runs"]
    assert (found["first_index"], found["base_revision"]) == (1, None) and found["last_index"] > before
    assert place.history(tmp_path / "log")[0] == 1


def test_a_node_without_the_keyword_has_no_archive_and_cuts_as_ever(place: Place) -> None:
    node = place.node(archive=None)
    grow(node)
    assert row(node)["archive"] is None and not place.archive.exists()


def test_the_archive_of_another_node_is_refused_and_stays_as_it_is(place: Place, tmp_path: Path) -> None:
    node = place.node()
    identity = row(node)["id"]
    node.close()
    owner = (place.archive / "a" / "archive.json").read_bytes()
    with pytest.raises(WrongDirectory, match=rf"is that of the node a \({identity[:8]}\) .* which is not this one"):
        place.node(data_dir=tmp_path / "other")
    assert [path.name for path in (place.archive / "a").iterdir()] == ["archive.json"]
    assert (place.archive / "a" / "archive.json").read_bytes() == owner
    other = place.node(data_dir=tmp_path / "other", archive=tmp_path / "its own")  # nobody holds what was opened
    assert row(other)["archive"]["directory"] == str(tmp_path / "its own" / "a")
    assert perform(place.node(), "count", "x")


def test_nodes_of_one_cluster_share_a_place(place: Place) -> None:
    channel = {"name": "memory", "hub": uuid4().hex}
    nodes = [place.node(label, cluster_size=3, channel=channel) for label in "abc"]
    for node in nodes:
        grow(node)
    ran = place.command("inspect-archive", str(place.archive), "--json")
    assert [(each["label"], each["gaps"]) for each in ran.lines] == [("a", []), ("b", []), ("c", [])]


def test_an_archive_that_is_gone_is_not_begun_anew_unawares(place: Place, tmp_path: Path) -> None:
    place.node().close()
    place.archive.rename(tmp_path / "unmounted")
    for _ in range(2):
        with pytest.raises(WrongDirectory, match="is not there") as caught:
            place.node()
        assert "Mount its disk" in caught.value.hint and not place.archive.exists()
    (tmp_path / "unmounted").rename(place.archive)
    assert perform(place.node(), "count", "x")


def test_an_archive_is_begun_where_another_place_was_named_before_or_none(place: Place, tmp_path: Path) -> None:
    node = place.node(archive=None)
    grow(node)
    node.close()
    node = place.node()
    grow(node)
    node.close()
    (found,) = place.inspected()["runs"]
    assert found["first_index"] > 1 and found["base_revision"] > 0  # it begins with the state that the log began with
    place.node(archive=tmp_path / "new").close()
    assert (tmp_path / "new" / "a" / "archive.json").exists()
    place.archive.rename(tmp_path / "away")
    place.node().close()
    assert (place.archive / "a" / "archive.json").exists()
    place.node(archive=None).close()
    place.archive.rename(tmp_path / "away too")
    place.node().close()
    assert (place.archive / "a" / "archive.json").exists()


def test_a_relative_place_is_the_same_from_everywhere(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    node = place.node(archive="archive")
    monkeypatch.chdir("/")
    grow(node)
    node.close()
    node = place.node(archive=place.archive)
    assert row(node)["archive"]["directory"] == str(place.archive / "a")
    assert [run["first_index"] for run in place.inspected()["runs"]] == [1]


def test_places_that_can_not_be_an_archive_are_refused(place: Place, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "full" / "a").mkdir(parents=True)
    (tmp_path / "full" / "a" / "mine").write_text("")
    (tmp_path / "odd" / "a").mkdir(parents=True)
    (tmp_path / "odd" / "a" / "archive.json").write_text("[]")
    refused: list[tuple[Path, type[Exception], str]] = [
        (tmp_path / "file" / "deeper", DirectoryError, "it can't be written to"),
        (tmp_path / "full", WrongDirectory, "holds something else than an archive"),
        (tmp_path / "odd", Damaged, "makes no sense"),
        (place.data_dir / "conflux" / "archive", OptionsError, "a part of the cluster's own directory"),
    ]
    for where, error, text in refused:
        with pytest.raises(error, match=text):
            place.node(archive=where)
    assert perform(place.node(), "count", "x")


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"data_dir": None, "archive": "here"}, '"archive" needs a "data_dir"'),
        ({"archive": 5}, '"archive" must be a path'),
        ({"archive": ""}, '"archive" must be a path'),
    ],
)
def test_an_archive_that_makes_no_sense_is_an_option_like_any_other(
    place: Place, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(OptionsError, match="Invalid options: ") as caught:
        place.node(cluster="NO", **options)
    assert problem in str(caught.value) and "'NO'" in str(caught.value)
    assert not place.data_dir.exists()
