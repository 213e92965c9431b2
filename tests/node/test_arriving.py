"""`start --join` on directories of every kind: which node is meant, and what it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from conflux.discovery.local import LocalNode, Manifest
from conflux.errors import OptionsError, WrongDirectory
from conflux.node import beginnings
from conflux.node.arriving import token_of, with_arrival

TOKEN, OTHER = "a" * 32, "b" * 32


def three(**more: Any) -> Manifest:
    nodes = tuple(LocalNode(label=f"n{each}", identity=f"{each}" * 32, made=True) for each in (1, 2, 3))
    return Manifest(cluster="shop", size=3, app="a:b", app_dir="/", nodes=nodes, **more)


def arrive(
    manifest: Manifest | None, place: Path, token: str = TOKEN, label: str | None = None
) -> tuple[Manifest, LocalNode]:
    return with_arrival(
        manifest, place, token, cluster="shop", label=label, app=None, app_dir=Path("/"), insecure=False
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A cluster's directory in which n1, n2 and n3 have data."""
    for label in ("n1", "n2", "n3"):
        (tmp_path / label).mkdir()
        (tmp_path / label / "data.mdb").touch()
    return tmp_path


def test_beside_a_cluster_of_this_machine_it_takes_the_next_number(place):
    manifest, node = arrive(three(), place)
    assert (node.label, node.join, node.made) == ("n4", TOKEN, False)
    assert [each.label for each in manifest.nodes] == ["n1", "n2", "n3", "n4"]
    assert manifest.is_whole and manifest.founders_here == 3


def test_the_next_one_is_another(place):
    manifest, _ = arrive(three(), place)
    manifest, node = arrive(manifest, place, OTHER)
    assert node.label == "n5" and manifest.is_whole


def test_the_same_token_means_the_same_node(place):
    manifest, first = arrive(three(), place)
    again, second = arrive(manifest, place)
    assert second == first and again == manifest


def test_one_that_still_waits_may_come_with_another_token(place):
    manifest, first = arrive(three(), place, "", "n7")
    _, second = arrive(manifest, place, TOKEN, "n7")
    assert (second.label, second.identity, second.join) == ("n7", first.identity, TOKEN)


def test_where_nothing_is_here_the_manifest_begins_with_it(tmp_path):
    manifest, node = arrive(None, tmp_path)
    assert (manifest.size, manifest.is_whole, manifest.nodes) == (0, False, (node,))
    assert node.label.endswith(node.identity[:4])
    assert arrive(manifest, tmp_path, "")[1].identity == node.identity  # a service file says it again


def test_a_founder_is_started_without_it(place):
    with pytest.raises(OptionsError, match="n2 is a node of this cluster already"):
        arrive(three(), place, TOKEN, "n2")


def test_a_new_node_takes_the_label_of_one_whose_directory_is_lost(place):
    (place / "n2" / "data.mdb").unlink()
    manifest, node = arrive(three(), place, "", "n2")
    assert node.identity != "2" * 32 and node.join == "" and not node.made
    assert [each.label for each in manifest.nodes] == ["n1", "n2", "n3"] and manifest.is_whole


def test_who_was_removed_for_good_does_not_come_back(place, monkeypatch):
    monkeypatch.setattr(beginnings, "is_removed", lambda directory: directory.name == "n2")
    with pytest.raises(WrongDirectory, match="n2 was removed") as caught:
        arrive(three(), place, "", "n2")
    assert "conflux destroy --node n2 --yes" in caught.value.hint


def test_a_node_that_left_leaves_the_count_of_the_founders_alone(place):
    manifest, _ = arrive(three(), place)
    manifest = manifest.without("n4").without("n3")
    assert [each.label for each in manifest.nodes] == ["n1", "n2"]
    assert manifest.is_whole and manifest.founders_here == 3
    beginnings.check_again(manifest, 3, None, 3)
    with pytest.raises(WrongDirectory):
        beginnings.check_again(manifest, 4, None, None)


def test_an_old_manifest_without_these_fields_is_read_as_it_was(tmp_path):
    three().save(tmp_path)
    text = (tmp_path / "cluster.json").read_text()
    assert Manifest.load(tmp_path) == three() and three().is_whole and '"local": null' in text


@pytest.mark.parametrize("text", ["", "x", "A" * 32, "a" * 31, "a" * 33])
def test_what_is_no_token_is_refused_with_where_to_get_one(text):
    with pytest.raises(OptionsError) as caught:
        token_of(text)
    assert "conflux members add" in caught.value.hint


def test_a_token_or_the_word_wait():
    assert token_of(TOKEN) == TOKEN and token_of("wait") == ""
