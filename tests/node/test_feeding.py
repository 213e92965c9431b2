"""Snapshots that members fetch from a node: chunk by chunk, at their pace, and only while there are any."""

from __future__ import annotations

from typing import Any

import pytest

from conflux.errors import SnapshotDamaged
from conflux.node.feeding import FORGOTTEN_SECONDS, HELD_SECONDS_MAX, Feeder
from conflux.storage.interface import SnapshotHeader
from conflux.storage.memory import MemoryStorage
from conflux.storage.memory_snapshots import MemorySnapshot, MemorySnapshots
from conflux.wire.peers import AskSnapshot, SnapshotGone, SnapshotPart


class Member:
    """One that fetches; it takes so many messages at once."""

    def __init__(self, room: int = 100) -> None:
        self.room = room
        self.got: list[Any] = []
        self.storage = MemoryStorage()
        for index in (5, 9):
            writer = self.storage.snapshots.begin(SnapshotHeader(index=index, term=1, revision=1, fields=b"f"))
            for number in range(4):
                writer.write(b"chunk %d" % number)
            writer.finish()
        self.feeder = Feeder(self.storage, self.take)

    def take(self, _peer: str, message: Any) -> bool:
        if len(self.got) == self.room:
            return False
        self.got.append(message)
        return True

    def ask(self, index: int, first: int, count: int, now_s: float = 0.0) -> list[Any]:
        del self.got[:]
        self.feeder.asked("m", AskSnapshot(index, first, count), now_s)
        return [each.number if isinstance(each, SnapshotPart) else each for each in self.got]


def test_it_gets_what_it_asks_for_as_far_as_there_is_any() -> None:
    member = Member()
    assert member.ask(5, 0, 2) == [0, 1]
    assert member.ask(5, 2, 9) == [2, 3]
    assert member.ask(5, 4, 1) == [SnapshotGone(5)]
    assert member.ask(7, 0, 1) == [SnapshotGone(7)]


def test_what_can_not_be_sent_ends_the_turn_and_is_asked_again() -> None:
    member = Member(room=1)
    assert member.ask(5, 0, 3) == [0]


@pytest.mark.parametrize(("target", "name"), [(MemorySnapshot, "chunk"), (MemorySnapshots, "open")])
def test_one_that_is_damaged_is_gone(target: type, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(*_: object) -> None:
        raise SnapshotDamaged("a chunk does not match its checksum")

    monkeypatch.setattr(target, name, damaged)
    member = Member()
    assert member.ask(5, 0, 1) == [SnapshotGone(5)] and not member.feeder.feedings(0.0)


def test_a_fetch_holds_the_log_for_a_while_and_is_forgotten_when_it_is_silent() -> None:
    member = Member()
    member.ask(5, 0, 1)
    assert member.feeder.held_index(0.0) == 5 and member.feeder.is_busy
    member.ask(5, 1, 1, HELD_SECONDS_MAX + 1)
    assert member.feeder.held_index(HELD_SECONDS_MAX + 1) is None and member.feeder.is_busy
    member.ask(9, 0, 1, HELD_SECONDS_MAX + 2)  # another one: its time begins anew
    assert member.feeder.held_index(HELD_SECONDS_MAX + 2) == 9
    assert not member.feeder.feedings(HELD_SECONDS_MAX + FORGOTTEN_SECONDS + 3)
    assert not member.feeder.is_busy


def test_closing_gives_everything_back() -> None:
    member = Member()
    member.ask(5, 0, 1)
    member.feeder.close()
    assert not member.feeder._open
