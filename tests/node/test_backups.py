"""Snapshots that clients save: they hold all that was acknowledged before, and become other clusters."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Any

import pytest

from conflux.errors import Damaged, WrongDirectory
from conflux.node import directory as directories
from conflux.node.refounding import Base, Plan, refound
from conflux.node.restoring import restored_machine
from conflux.raft.entry import Entry
from conflux.storage.interface import SnapshotHeader
from conflux.storage.lmdb_storage import LmdbStorage
from conflux.store.machine import Machine, fold
from conflux.transport.keys import ClusterKey
from conflux.wire.clients import AskChunk, BackUp, BackupReady, Refused, SnapshotChunk
from tests.node.harness import User, World
from tests.node.test_snapshots import grow, snapshots
from tests.store.harness import make_app


def back_up(user: User) -> tuple[BackupReady, list[bytes]]:
    ready = user.ask(BackUp(user.number()), (BackupReady, Refused), 30)
    assert isinstance(ready, BackupReady), ready
    asks = [AskChunk(user.number(), ready.index, number) for number in range(ready.chunk_count)]
    return ready, [user.ask(ask, SnapshotChunk).chunk for ask in asks]


def base_of(ready: BackupReady, chunks: list[bytes]) -> Base:
    header = SnapshotHeader(index=ready.index, term=ready.term, revision=ready.revision, fields=ready.fields)
    return Base(header=header, chunks=chunks)


def plan(tmp_path: Path, size: int = 3, **changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "cluster": "new",
        "cluster_dir": tmp_path / "new",
        "size": size,
        "app": "things:app",
        "app_dir": ".",
        "app_name": "things",
        "app_version": 1,
        "key": ClusterKey.generate(),
        "term": 5,
    }
    return Plan(**fields | changes)


def test_a_backup_holds_what_was_acknowledged_before_it():
    world = World(3)
    user = world.user()
    for number in range(10):
        user.perform(("add", number))
    ready, chunks = back_up(user)
    assert ready.revision == 10
    assert sum(map(len, chunks)) == ready.bytes_total


def test_a_follower_makes_a_backup_of_what_the_leader_acknowledged():
    world = World(3)
    user = world.user()
    follower = world.followers()[0]
    asking = User(world, follower)
    user.perform(("add", "just now"))
    assert back_up(asking)[0].revision == 1


def test_a_snapshot_that_was_under_way_before_is_not_enough():
    world = World(1)
    user = world.user()
    grow(user, calls=300)
    node = world.nodes["a"]
    assert node.member is not None
    node.member.snapshots.snapshotter.take_now(lambda *taken: None)
    world.until(lambda: node.member is not None and node.member.snapshots.waits)
    work, backups = node.member.snapshots.work, node.member.backups
    assert backups is not None
    node.member.snapshots.work = lambda: work() if backups._asked else None  # type: ignore[method-assign] # a slow disk
    user.perform(("add", "later"))
    assert node.member.snapshots.waits
    assert back_up(user)[0].revision == 301


def test_without_a_majority_there_is_no_backup():
    world = World(3)
    user = world.user()
    user.perform(("add", 1))
    leader = world.leader()
    for node in world.followers():
        world.stop(node.directory.self.label)
    user.node = leader
    refused = user.ask(BackUp(7), (BackupReady, Refused), 30)
    assert isinstance(refused, Refused)


def test_a_backup_stays_readable_when_newer_snapshots_take_its_place():
    world = World(1, snapshot_bytes=100_000)
    user = world.user()
    grow(user, calls=10)
    ready = user.ask(BackUp(user.number()), BackupReady, 30)
    for _ in range(3):
        grow(user, calls=40)
        user.ask(BackUp(user.number()), BackupReady, 30)
    assert ready.index not in snapshots(world.nodes["a"])
    assert isinstance(user.ask(AskChunk(99, ready.index, 0), (SnapshotChunk, Refused)), SnapshotChunk)
    world.run(31)
    assert isinstance(user.ask(AskChunk(99, ready.index, 0), (SnapshotChunk, Refused)), Refused)


def opened(path: Path) -> LmdbStorage:
    return LmdbStorage.open(path, create=False)


def test_a_backup_becomes_a_cluster_of_new_nodes(tmp_path: Path):
    world = World(1)
    user = world.user()
    user.perform(("add", "a"), ("add", "b"))
    ready, chunks = back_up(user)
    manifest = refound(plan(tmp_path), base_of(ready, chunks))
    assert [node.label for node in manifest.nodes] == ["n1", "n2", "n3"]
    ids = set()
    for node in manifest.nodes:
        storage = opened(tmp_path / "new" / node.label)
        found = directories.read(storage)
        machine = restored_machine(storage, make_app())
        storage.close()
        assert machine is not None and found.formed
        assert (found.self.identity, list(machine.state), machine.revision) == (node.identity, ["a", "b"], 2)
        assert {each.identity for each in machine.membership.members_by_identity} == {
            each.identity for each in manifest.nodes
        }
        assert machine.sessions[user.session].next_sequence == 2
        ids.add(found.cluster_id)
    assert len(ids) == 1 and ids != {world.nodes["a"].directory.cluster_id}


def test_clusters_that_are_made_of_the_same_have_nothing_in_common_by_which_nodes_would_meet(tmp_path: Path):
    ready, chunks = back_up(World(1).user())
    found = []
    for place in (tmp_path / "one", tmp_path / "other"):
        manifest = refound(plan(place), base_of(ready, chunks))
        storages = [opened(place / "new" / node.label) for node in manifest.nodes]
        found.append([directories.read(storage) for storage in storages])
        for storage in storages:
            storage.close()
    one, other = found
    assert {each.cluster_id for each in one}.isdisjoint(each.cluster_id for each in other)
    for fact in ("identity", "public_key", "secret_key"):
        assert {getattr(each.self, fact) for each in one}.isdisjoint(getattr(each.self, fact) for each in other)


def test_a_log_goes_on_under_new_members(tmp_path: Path):
    world = World(1)
    user = world.user()
    user.perform(("add", "a"), ("add", "b"))
    replica = world.nodes["a"].replica
    assert replica is not None
    old = [*replica.raft.log.entries(1, replica.raft.log.last_index, 10**6)]
    manifest = refound(plan(tmp_path), None, old)
    storage = opened(tmp_path / "new" / "n2")
    restored = storage.restored()
    entries = storage.read(1, restored.last_index, 10**6)
    storage.close()
    assert entries[:-1] == old
    assert restored.commit_index == restored.last_index == old[-1].index + 1
    machine = folded(entries)
    assert list(machine.state) == ["a", "b"]
    assert {*machine.membership.voters} == {node.identity for node in manifest.nodes}


def folded(entries: list[Entry]) -> Machine:
    app = make_app()
    machine = Machine.initial(app)
    for entry in entries:
        machine = fold(machine, entry, app)
    return machine


def test_an_existing_cluster_is_refused_and_left_alone(tmp_path: Path):
    world = World(1)
    ready, chunks = back_up(world.user())
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "cluster.json").write_text("mine")
    with pytest.raises(WrongDirectory, match="there is a cluster 'new'"):
        refound(plan(tmp_path), base_of(ready, chunks))
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_a_body_that_ends_in_damage_leaves_nothing(tmp_path: Path):
    world = World(1)
    ready, chunks = back_up(world.user())

    def damaged() -> Any:
        yield from chunks
        raise Damaged("not the whole")

    with pytest.raises(Damaged):
        refound(plan(tmp_path), Base(header=base_of(ready, chunks).header, chunks=damaged()))
    assert [*tmp_path.iterdir()] == []


def test_what_an_earlier_attempt_left_is_no_hindrance(tmp_path: Path):
    (tmp_path / "new.unfinished" / "n1").mkdir(parents=True)
    ready, chunks = back_up(World(1, seed=Random(1).getrandbits(8)).user())
    refound(plan(tmp_path, size=1), base_of(ready, chunks))
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
