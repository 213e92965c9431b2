"""A node's directory on disk: made, opened again, and refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from conflux.errors import WrongDirectory
from conflux.node.loop import Loop
from conflux.node.opening import open_directory
from conflux.node.options import NodeOptions
from conflux.storage.lmdb_storage import LmdbStorage
from tests.node.harness import World
from tests.store.harness import make_app

OPTIONS = NodeOptions(cluster="test", label="a", size=3)


def test_a_start_that_was_cut_short_before_it_said_who_it_is_goes_on(tmp_path: Path) -> None:
    LmdbStorage.open(tmp_path, create=True).close()
    made = open_directory(tmp_path, OPTIONS, make_app(), identity="a" * 32)
    assert made.self.identity == "a" * 32
    made.storage.close()


def test_another_nodes_directory_is_refused(tmp_path: Path) -> None:
    open_directory(tmp_path, OPTIONS, make_app(), identity="a" * 32).storage.close()
    with pytest.raises(WrongDirectory, match="holds another node than the a of this cluster"):
        open_directory(tmp_path, OPTIONS, make_app(), identity="b" * 32)
    again = open_directory(tmp_path, OPTIONS, make_app(), identity="a" * 32)  # it was closed: nobody holds it
    again.storage.close()


def test_a_loop_that_has_not_begun_is_not_waited_for() -> None:
    Loop(World(1).nodes["a"]).join()
