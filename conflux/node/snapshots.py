"""`Snapshotter`: this node's own snapshots, and what is cut of its log because of them.

A snapshot is begun when the log has grown past a count or a size, at the next hash point, so that nodes that fold the
same log take the same ones. The state is immutable: a reference is all that must be held while it is encoded in slices
between the turns. Two are kept, and the log is cut at the older: what is between them is the fallback for a damaged
newest, and the past that can still be looked at.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from conflux.app import App
from conflux.errors import DiskFull, MalformedValue, StorageFailed
from conflux.node.clock import Clock
from conflux.node.replica import Replica
from conflux.raft.entry import Entry
from conflux.storage.interface import SnapshotHeader, SnapshotWriter, Storage
from conflux.store import image
from conflux.store.hash_points import HashPoint
from conflux.store.machine import Machine

_log = logging.getLogger("conflux.node")

KEPT_SNAPSHOTS = 2
CHUNK_BYTES = 128 * 1024
SLICE_SECONDS = 0.001

OnTaken = Callable[["SnapshotHeader | None", int, str], None]  # (header, body bytes, "") or (None, 0, why not)


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotOptions:
    """When a node takes a snapshot by itself: past either, at the next hash point."""

    entries: int  # since the last one
    bytes: int  # of payload, since the last one


class Snapshotter:
    """The snapshots of one node.

    Args:
        held_index: the lowest index of a snapshot that somebody fetches; the log is not cut behind it, as long as
            it doesn't grow too much for that.
        is_archived: True once the archive holds all up to an index, or where there is none; else that is begun, and
            `archived` is called in the end.
    """

    def __init__(
        self,
        replica: Replica,
        storage: Storage,
        app: App[object, object],
        clock: Clock,
        options: SnapshotOptions,
        held_index: Callable[[], int | None],
        is_archived: Callable[[int], bool] = lambda index: True,
    ) -> None:
        self.problem: str | None = None  # why the last one came to nothing
        self._replica = replica
        self._storage = storage
        self._app = app
        self._clock = clock
        self._options = options
        self._held_index = held_index
        self._is_archived = is_archived
        self._cut_is_due = False
        self._awaited: SnapshotHeader | None = None  # where the log is cut once the archive holds all before it
        self._entries = 0  # since the last one was begun
        self._bytes = 0
        self._point: HashPoint = replica.machine.hash_point
        self._wanted: Machine | None = None  # to be taken as soon as its hash point is worked out
        self._told: list[OnTaken] = []
        self._writer: SnapshotWriter | None = None
        self._pieces: Iterator[bytes] | None = None
        self._buffer = bytearray()
        self._leftovers = True  # entries that a cut left on the disk, maybe

    @property
    def has_work(self) -> bool:
        """True where `work` would do something now."""
        if self._replica.refusal is not None:
            return False
        if self._writer is not None:
            return self._pieces is not None or self._writer.is_finished
        return (self._wanted is not None and self._wanted.hash_point.done) or self._cut_is_due or self._leftovers

    @property
    def waits(self) -> bool:
        """True while the disk takes in what was written."""
        return self._writer is not None

    def applied(self, entry: Entry, machine: Machine) -> None:
        """An entry was folded."""
        self._entries += 1
        self._bytes += len(entry.payload)
        is_point, self._point = machine.hash_point is not self._point, machine.hash_point
        if is_point and self._is_due and self._writer is None and not self._told:
            self._wanted = machine

    def installed(self, machine: Machine) -> None:
        """Another node's snapshot took the place of the log: one of this node's own would be behind it."""
        self._give_up("another node's snapshot was newer")
        self._entries = self._bytes = 0
        self._point, self._leftovers = machine.hash_point, True

    def archived(self) -> None:
        """The archive holds what a cut waited for."""
        self._cut_is_due = True

    def take_now(self, tell: OnTaken) -> None:
        """Take one of what is folded now."""
        self._told.append(tell)
        if self._writer is None:
            self._wanted = self._replica.machine

    def work(self) -> None:
        """Do what can be done in a slice of time."""
        if self._replica.is_stuck or self._replica.refusal is not None:
            return  # a state that may be wrong is kept by nobody
        try:
            if self._writer is not None:
                self._go_on(self._writer)
            elif self._wanted is not None and self._wanted.hash_point.done:
                self._begin(self._wanted)
            elif self._cut_is_due:
                self._cut()
            elif self._leftovers:
                self._leftovers = self._storage.compact_some()
        except (DiskFull, MalformedValue) as error:
            if str(error) != self.problem:  # once, however often it is tried
                _log.error("no snapshot is taken, so the log is not cut: %s", error)
            self._give_up(str(error))
            self._leftovers = False
        except StorageFailed as error:
            if self._writer is None:
                raise  # it is the log that can't be cut: nothing that this disk says is to be trusted any more
            self._give_up(str(error))

    # -- inside --------------------------------------------------------------------------------------------------

    @property
    def _is_due(self) -> bool:
        return self._entries >= self._options.entries or self._bytes >= self._options.bytes

    def _begin(self, machine: Machine) -> None:
        self._wanted = None
        newest = self._storage.snapshots.all()[:1]
        if newest and newest[0].index >= machine.index:
            self._tell(newest[0], 0, "")
            return
        if machine.index == 0:
            self._tell(None, 0, "nothing is committed yet")
            return
        if machine.hash_point.problem is not None:
            raise MalformedValue(machine.hash_point.problem)
        fields = image.encode_fields(machine, self._app)
        header = SnapshotHeader(
            index=machine.index,
            term=self._replica.raft.log.term_at(machine.index),
            revision=machine.revision,
            fields=fields,
        )
        try:
            self._writer = self._storage.snapshots.begin(header)
        except StorageFailed as error:
            self._give_up(str(error))
            return
        self._pieces = image.encode_body(machine, self._app)
        self._buffer.clear()
        self._entries = self._bytes = 0

    def _go_on(self, writer: SnapshotWriter) -> None:
        if self._pieces is None:
            if writer.is_finished:
                self._finish(writer)
            return
        deadline_s = self._clock.monotonic_s() + SLICE_SECONDS
        while not writer.is_behind:
            piece = next(self._pieces, None)
            if piece is None:
                self._write(writer, all_of_it=True)
                writer.start_finish()
                self._pieces = None
                return
            self._buffer += piece
            self._write(writer)
            if self._clock.monotonic_s() >= deadline_s:
                return

    def _write(self, writer: SnapshotWriter, *, all_of_it: bool = False) -> None:
        while len(self._buffer) >= CHUNK_BYTES or (all_of_it and self._buffer):
            writer.write(bytes(self._buffer[:CHUNK_BYTES]))
            del self._buffer[:CHUNK_BYTES]

    def _finish(self, writer: SnapshotWriter) -> None:
        body_bytes = writer.body_bytes
        snapshot = writer.finish()
        header = snapshot.header
        snapshot.close()
        self._writer = None
        self.problem = None
        self._replica.raft.snapshot_taken(header.index)
        self._cut()
        self._tell(header, body_bytes, "")

    def _cut(self) -> None:
        """Cut the log at the older of the two that are kept, or before, where somebody still needs more."""
        self._cut_is_due = False
        kept = self._storage.snapshots.all()[:KEPT_SNAPSHOTS]
        if len(kept) < KEPT_SNAPSHOTS:
            return
        older, held_index, base_index = kept[-1], self._held_index(), self._replica.raft.log.snapshot_index
        # What the archive is at comes first: it may take longer than it takes until there are two newer ones.
        cut, self._awaited = self._awaited or older, None
        if not base_index < cut.index < older.index:
            cut = older
        if held_index is not None and held_index < cut.index:
            return  # the next cut takes it along
        if not self._is_archived(cut.index):
            self._awaited = cut
            # Those between are of no use to anyone: they would pile up where the archive takes nothing for long.
            self._storage.snapshots.keep_only([base_index, cut.index, *(header.index for header in kept)])
            return
        self._replica.cut_log(cut.index, cut.term)
        self._storage.snapshots.keep_only([cut.index, *(header.index for header in kept)])
        self._leftovers = True
        self._cut_is_due = cut is not older

    def _give_up(self, why: str) -> None:
        if self._writer is not None:
            self._writer.abandon()
        self._writer, self._pieces, self._wanted = None, None, None
        self._buffer.clear()
        self.problem = why
        self._tell(None, 0, why)

    def _tell(self, header: SnapshotHeader | None, body_bytes: int, why: str) -> None:
        told, self._told = self._told, []
        for tell in told:
            tell(header, body_bytes, why)
