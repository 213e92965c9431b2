"""`Backups`: hands this node's snapshots to clients that save them, chunk by chunk, at their pace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from conflux.errors import SnapshotDamaged
from conflux.node.clock import Clock
from conflux.node.origin import Origin
from conflux.node.replica import Replica
from conflux.node.snapshots import Snapshotter
from conflux.storage.interface import Snapshot, SnapshotHeader, Storage
from conflux.wire.clients import AskChunk, BackUp, BackupReady, Code, Refused, SnapshotChunk, Working

READY_SECONDS = 30.0  # a snapshot that nobody asked of for so long is let go
WORKING_SECONDS = 0.1  # who waits for a snapshot is told so often that it is being taken
READY_MAX = 4  # and so is the one that was asked of least recently, where there are more


@dataclass(slots=True)
class _Ready:
    """A snapshot that is being saved: it stays readable, whatever becomes of its directory."""

    snapshot: Snapshot
    used_s: float


class Backups:
    """The backups of one node.

    Args:
        reply: hands an answer to whoever asked.
    """

    def __init__(
        self,
        replica: Replica,
        snapshotter: Snapshotter,
        storage: Storage,
        clock: Clock,
        reply: Callable[[Origin, Any], object],
    ) -> None:
        self._replica = replica
        self._snapshotter = snapshotter
        self._storage = storage
        self._clock = clock
        self._reply = reply
        self._asked: set[tuple[Origin, int]] = set()  # whose snapshot is being taken
        self._ready: dict[int, _Ready] = {}
        self._told_s = 0.0

    def begin(self, origin: Origin, ask: BackUp) -> None:
        """Take a snapshot of what is folded now, or of more. Asking again, as the same, changes nothing."""
        if (origin, ask.request) in self._asked:
            return
        self._asked.add((origin, ask.request))
        index = self._replica.machine.index

        def taken(header: SnapshotHeader | None, _body_bytes: int, why: str) -> None:
            if header is not None and header.index < index:
                self._snapshotter.take_now(taken)  # it was under way before: one more
                return
            self._asked.discard((origin, ask.request))
            if header is None:
                self._reply(origin, Refused(ask.request, Code.NOT_READY, f"no snapshot was taken: {why}"))
            else:
                self._tell(origin, ask.request, header.index)

        self._snapshotter.take_now(taken)

    def chunk(self, origin: Origin, ask: AskChunk) -> None:
        """Send one chunk."""
        ready = self._ready.get(ask.index)
        try:
            if ready is None:
                raise KeyError(ask.index)
            ready.used_s = self._clock.monotonic_s()
            self._reply(origin, SnapshotChunk(ask.request, ask.number, ready.snapshot.chunk(ask.number)))
        except (KeyError, SnapshotDamaged) as error:
            self._reply(origin, Refused(ask.request, Code.GONE, f"that snapshot is no longer here: {error}"))

    def turn(self, now_s: float) -> None:
        """Say that snapshots are being taken, and let go of what nobody asks for any more."""
        if self._asked and now_s - self._told_s >= WORKING_SECONDS:
            self._told_s = now_s
            for origin, request in self._asked:
                self._reply(origin, Working(request))
        for index, ready in [*self._ready.items()]:
            if now_s - ready.used_s > READY_SECONDS or len(self._ready) > READY_MAX:
                self._ready.pop(index).snapshot.close()

    def close(self) -> None:
        """Give everything back."""
        for ready in self._ready.values():
            ready.snapshot.close()
        self._ready.clear()

    def _tell(self, origin: Origin, request: int, index: int) -> None:
        try:
            snapshot = self._ready.pop(index).snapshot if index in self._ready else self._storage.snapshots.open(index)
        except (KeyError, SnapshotDamaged) as error:
            self._reply(origin, Refused(request, Code.NOT_READY, f"the snapshot can't be read: {error}"))
            return
        self._ready[index] = _Ready(snapshot, self._clock.monotonic_s())
        header = snapshot.header
        self._reply(
            origin,
            BackupReady(
                request,
                header.index,
                header.term,
                header.revision,
                header.fields,
                snapshot.chunk_count,
                snapshot.body_bytes,
                snapshot.checksum,
            ),
        )
