"""Snapshots that a node takes of itself: what holds one up, and what a disk that fails costs."""

from __future__ import annotations

from typing import Any

import pytest

from conflux.errors import ConfluxError, DiskFull, SnapshotDamaged, StorageFailed
from conflux.node.feeding import FORGOTTEN_SECONDS
from conflux.node.node import Node
from conflux.storage.memory import MemoryStorage
from conflux.storage.memory_snapshots import MemorySnapshots, MemorySnapshotWriter
from conflux.wire.clients import BackUp, BackupReady, Refused, SnapshotTaken, TakeSnapshot
from conflux.wire.peers import AskSnapshot
from tests.node.harness import World
from tests.node.test_snapshots import first_index, grow, snapshot_now, snapshots


def failing(error: ConfluxError) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def one() -> tuple[World, Node]:
    world = World(1)
    world.user().perform(("add", "x"))
    return world, world.leader()


def refused(world: World) -> str:
    answer = world.user().ask(TakeSnapshot(1), (Refused, SnapshotTaken))
    assert isinstance(answer, Refused), answer
    return answer.message


def test_before_anything_is_committed_there_is_nothing_to_take() -> None:
    world = World(3)
    world.until(lambda: world.nodes["a"].member is not None)
    node = world.nodes["a"]
    assert node.member is not None and node.machine.index == 0
    told: list[str] = []
    node.member.snapshots.snapshotter.take_now(lambda header, size, why: told.append(why))
    world.until(lambda: told)
    assert told == ["nothing is committed yet"]


def test_a_state_that_may_be_wrong_is_kept_by_nobody() -> None:
    world, node = one()
    assert node.replica is not None and node.member is not None
    node.replica.fail(ConfluxError("its state is wrong"))
    told: list[str] = []
    node.member.snapshots.snapshotter.take_now(lambda header, size, why: told.append(why))
    world.run(1.0)
    assert not told and not snapshots(node)


def test_a_state_that_could_not_be_hashed_is_not_encoded_either() -> None:
    world, node = one()
    node.machine.hash_point.problem = "a state holds no sets"
    assert refused(world) == "no snapshot was taken: a state holds no sets"


@pytest.mark.parametrize("error", [StorageFailed("Input/output error"), DiskFull("no room")])
@pytest.mark.parametrize(("target", "name"), [(MemorySnapshotWriter, "write"), (MemorySnapshots, "begin")])
def test_one_that_the_disk_does_not_take_is_given_up_and_the_node_serves_on(
    target: type, name: str, error: ConfluxError, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, node = one()
    with monkeypatch.context() as patch:
        patch.setattr(target, name, failing(error))
        assert str(error) in refused(world)
    assert node.member is not None and node.member.snapshots.snapshotter.problem == str(error)
    snapshot_now(world, node)
    assert node.member.snapshots.snapshotter.problem is None


def test_a_disk_that_fails_when_the_log_is_cut_ends_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    world, node = one()
    monkeypatch.setattr(MemoryStorage, "compact_some", failing(StorageFailed("Input/output error")))
    with pytest.raises(StorageFailed):
        for _ in range(3):
            world.user().perform(("add", "x"))
            snapshot_now(world, node)


@pytest.mark.parametrize("name", ["is_behind", "is_finished"])
def test_a_disk_that_takes_its_time_is_waited_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world, node = one()
    monkeypatch.setattr(MemorySnapshotWriter, name, name == "is_behind")
    user = world.user()
    user.send(TakeSnapshot(1))
    world.run(1.0)
    assert not user.inbox and not snapshots(node)
    monkeypatch.setattr(MemorySnapshotWriter, name, name != "is_behind")
    user.wait_for(SnapshotTaken)


def test_the_log_is_not_cut_behind_what_a_member_fetches() -> None:
    world = World(1)
    node = world.leader()
    taken = []
    for _ in range(3):
        grow(world.user(), calls=2)
        taken.append(snapshot_now(world, node).index)
        assert node.member is not None
        node.member.snapshots.feeder.asked("m", AskSnapshot(taken[0], 0, 1), world.clock.now_s)
    assert first_index(node) == taken[0] + 1
    world.run(FORGOTTEN_SECONDS + 1)
    grow(world.user(), calls=2)
    snapshot_now(world, node)
    assert first_index(node) == taken[-1] + 1


# -- for backups ---------------------------------------------------------------------------------------------------


def test_a_backup_that_is_asked_for_twice_is_made_once() -> None:
    world, _ = one()
    user = world.user()
    user.send(BackUp(7))
    user.send(BackUp(7))
    user.wait_for(BackupReady)
    world.run(1.0)
    assert len(user.got(BackupReady)) == 1


def test_a_backup_that_the_disk_has_no_room_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    world, _ = one()
    monkeypatch.setattr(MemorySnapshotWriter, "write", failing(DiskFull("no room")))
    answer = world.user().ask(BackUp(7), (BackupReady, Refused))
    assert isinstance(answer, Refused) and answer.message == "no snapshot was taken: no room"


def test_a_backup_that_can_not_be_read_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    world, _ = one()
    monkeypatch.setattr(MemorySnapshots, "open", failing(SnapshotDamaged("a chunk does not match its checksum")))
    answer = world.user().ask(BackUp(7), (BackupReady, Refused))
    assert isinstance(answer, Refused) and "the snapshot can't be read" in answer.message


def test_a_node_that_is_closed_gives_its_backups_back() -> None:
    world, node = one()
    world.user().ask(BackUp(7), BackupReady)
    backups = node.member.backups
    assert backups is not None and backups._ready
    node.close()
    assert not backups._ready
