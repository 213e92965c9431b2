"""What a node carries out of its core's effects: hints that a full disk may lose, members that a log must name."""

from __future__ import annotations

import pytest

from conflux import limits
from conflux.errors import Damaged
from conflux.raft.entry import Entry, Kind
from conflux.wire.clients import Change, Code, OpenSession, Refused
from tests.node.harness import World
from tests.node.test_members import change
from tests.node.test_snapshots import snapshot_now


def test_a_commit_index_that_the_disk_has_no_room_for_is_written_with_the_next_entries() -> None:
    world = World(1)
    world.user().perform(("add", "x"))
    replica, disk = world.leader().replica, world.disk("a")
    assert replica is not None
    assert replica.may_write_commit_index
    disk.is_full = True
    replica.write_commit_index()
    assert not replica.may_write_commit_index
    replica.write_commit_index()  # it is not tried again and again
    disk.is_full = False
    world.user().perform(("add", "y"))
    assert [*world.restart("a").machine.state] in ([], ["x"])  # what it knew to be committed, and no more
    assert [*world.leader().machine.state] == ["x", "y"]


def test_members_that_changed_before_the_newest_snapshot_are_the_snapshots() -> None:
    world = World(1)
    snapshot_now(world, world.leader())
    change(world.user(), Change.INVITE)
    snapshot_now(world, world.leader())
    change(world.user(), Change.INVITE)
    assert len(world.restart("a").membership().tokens) == 2


def test_a_log_that_does_not_say_who_the_members_are_is_damaged() -> None:
    world = World(1)
    world.leader()
    disk = world.disk("a").reopened()
    last = disk.restored().last_index
    disk.persist(term=9, vote=None, entries=[Entry(last + 1, 9, Kind.MEMBERSHIP, b"nobody")], commit_index=last)
    with pytest.raises(Damaged, match="should say who the members are"):
        world.start("a", disk.reopened())


def test_a_leader_has_nothing_to_tell_of_an_entry_that_is_not_its_own() -> None:
    world = World(1)
    leader = world.leader()
    assert leader.desk.leadership is not None
    user = world.user()
    leader.desk.leadership.committed(leader.machine.index + 100)
    assert not user.inbox


def test_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SESSIONS_MAX", 0)
    refused = World(1).user().ask(OpenSession(7), Refused)
    assert refused.code is Code.BUSY
