"""What a node's storage says of it, and what is refused."""

from __future__ import annotations

import msgspec
import pytest

from conflux.errors import Damaged, WrongDirectory
from conflux.node import directory as directories
from conflux.node.directory import Directory
from conflux.node.options import NodeOptions
from conflux.storage.memory import MemoryStorage
from conflux.wire.peers import Founder, Proposal
from tests.store.harness import make_app

PROPOSAL = Proposal("test", "things", 1, (Founder("a" * 32, "a", "p"),))


def options(label: str = "a", size: int = 3) -> NodeOptions:
    return NodeOptions(cluster="test", label=label, size=size)


def made() -> Directory:
    return directories.create(MemoryStorage(), options(), make_app(), identity="a" * 32, public_key="p", secret_key="s")


def test_a_storage_that_names_no_node_is_damaged() -> None:
    with pytest.raises(Damaged, match="does not say which node it is"):
        directories.read(MemoryStorage())


def test_a_fact_that_does_not_decode_is_damage() -> None:
    storage = made().storage
    storage.record_facts({directories.NEVERS: b"\xc1"})
    with pytest.raises(Damaged, match="a fact of the directory does not decode"):
        directories.read(storage)


def test_a_directory_is_opened_as_what_it_was_made_for() -> None:
    mine = made().self
    directories.check(mine, options(), make_app())
    with pytest.raises(WrongDirectory, match="the directory is of node a, not b"):
        directories.check(mine, options("b"), make_app())
    joined = msgspec.structs.replace(mine, size=0)  # came to a cluster that had formed: of any size
    directories.check(joined, options(), make_app())


def test_giving_up_forgets_what_was_accepted_and_refusing_another_does_not() -> None:
    storage = made().storage
    directories.record_accepted(storage, PROPOSAL)
    directories.record_never(storage, frozenset({"f" * 32}), gives_up=False)
    assert directories.read(storage).accepted == PROPOSAL
    directories.record_never(storage, frozenset({"e" * 32}), gives_up=True)
    assert (directories.read(storage).accepted, directories.read(storage).nevers) == (None, {"e" * 32})
