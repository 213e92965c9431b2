"""Watches on a node: renewed, too large for a frame, and of who has gone."""

from __future__ import annotations

import pytest

from conflux import limits
from conflux.node.watchers import Watchers
from conflux.wire.clients import Events, Gap, Watch
from tests.node.harness import User, World
from tests.node.test_snapshots import first_index, grow, snapshot_now


def watchers_of(user: User) -> Watchers:
    assert user.node.member is not None
    return user.node.member.watchers


def revisions(user: User) -> list[int]:
    return [event.revision for message in user.got(Events) for event in message.events]


def test_a_watch_that_is_renewed_goes_on_where_it_is() -> None:
    world = World(1)
    user = world.user()
    user.send(Watch(7, 0))
    world.step()
    world.user().perform(("add", "a"))
    user.send(Watch(7, 0))
    world.user().perform(("add", "b"))
    world.run(0.2)
    assert revisions(user) == [1, 2]


def test_events_that_do_not_fit_into_a_frame_come_in_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(1)
    world.user().perform(*[("add", "x" * 1000) for _ in range(5)])
    monkeypatch.setattr(limits, "TURN_BYTES_MAX", 2500)
    user = world.user()
    user.send(Watch(7, 1))
    world.until(lambda: len(revisions(user)) == 5)
    assert revisions(user) == [1, 2, 3, 4, 5]
    assert [len(message.events) for message in user.got(Events) if message.events] == [2, 2, 1]


def test_who_is_gone_when_a_gap_is_to_be_told_is_forgotten_when_its_watch_lapses() -> None:
    world = World(1)
    node = world.leader()
    for _ in range(3):
        grow(world.user(), calls=2)
        snapshot_now(world, node)
    assert first_index(node) > 1
    user = world.user()
    user.is_gone = True
    user.send(Watch(7, 1))
    world.run(0.2)
    assert not user.got(Gap) and not watchers_of(user).is_empty
    world.run(limits.WATCH_LEASE_SECONDS + 1)
    assert watchers_of(user).is_empty
