"""Whose archives `conflux export --archive DIR --node ID` means."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from conflux.cli.export_archive import _chosen
from conflux.storage.archive import Owner, Segment
from conflux.storage.archived import ReadArchive


def archive(label: str, identity: str, cluster_id: str) -> ReadArchive:
    owner = Owner(cluster="conflux", label=label, identity=identity)
    return ReadArchive(Path(label), owner, ((Segment(1, 2, Path("file")), SimpleNamespace(cluster_id=cluster_id)),))


ONE, OTHER = archive("a", "b" * 32, "first"), archive("b", "c" * 32, "second")


@pytest.mark.parametrize(("node", "meant"), [("b", OTHER), ("a", ONE), ("bbb", ONE), ("c", OTHER)])
def test_a_label_is_stronger_than_the_beginning_of_anothers_id(node: str, meant: ReadArchive) -> None:
    assert _chosen([ONE, OTHER], node, set()) == [meant]
