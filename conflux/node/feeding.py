"""`Feeder`: hands this node's snapshots to members that fetch them, chunk by chunk, at their pace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from conflux.errors import SnapshotDamaged
from conflux.storage.interface import Snapshot, Storage
from conflux.wire.peers import AskSnapshot, SnapshotGone, SnapshotPart

FORGOTTEN_SECONDS = 10.0  # a fetch that isn't heard of for so long has ended
HELD_SECONDS_MAX = 600.0  # and one that takes longer holds nothing up any more


@dataclass(slots=True)
class Feeding:
    """One member's fetch."""

    index: int
    began_s: float
    asked_s: float
    chunks_sent: int
    chunk_count: int


class Feeder:
    """All fetches from this node.

    Args:
        send: sends a message to a member. False: it could not be sent.
    """

    def __init__(self, storage: Storage, send: Callable[[str, Any], bool]) -> None:
        self._storage = storage
        self._send = send
        self._open: dict[int, Snapshot] = {}
        self._feedings: dict[str, Feeding] = {}

    def asked(self, peer: str, ask: AskSnapshot, now_s: float) -> None:
        """A member asks for some chunks."""
        snapshot = self._opened(ask.index)
        if snapshot is None or ask.first >= snapshot.chunk_count:
            self._send(peer, SnapshotGone(ask.index))
            return
        last = min(ask.first + ask.count, snapshot.chunk_count)
        try:
            for number in range(ask.first, last):
                if not self._send(peer, _part(snapshot, number)):
                    break
        except SnapshotDamaged:
            self._send(peer, SnapshotGone(ask.index))
            return
        before = self._feedings.get(peer)
        began_s = before.began_s if before is not None and before.index == ask.index else now_s
        self._feedings[peer] = Feeding(ask.index, began_s, now_s, last, snapshot.chunk_count)

    @property
    def is_busy(self) -> bool:
        """True while somebody fetches, or did a moment ago."""
        return bool(self._feedings or self._open)

    def feedings(self, now_s: float) -> dict[str, Feeding]:
        """The fetches that go on, by member."""
        self._feedings = {
            peer: feeding for peer, feeding in self._feedings.items() if now_s - feeding.asked_s <= FORGOTTEN_SECONDS
        }
        wanted = {feeding.index for feeding in self._feedings.values()}
        for index in [each for each in self._open if each not in wanted]:
            self._open.pop(index).close()
        return self._feedings

    def held_index(self, now_s: float) -> int | None:
        """The lowest index that somebody fetches: the log should reach back to it when that is done."""
        held = [each.index for each in self.feedings(now_s).values() if now_s - each.began_s <= HELD_SECONDS_MAX]
        return min(held, default=None)

    def close(self) -> None:
        """Give everything back."""
        for snapshot in self._open.values():
            snapshot.close()
        self._open.clear()

    def _opened(self, index: int) -> Snapshot | None:
        if index not in self._open:
            try:
                self._open[index] = self._storage.snapshots.open(index)
            except (KeyError, SnapshotDamaged):
                return None
        return self._open[index]


def _part(snapshot: Snapshot, number: int) -> SnapshotPart:
    header = snapshot.header
    return SnapshotPart(
        header.index,
        header.term,
        header.revision,
        header.fields,
        snapshot.chunk_count,
        snapshot.body_bytes,
        snapshot.checksum,
        number,
        snapshot.chunk(number),
    )
