"""Reads that wait for a majority: asked once for all, asked again under another name, and never for ever."""

from __future__ import annotations

from typing import Any

import pytest

from conflux import limits
from conflux.errors import ConfluxError, SnapshotDamaged
from conflux.node import readers as readers_module
from conflux.node.readers import Readers
from conflux.storage.memory_snapshots import MemorySnapshots
from conflux.wire.clients import BackUp, Code, Consistency, Read, ReadAt, Refused, StatePart
from conflux.wire.peers import ReadIndex
from tests.node.harness import User, World, label_of
from tests.node.test_past import state_at
from tests.node.test_snapshots import first_index, grow, snapshot_now, snapshots


def readers_of(node: Any) -> Readers:
    assert node.member is not None
    return node.member.readers  # type: ignore[no-any-return]


def deaf() -> tuple[World, User]:
    """A follower that hears its leader and is not heard, and somebody who reads there."""
    world = World(3)
    world.user().perform(("add", "x"))
    follower, leader = world.followers()[0], world.leader()
    world.until(lambda: follower.machine.revision == 1)
    world.cut.add((f"at-{label_of(follower)}", f"at-{label_of(leader)}"))
    return world, User(world, follower)


def test_a_question_that_gets_no_answer_is_asked_again_and_the_oldest_are_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readers_module, "QUESTIONS_MAX", 1)
    world, user = deaf()
    user.send(Read(7, Consistency.LINEARIZABLE))
    readers, asked = readers_of(user.node), set[int]()
    for _ in range(100):
        world.step()
        asked |= readers._questions.keys()
        assert len(readers._questions) <= 1
    assert len(asked) > 1
    world.heal()
    user.wait_for(StatePart, 30)


def test_a_later_answer_to_an_older_question_changes_nothing() -> None:
    world, user = deaf()
    user.send(Read(7, Consistency.LINEARIZABLE))
    readers = readers_of(user.node)
    world.until(lambda: len(readers._questions) > 1)
    first, second, *_ = readers._questions
    index = user.node.machine.index + 1  # not folded yet: the read waits on
    readers.ready((first,), index)
    readers.ready((second,), index + 1)
    assert [waiting.index for waiting in readers._waiting] == [index]


def test_a_leader_that_leads_no_more_tells_followers_that_asked() -> None:
    world = World(3)
    leader = world.leader()
    readers, told = readers_of(leader), []
    readers._ask = lambda peer, message: told.append((peer, message)) is None
    readers._for_peers[5] = ("peer", 77)
    readers.failed((5,))
    assert told == [("peer", ReadIndex(77, None))]


def test_reads_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(1)
    user = world.user()
    monkeypatch.setattr(limits, "WAITING_REQUESTS_MAX", 0)
    for message in (Read(7, Consistency.LINEARIZABLE), BackUp(7)):
        assert user.ask(message, Refused).code is Code.BUSY


def test_a_removed_node_refuses_the_reads_that_wait() -> None:
    world, user = deaf()
    user.send(Read(7, Consistency.LINEARIZABLE))
    world.step()
    readers_of(user.node).refuse_all("this node was removed")
    assert user.got(Refused)[0].message == "this node was removed" and not readers_of(user.node).waits


@pytest.mark.parametrize("revision_only", [False, True])
def test_a_node_whose_state_may_be_wrong_tells_nobody_how_far_it_is(revision_only: bool) -> None:
    world = World(1)
    node = world.leader()
    assert node.replica is not None
    node.replica.fail(ConfluxError("its state is wrong"))
    refused = User(world, node).ask(Read(7, Consistency.LOCAL, revision_only), Refused)
    assert refused.message == "its state is wrong"


def test_a_state_of_the_past_is_encoded_once() -> None:
    world = World(1)
    user = world.user()
    user.perform(("add", "a"), ("add", "b"))
    assert state_at(user, 1) == ["a"]
    assert 1 in readers_of(user.node)._encodings
    assert state_at(user, 1) == ["a"]


def test_a_state_whose_last_part_is_full_has_no_empty_one_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers_module, "PART_BYTES", 1)
    world = World(1)
    user = world.user()
    user.perform(("add", "a"))
    part = user.ask(Read(7, Consistency.LOCAL), StatePart)
    assert (part.offset, len(part.part)) == (0, 1) and part.bytes_total > 1


def test_a_past_whose_snapshots_are_all_damaged_is_not_retained(monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_: object) -> None:
        raise SnapshotDamaged("a chunk does not match its checksum")

    world = World(1)
    node = world.leader()
    for _ in range(3):
        grow(world.user(), calls=2)
        snapshot_now(world, node)
    assert first_index(node) > 1 and snapshots(node)
    monkeypatch.setattr(MemorySnapshots, "open", damaged)
    refused = world.user().ask(ReadAt(7, node.machine.revision), (Refused, StatePart))
    assert isinstance(refused, Refused) and refused.code is Code.GONE


def test_a_node_that_ends_tells_those_who_wait_for_a_state_of_the_past() -> None:
    world = World(1)
    world.user().perform(("add", "a"))
    node, told = world.leader(), list[object]()
    assert node.member is not None
    node.member.past.ask("me", 1, told.append)
    node.close()
    assert [type(each).__name__ for each in told] == ["Closed"]
