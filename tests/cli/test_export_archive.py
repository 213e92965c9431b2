"""Whose archives `conflux export --archive DIR --node ID` means, and what it does where they have a gap."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from conflux.cli.export_archive import _chosen, archived_run
from conflux.errors import ConfluxError
from conflux.storage.archive import Owner, Segment
from conflux.storage.archived import ReadArchive
from tests.storage.test_archive import base_at, open_, put


def archive(label: str, identity: str, cluster_id: str) -> ReadArchive:
    owner = Owner(cluster="conflux", label=label, identity=identity)
    return ReadArchive(Path(label), owner, ((Segment(1, 2, Path("file")), SimpleNamespace(cluster_id=cluster_id)),))


ONE, OTHER = archive("a", "b" * 32, "first"), archive("b", "c" * 32, "second")


@pytest.mark.parametrize(("node", "meant"), [("b", OTHER), ("a", ONE), ("bbb", ONE), ("c", OTHER)])
def test_a_label_is_stronger_than_the_beginning_of_anothers_id(node: str, meant: ReadArchive) -> None:
    assert _chosen([ONE, OTHER], node, set()) == [meant]


def test_a_gap_is_an_error_unless_what_is_behind_it_is_asked_for(tmp_path: Path) -> None:
    archive = open_(tmp_path / "archive")
    put(archive, 1, 2)
    put(archive, 5, 6, base_at(4))
    settings = SimpleNamespace(cluster_dir=tmp_path / "conflux", verbosity=0)
    whole = archived_run(settings, tmp_path / "archive", None, after_gap=False)
    with pytest.raises(ConfluxError, match="entries 3 to 4 are in no archive there, and in no log here"), whole:
        pass
    with archived_run(settings, tmp_path / "archive", None, after_gap=True) as (run, cluster, cluster_id):
        assert (run.first_index, run.last_index, cluster, cluster_id) == (5, 6, "shop", "id")
