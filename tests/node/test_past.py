"""The state at a revision of the past, on whole nodes."""

from __future__ import annotations

from typing import Any

import pytest

from conflux.errors import NotRetained, SnapshotDamaged
from conflux.node import past
from conflux.node.node import Node
from conflux.node.past import Tell
from conflux.storage.memory_snapshots import MemorySnapshot
from conflux.store.past import PastState
from conflux.wire.clients import ReadAt, Refused, StatePart, Working
from conflux.wire.state_decoder import decode_state
from tests.node.harness import User, World
from tests.node.test_snapshots import LARGE, first_index, grow, snapshot_now, snapshots


def state_at(user: User, revision: int) -> list[Any]:
    part = user.ask(ReadAt(user.number(), revision), (StatePart, Refused), 30)
    assert isinstance(part, StatePart), part
    assert part.revision == revision
    return [*decode_state(part.part)]


def refusal_at(user: User, revision: int) -> str:
    refused = user.ask(ReadAt(user.number(), revision), (StatePart, Refused), 30)
    assert isinstance(refused, Refused) and refused.code == "gone"
    return str(refused.message)


def into(found: list[Any]) -> Tell:
    """Takes what comes in the end."""
    return lambda each: found.append(each) if each is not None else None


def found_at(world: World, node: Node, revision: int) -> Any:
    found: list[Any] = []
    assert node.member is not None
    node.member.past.ask("me", revision, into(found))
    world.until(lambda: found, 30)
    return found[0]


def test_every_revision_of_a_log_that_reaches_back_to_the_beginning():
    world = World(1)
    user = world.user()
    user.perform(("add", "a"), ("add", "b"), ("add", "c"))  # one entry
    user.perform(("add", "d"))
    assert [state_at(user, revision) for revision in range(5)] == [[*"abcd"[:revision]] for revision in range(5)]


def test_the_live_state_is_not_touched():
    world = World(1)
    user = world.user()
    user.perform(("add", "a"), ("add", "b"))
    machine = world.nodes["a"].machine
    assert state_at(user, 1) == ["a"]
    assert world.nodes["a"].machine is machine


def test_a_follower_that_was_cut_off_finds_out_what_was_committed_meanwhile():
    world = World(3)
    user = world.user()
    user.perform(("add", "a"))
    follower = world.followers()[0]
    world.run(0.5)
    world.isolate(follower.directory.self.label)
    user.perform(("add", "b"))
    asking = User(world, follower)
    asking.send(ReadAt(9, 2))
    world.run(0.05)
    world.heal()
    asking.node = follower
    assert state_at(asking, 2) == ["a", "b"]


def test_a_revision_of_the_future_is_refused_once_the_leader_says_that_it_is_one():
    world = World(3)
    user = world.user()
    user.perform(("add", "a"))
    assert refusal_at(user, 2) == "revision 2 is not there yet: the newest is 1"


def test_revisions_before_the_older_snapshot_are_compacted_away():
    world = World(1, snapshot_bytes=100_000)
    user = world.user()
    grow(user, calls=80)
    node = world.nodes["a"]
    world.run(1.0)
    assert first_index(node) > 1
    older = node.directory.storage.snapshots.all()[-1].revision
    assert state_at_length(node, world, older) == older
    assert state_at_length(node, world, older + 1) == older + 1
    assert state_at_length(node, world, 79) == 79
    assert refusal_at(user, older - 1) == f"revision {older - 1} is compacted away: {older} to 80 can be looked at"


def state_at_length(node: Node, world: World, revision: int) -> int:
    found = found_at(world, node, revision)
    assert isinstance(found, PastState), found
    return len(found.state)


def test_a_damaged_snapshot_is_passed_over_for_an_older_one(monkeypatch: pytest.MonkeyPatch):
    world = World(1, snapshot_bytes=100_000)
    grow(world.user(), calls=80)
    world.run(1.0)
    node = world.nodes["a"]
    newest, chunk, read = snapshots(node)[0], MemorySnapshot.chunk, []

    def damaged(self: MemorySnapshot, number: int) -> bytes:
        read.append(self.header.index)
        if self.header.index == newest:
            raise SnapshotDamaged("chunk 0 does not match its checksum")
        return chunk(self, number)

    monkeypatch.setattr(MemorySnapshot, "chunk", damaged)
    assert state_at_length(node, world, 80) == 80
    assert read[:2] == snapshots(node)


def test_a_log_that_is_cut_while_it_is_folded_ends_in_a_refusal():
    world = World(1)
    user = world.user()
    grow(user, calls=60)
    node = world.nodes["a"]
    assert node.member is not None and node.replica is not None
    found: list[Any] = []
    steps = node.member.past._steps(50)
    for _ in range(3):
        next(steps)
    grow(user, calls=3, thing=LARGE)
    snapshot_now(world, node)
    user.perform(("add", "one more"))
    snapshot_now(world, node)
    world.run(0.5)
    assert len(snapshots(node)) == 2 and first_index(node) > 50
    with pytest.raises(NotRetained, match="compacted away"):
        found.extend(steps)


def test_who_waits_is_told_that_the_state_is_being_worked_out(monkeypatch: pytest.MonkeyPatch):
    world = World(1)
    user = world.user()
    user.perform(*[("add", str(number)) for number in range(300)])
    monkeypatch.setattr(past, "SLICE_SECONDS", 0.0)  # an action a turn
    user.send(ReadAt(7, 250))
    world.until(lambda: user.got(StatePart))
    assert {message.request for message in user.got(Working)} == {7}


def test_many_that_ask_for_one_revision_share_the_work():
    world = World(1)
    user = world.user()
    user.perform(*[("add", str(number)) for number in range(20)])
    node = world.nodes["a"]
    found: list[Any] = []
    assert node.member is not None
    for who in range(5):
        node.member.past.ask(who, 7, into(found))
    assert len(node.member.past._wanted) == 1
    world.until(lambda: len(found) == 5)


def test_too_many_revisions_at_once_are_refused_as_busy():
    world = World(1)
    user = world.user()
    user.perform(*[("add", str(number)) for number in range(40)])
    node = world.nodes["a"]
    found: list[Any] = []
    assert node.member is not None
    for revision in range(17):
        node.member.past.ask("me", revision, into(found))
    assert [type(each).__name__ for each in found] == ["Busy"]
