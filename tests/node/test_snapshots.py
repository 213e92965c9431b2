"""Snapshots on whole nodes: taken, cut, handed out, installed. B11 and H1 to H12 as far as a node goes."""

from __future__ import annotations

from typing import Any

import pytest

from conflux import limits
from conflux.app import App
from conflux.errors import DiskFull, SnapshotDamaged
from conflux.node.node import Node
from conflux.storage.memory_snapshots import MemorySnapshot
from conflux.store import image
from conflux.wire.clients import (
    Change,
    Changed,
    ChangeMembers,
    Events,
    Gap,
    Refused,
    SnapshotTaken,
    TakeSnapshot,
    Watch,
)
from tests.node.harness import User, World, label_of

LARGE = "x" * 10_000


def grow(user: User, *, calls: int = 20, thing: str = LARGE) -> None:
    """Perform so much that a hash point passes."""
    user.node = user.world.leader()
    for _ in range(calls):
        user.perform(("add", thing))


def snapshot_now(world: World, node: Node) -> SnapshotTaken:
    taken = world.user(node).ask(TakeSnapshot(1), SnapshotTaken)
    assert isinstance(taken, SnapshotTaken)
    return taken


def snapshots(node: Node) -> list[int]:
    return [header.index for header in node.directory.storage.snapshots.all()]


def first_index(node: Node) -> int:
    assert node.replica is not None
    return node.replica.raft.log.first_index


def same_machine(one: Node, other: Node) -> bool:
    a, b = one.machine, other.machine
    return (a.index, a.revision, a.state, a.sessions, a.log_hash, a.membership) == (
        b.index,
        b.revision,
        b.state,
        b.sessions,
        b.log_hash,
        b.membership,
    )


def settle(world: World) -> None:
    world.run(0.5)
    leader = world.leader()
    world.until(lambda: all(node.machine.index == leader.machine.index for node in world.nodes.values()), 30)


def test_a_node_takes_one_by_itself_when_its_log_has_grown():
    world = World(1, snapshot_bytes=100_000)
    grow(world.user())
    world.until(lambda: snapshots(world.nodes["a"]))


def test_nodes_that_fold_the_same_log_take_the_same_ones():
    world = World(3, snapshot_bytes=100_000)
    grow(world.user(), calls=60)
    settle(world)
    world.run(1.0)
    found = {label: snapshots(node) for label, node in world.nodes.items()}
    assert found["a"] == found["b"] == found["c"] != []
    checksums = {node.directory.storage.snapshots.newest().checksum for node in world.nodes.values()}
    assert len(checksums) == 1


def test_two_are_kept_and_the_log_is_cut_at_the_older():
    world = World(1, snapshot_bytes=100_000)
    user = world.user()
    grow(user, calls=80)
    node = world.nodes["a"]
    world.run(1.0)
    kept = snapshots(node)
    assert len(kept) == 2
    assert first_index(node) == kept[1] + 1
    assert node.directory.storage.restored() is not None


def test_H5_a_restart_begins_with_the_newest_and_folds_the_rest():
    world = World(1, snapshot_bytes=100_000)
    user = world.user()
    grow(user, calls=80)
    world.run(1.0)
    before = world.nodes["a"].machine
    node = world.restart("a")
    assert node.machine.index == snapshots(node)[0]
    world.until(lambda: node.is_leading)
    assert list(node.machine.state) == list(before.state)
    assert node.machine.sessions[user.session].next_sequence == before.sessions[user.session].next_sequence


def test_H8_a_repeat_over_a_restart_from_a_snapshot_gets_its_first_answer():
    world = World(1)
    user = world.user()
    first = user.perform(("add", "once"))
    snapshot_now(world, world.nodes["a"])
    world.restart("a")
    user.node = world.leader()
    again = user.perform(("add", "once"), first=0)
    assert (again.first_revision, again.index) == (first.first_revision, first.index)
    assert list(world.leader().machine.state) == ["once"]


def test_a_snapshot_now_says_what_it_holds():
    world = World(1)
    user = world.user()
    answers = user.perform(("add", "x"))
    taken = snapshot_now(world, world.nodes["a"])
    assert (taken.index, taken.revision) == (answers.index, answers.first_revision)


def test_two_in_short_order_are_harmless():
    world = World(1)
    world.user().perform(("add", "x"))
    assert snapshot_now(world, world.nodes["a"]).index == snapshot_now(world, world.nodes["a"]).index  # H10


def behind(world: World, *, snapshots_taken: int = 2, last: int = 3) -> Node:
    """Stop a follower, let the log move on past what the others keep, `last` calls of it too, and start it again."""
    user = world.user()
    away = label_of(world.followers()[0])
    disk = world.disk(away)
    world.stop(away)
    for number in range(snapshots_taken):
        grow(user, calls=5, thing=f"{number}")
        for node in world.nodes.values():
            snapshot_now(world, node)
    grow(user, calls=last, thing="last")
    return world.start(away, disk.reopened())


def test_B11_who_is_too_far_behind_gets_a_snapshot_and_then_the_rest():
    world = World(3)
    node = behind(world)
    settle(world)
    assert node.member is not None
    assert node.member.snapshots.installer.installs == 1
    assert same_machine(node, world.leader())


def test_a_wiped_node_that_joins_gets_a_snapshot():
    world = World(1)
    user = world.user()
    for _ in range(2):
        grow(user, calls=5, thing="x")
        snapshot_now(world, world.leader())
    world.join("b")
    world.run(1.0)
    user.ask(ChangeMembers(user.number(), Change.ADD, "b"), Changed)
    world.until(lambda: len(world.leader().membership().voters) == 2, 20)
    settle(world)
    assert same_machine(world.nodes["b"], world.nodes["a"])
    assert world.nodes["b"].member.snapshots.installer.installs == 1


def test_a_large_state_is_fetched_chunk_by_chunk_while_writes_go_on():
    world = World(3)
    user = world.user()
    grow(user, calls=60, thing="y" * 50_000)
    away = label_of(world.followers()[0])
    disk = world.disk(away)
    world.stop(away)
    grow(user, calls=1)
    for _ in range(2):
        grow(user, calls=5)
        for node in world.nodes.values():
            snapshot_now(world, node)
    node = world.start(away, disk.reopened())
    for _ in range(30):
        user.perform(("add", "meanwhile"))
    settle(world)
    assert same_machine(node, world.leader())
    assert node.member.snapshots.installer.installs == 1


def test_H6_a_fetch_goes_on_under_another_leader():
    world = World(3)
    grow(world.user(), calls=40, thing="y" * 50_000)
    node = behind(world)
    world.until(lambda: node.member is not None and node.member.snapshots.installer.progress() is not None, 20)
    world.leader().hand_over()
    world.run(0.5)
    settle(world)
    assert same_machine(node, world.leader())


def test_H9_a_chunk_that_is_damaged_at_the_sender_is_never_sent(monkeypatch):
    world = World(3)
    node = behind(world)

    def damaged(self: MemorySnapshot, number: int) -> bytes:
        raise SnapshotDamaged("chunk 0 does not match its checksum")

    with monkeypatch.context() as patch:
        patch.setattr(MemorySnapshot, "chunk", damaged)
        world.run(2.0)
        assert node.member.snapshots.installer.installs == 0
    settle(world)
    assert same_machine(node, world.leader())


def test_H12_a_full_disk_keeps_the_old_snapshot_and_says_why():
    world = World(1)
    user = world.user()
    user.perform(("add", "x"))
    snapshot_now(world, world.nodes["a"])
    user.perform(("add", "y"))
    node = world.nodes["a"]
    store: Any = node.directory.storage.snapshots
    whole = type(store).begin

    def full(*_: Any, **__: Any) -> None:
        raise DiskFull("no space left on device")

    type(store).begin = full
    try:
        refused = world.user(node).ask(TakeSnapshot(1), Refused)
    finally:
        type(store).begin = whole
    assert "no space left" in refused.message
    assert len(snapshots(node)) == 1
    snapshot_now(world, node)
    assert len(snapshots(node)) == 2


def test_a_state_without_an_encoding_takes_no_snapshot_and_the_node_goes_on():
    def reduce(state: Any, action: Any) -> Any:
        return (action,) if action else []

    world = World(1, App({"add": lambda state, thing: thing}, reduce))
    user = world.user()
    user.perform(("add", LARGE))
    refused = world.user(world.nodes["a"]).ask(TakeSnapshot(1), (Refused, SnapshotTaken))
    assert isinstance(refused, Refused)
    user.perform(("add", "x"))
    assert world.leader().problem() is None


def test_a_watch_of_what_was_cut_is_told_of_the_gap():
    world = World(1)
    user = world.user()
    for _ in range(3):
        grow(user, calls=2, thing="x")
        snapshot_now(world, world.leader())
    watcher = world.user(world.leader())
    gap = watcher.ask(Watch(7, 1), Gap)
    assert 1 < gap.first_revision <= world.leader().machine.revision + 1


def test_a_watch_on_a_follower_that_installs_a_snapshot_shows_the_gap_and_no_hole():
    world = World(3)
    user = world.user()
    user.perform(("add", "first"))
    follower = world.followers()[0]
    watcher = world.user(follower)
    watcher.send(Watch(7, 1))
    world.until(lambda: revisions_of(watcher) == [1])
    world.isolate(label_of(follower))
    for number in range(3):
        grow(user, calls=3, thing=f"{number}")
        for node in world.nodes.values():
            if node is not follower:
                snapshot_now(world, node)
    world.heal()
    world.until(lambda: follower.member.snapshots.installer.installs == 1, 30)
    watcher.send(Watch(7, 2))  # as a client renews it
    gap = watcher.wait_for(Gap)
    assert revisions_of(watcher) == [1] and gap.first_revision == follower.machine.revision + 1
    watcher.send(Watch(7, gap.first_revision))
    grow(user, calls=2)
    world.until(lambda: revisions_of(watcher)[1:] == [gap.first_revision, gap.first_revision + 1])


def revisions_of(watcher: User) -> list[int]:
    return [event.revision for events in watcher.got(Events) for event in events.events]


def test_a_leader_elected_right_behind_a_snapshot_counts_revisions_on():
    world = World(3)
    user = world.user()
    last = user.perform(("add", "x"), ("add", "y"))
    world.run(1.0)
    for node in world.nodes.values():
        snapshot_now(world, node)
        user.node = world.leader()
    for label in list(world.nodes):
        world.restart(label)
    user = world.user()
    after = user.perform(("add", "z"))
    assert after.first_revision == last.first_revision + 2


def test_a_leader_whose_log_is_empty_behind_a_snapshot_counts_revisions_on():
    world = World(3)
    node = behind(world, last=0)
    settle(world)
    assert node.replica is not None
    assert first_index(node) > node.replica.raft.log.last_index
    revision = node.machine.revision
    world.leader().replica.raft.transfer_leadership(node.directory.self.identity)
    world.until(lambda: node.is_leading)
    assert world.user(node).perform(("add", "z")).first_revision == revision + 1


def test_G9_a_snapshot_holds_the_members_of_its_index_and_not_those_in_force():
    world = World(3)
    world.user().perform(("add", "x"))
    leader = world.leader()
    world.isolate(label_of(leader))
    world.user(leader).send(ChangeMembers(1, Change.INVITE, "", "", force=False))
    assert leader.replica is not None
    world.until(lambda: leader.replica.raft.configuration != leader.machine.membership)
    snapshot_now(world, leader)
    (header,) = leader.directory.storage.snapshots.all()
    assert image.decode_fields(header.fields).members.membership() == leader.machine.membership


def test_limits_leave_room_for_a_chunk_in_a_frame():
    assert limits.SNAPSHOT_CHUNK_BYTES + limits.SNAPSHOT_FIELDS_BYTES_MAX + 1024 < limits.FRAME_BYTES_MAX


@pytest.mark.parametrize("size", [1, 3])
def test_the_log_on_disk_stays_bounded_whatever_is_performed(size):
    world = World(size, snapshot_bytes=100_000)
    user = world.user()
    for _ in range(8):
        grow(user, calls=20)
        world.run(0.5)
        longest = max(n.replica.raft.log.last_index - first_index(n) for n in world.nodes.values() if n.replica)
        assert longest < 200
