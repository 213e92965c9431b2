"""`Archiver`: appends what is about to be cut of the log to the node's archive, and says when it may be cut.

Rule: nothing is cut that the archive does not hold. Where the archive takes nothing, its disk being full, say, the log
grows, and the node serves on; the same entries are tried again and again, from the beginning of a file.

Entries that the node never had, since a snapshot took their place, are missing in the archive. The file behind such a
gap begins with that snapshot, so that what follows can still be replayed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

from conflux import limits
from conflux.app import App
from conflux.errors import ConfluxError, SnapshotDamaged
from conflux.node.clock import Clock
from conflux.node.directory import Directory
from conflux.node.replica import Replica
from conflux.node.saving import saved_snapshot
from conflux.storage import layout
from conflux.storage.archive import Archive
from conflux.storage.archive_writer import SegmentWriter
from conflux.storage.artefact import CHUNK, ENTRY
from conflux.storage.interface import Snapshot, Storage
from conflux.storage.saved import ArchivedLog, SavedSnapshot
from conflux.store.records import header_of, next_revision_of

SLICE_SECONDS = 0.002
READ_BYTES = 256 * limits.KIB
RETRY_SECONDS = 5.0

_log = logging.getLogger("conflux.node")


class Archiver:
    """The archive of one node.

    Args:
        directory: says whose it is.
        told: called once what was asked for is in the archive.
    """

    def __init__(
        self,
        replica: Replica,
        storage: Storage,
        app: App[Any, Any],
        clock: Clock,
        archive: Archive,
        directory: Directory,
        told: Callable[[], None],
    ) -> None:
        self.problem: str | None = None  # why the archive takes nothing
        self._replica = replica
        self._storage = storage
        self._app = app
        self._clock = clock
        self._archive = archive
        self._directory = directory
        self._told = told
        self._target = 0  # up to where somebody wants to cut
        self._not_before_s = 0.0
        self._writer: SegmentWriter | None = None
        self._abandoned: SegmentWriter | None = None  # until it is over: the next one writes to the same place
        self._base: Snapshot | None = None  # that is being read
        self._blocks: Iterator[tuple[int, bytes]] | None = None
        self._last = 0  # of the file that is being written
        self._damaged_base = 0  # index of a snapshot that can't be read: the file begins without one
        self._told_of_gap = -1

    @property
    def has_work(self) -> bool:
        """True where `work` would do something now."""
        if self._writer is not None:
            return self._writer.is_over or (self._blocks is not None and not self._writer.is_behind)
        if self._holds(self._target) or self._clock.monotonic_s() < self._not_before_s:
            return False
        return self._abandoned is None or self._abandoned.is_over

    @property
    def waits(self) -> bool:
        """True while the disk takes in what was written."""
        return self._writer is not None

    def hold(self, index: int) -> bool:
        """True once all that the log has up to `index` is in the archive; else that is begun."""
        self._target = max(self._target, index)
        return self._holds(index)

    def work(self) -> None:
        """Do what can be done in a slice of time."""
        try:
            if self._writer is None:
                self._begin()
            else:
                self._go_on(self._writer)
        except SnapshotDamaged as error:
            self._damaged_base = self._replica.raft.log.snapshot_index
            self._failed(str(error))
        except ConfluxError as error:  # of the archive's disk, or an entry that is damaged: nothing is cut
            self._failed(str(error))

    def status(self) -> dict[str, Any]:
        """What a node's row says of it."""
        last_index, directory = self._archive.last_index, str(self._archive.directory)
        return {"directory": directory, "last_index": last_index, "problem": self.problem}

    def close(self) -> None:
        """Give up what is being written: it is begun again where it is needed."""
        self._give_up()
        if self._abandoned is not None:
            self._abandoned.wait()

    # -- inside --------------------------------------------------------------------------------------------------

    def _holds(self, index: int) -> bool:
        return index <= max(self._archive.last_index, self._replica.raft.log.snapshot_index)

    def _begin(self) -> None:
        """Begin a file, with a snapshot where there is nothing that it could go on from."""
        log = self._replica.raft.log
        first = max(self._archive.last_index, log.snapshot_index) + 1
        last = min(self._target, first + limits.ARCHIVE_SEGMENT_ENTRIES - 1)
        first_revision = header_of(log.entries(first, first, 1)[0].payload).first_revision
        last_revision = next_revision_of(log.entries(last, last, 1)[0].payload) - 1
        base = self._snapshot(first - 1) if first - 1 > self._archive.last_index else None
        mine, now_us = self._directory.self, time.time_ns() // 1000
        header = ArchivedLog(
            cluster=mine.cluster,
            cluster_id=self._directory.cluster_id or "",
            node=mine.label,
            identity=mine.identity,
            app=self._app.name,
            app_version=self._app.version,
            saved_us=now_us,
            base=None if base is None else self._saved(base, now_us),
            first_index=first,
            last_index=last,
            first_revision=first_revision,
            last_revision=last_revision,
        )
        self._base, self._last = base, last
        self._blocks = self._contents(base, first, last)
        self._writer = self._archive.begin(header)

    def _snapshot(self, index: int) -> Snapshot | None:
        """What stands for all up to an index that is not in the archive."""
        before = self._archive.last_index
        if self._told_of_gap != before:
            self._told_of_gap = before
            _log.warning("entries %d to %d are not in the archive: a snapshot stands for them", before + 1, index)
        try:
            return None if index == self._damaged_base else self._storage.snapshots.open(index)
        except (KeyError, SnapshotDamaged):
            return None

    def _saved(self, snapshot: Snapshot, now_us: int) -> SavedSnapshot:
        return saved_snapshot(
            snapshot.header,
            cluster=self._directory.self.cluster,
            cluster_id=self._directory.cluster_id or "",
            body_bytes=snapshot.body_bytes,
            checksum=snapshot.checksum,
            saved_us=now_us,
        )

    def _contents(self, base: Snapshot | None, first: int, last: int) -> Iterator[tuple[int, bytes]]:
        """The blocks of a file behind its header."""
        if base is not None:
            for number in range(base.chunk_count):
                yield CHUNK, base.chunk(number)
        while first <= last:
            for entry in self._replica.raft.log.entries(first, last, READ_BYTES):
                yield ENTRY, layout.entry_key(entry.index) + layout.encode_entry(entry)
                first = entry.index + 1

    def _go_on(self, writer: SegmentWriter) -> None:
        if writer.is_over:
            self._finish(writer)
            return
        deadline_s = self._clock.monotonic_s() + SLICE_SECONDS
        while self._blocks is not None and not writer.is_behind:
            block = next(self._blocks, None)
            if block is None:
                writer.start_finish()
                self._blocks = None
            else:
                writer.write(*block)
                if self._clock.monotonic_s() >= deadline_s:
                    return

    def _finish(self, writer: SegmentWriter) -> None:
        writer.finish()
        self._end()
        self._archive.add(self._last)
        if self.problem is not None:
            _log.info("the archive %s takes entries again", self._archive.directory)
        self.problem = None
        if self._holds(self._target):
            self._told()

    def _give_up(self) -> None:
        if self._writer is not None:
            self._writer.abandon()
            self._abandoned = self._writer
        self._end()

    def _end(self) -> None:
        if self._base is not None:
            self._base.close()
        self._writer, self._base, self._blocks = None, None, None

    def _failed(self, why: str) -> None:
        self._give_up()
        if self.problem is None:  # once, however long it lasts: `status` has the newest
            _log.error("the archive takes nothing, so the log is not cut: %s", why)
        self.problem = why
        self._not_before_s = self._clock.monotonic_s() + RETRY_SECONDS
