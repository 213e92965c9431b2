"""What a node answers before its cluster has formed, when it was removed, and to more than it can hold."""

from __future__ import annotations

from typing import Any

import pytest

from conflux import limits
from conflux.node.desk import HERE_HANDLE
from conflux.node.status import row_of
from conflux.wire.clients import (
    AskChunk,
    BackUp,
    Change,
    Changed,
    ChangeMembers,
    CloseSession,
    Code,
    Members,
    OpenSession,
    Refused,
    SessionOpened,
    TakeSnapshot,
    TransferLeadership,
    Watch,
)
from tests.node.harness import User, World, label_of
from tests.node.test_members import change


def alone() -> World:
    """Three nodes, one of which never finds the others."""
    world = World(3)
    world.isolate("a")
    return world


@pytest.mark.parametrize(
    "message",
    [
        BackUp(7),
        AskChunk(7, 1, 0),
        TakeSnapshot(7),
        ChangeMembers(7, Change.INVITE, "", "", False),
        TransferLeadership(7, ""),
        Watch(7, 0),
        OpenSession(7),
    ],
    ids=lambda message: type(message).__name__,
)
def test_before_its_cluster_has_formed_a_node_refuses(message: Any) -> None:
    world = alone()
    refused = User(world, world.nodes["a"]).ask(message, Refused)
    assert refused.request == 7 and refused.code in (Code.NOT_READY, Code.NO_LEADER)


def test_nobody_waits_for_the_answer_to_a_session_that_is_closed() -> None:
    world = alone()
    user = User(world, world.nodes["a"])
    user.send(CloseSession(7))
    world.run(0.5)
    assert not user.inbox


def test_a_follower_passes_a_change_of_the_members_on() -> None:
    world = World(3)
    user = User(world, world.followers()[0])
    assert isinstance(user.ask(ChangeMembers(1, Change.INVITE, "", "", False), (Changed, Refused)), Changed)


def test_an_answer_that_comes_back_broken_is_counted_and_dropped() -> None:
    world = World(1)
    node = world.leader()
    node.desk.relay(HERE_HANDLE, b"nonsense")
    assert node.counts["malformed"] == 1


def test_requests_that_wait_for_a_new_leader_to_be_ready_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(1)
    leader = world.leader()
    user = world.user()
    leader.desk.leadership = None  # it leads, and its first entry is not committed yet
    monkeypatch.setattr(limits, "WAITING_REQUESTS_MAX", 0)
    assert user.ask(OpenSession(7), Refused).code is Code.BUSY


def test_a_follower_does_not_remember_for_ever_whom_it_told_of_the_leader(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(3)
    follower = world.followers()[0]
    monkeypatch.setattr(limits, "TURN_FRAMES_MAX", 1)
    users = [User(world, follower) for _ in range(3)]
    for user in users:
        user.ask(OpenSession(1), SessionOpened)
    assert len(follower.desk._forwarding) <= 2


def test_a_removed_node_that_knows_nobody_names_nobody() -> None:
    world = World(3)
    gone = world.followers()[0]
    change(world.user(), Change.REMOVE, label_of(gone))
    world.until(lambda: gone.directory.removed)
    gone.links.addresses.clear()
    user = User(world, gone)
    assert row_of(gone)["standing"] == "removed"
    assert user.ask(OpenSession(7), Refused).code is Code.NOT_READY
    assert not user.got(Members)
