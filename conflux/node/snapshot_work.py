"""All that a member does with snapshots: it takes its own, hands them out, fetches its leader's, and archives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conflux.app import App
from conflux.node.archiver import Archiver
from conflux.node.clock import Clock
from conflux.node.directory import Directory
from conflux.node.feeding import Feeder
from conflux.node.installing import Installer
from conflux.node.replica import Replica
from conflux.node.snapshots import SnapshotOptions, Snapshotter
from conflux.raft.entry import Entry
from conflux.storage.archive import Archive
from conflux.storage.interface import Storage
from conflux.store.machine import Machine
from conflux.wire.peers import AskSnapshot, SnapshotGone, SnapshotPart


class SnapshotWork:
    """The rooms of it, worked in slices between the turns.

    Args:
        send: sends a message to a member. False: it could not be sent.
        archive: where what is cut is kept, if anywhere.
        directory: says whose that is.
    """

    def __init__(
        self,
        replica: Replica,
        storage: Storage,
        app: App[Any, Any],
        clock: Clock,
        options: SnapshotOptions,
        send: Callable[[str, Any], bool],
        archive: Archive | None,
        directory: Directory,
    ) -> None:
        self._replica = replica
        self._clock = clock
        self.feeder = Feeder(storage, send)
        self.archiver = (
            Archiver(replica, storage, app, clock, archive, directory, self._archived) if archive is not None else None
        )
        is_archived = self.archiver.hold if self.archiver is not None else lambda index: True
        self.installer = Installer(replica, storage, app, clock, send, is_archived)
        self.snapshotter = Snapshotter(replica, storage, app, clock, options, self._held_index, is_archived)
        if self.archiver is not None:
            self.snapshotter.archived()  # a cut may have waited when the node ended

    @property
    def has_work(self) -> bool:
        """True where `work` would do something now."""
        archives = self.archiver is not None and self.archiver.has_work
        return not self._replica.is_stuck and (self.snapshotter.has_work or self.installer.has_work or archives)

    @property
    def waits(self) -> bool:
        """True where there will be something to do soon: a disk takes something in, or chunks are on their way."""
        archives = self.archiver is not None and self.archiver.waits
        return self.snapshotter.waits or self.installer.waits or archives

    def work(self) -> None:
        """A slice of each."""
        if self.archiver is not None and self.archiver.has_work and not self._replica.is_stuck:
            self.archiver.work()
        if self.snapshotter.has_work:
            self.snapshotter.work()
        if self.installer.has_work or self.installer.waits:
            self.installer.work()
        if self.feeder.is_busy:
            self.feeder.feedings(self._clock.monotonic_s())

    def take(self, sender: str, message: AskSnapshot | SnapshotPart | SnapshotGone) -> None:
        """Take another member's message."""
        match message:
            case AskSnapshot():
                self.feeder.asked(sender, message, self._clock.monotonic_s())
            case SnapshotPart():
                self.installer.take(message)
            case SnapshotGone():
                self.installer.gone(message)

    def applied(self, entry: Entry, machine: Machine) -> None:
        """An entry was folded."""
        self.snapshotter.applied(entry, machine)

    def close(self) -> None:
        """Give everything back."""
        self.feeder.close()
        self.installer.close()
        if self.archiver is not None:
            self.archiver.close()

    def status(self) -> dict[str, Any]:
        """What a node's row says of it."""
        feedings = self.feeder.feedings(self._clock.monotonic_s())
        return {
            "snapshot_problem": self.snapshotter.problem or self.installer.problem,
            "archive": self.archiver.status() if self.archiver is not None else None,
            "installing": self.installer.progress(),
            "sending": {
                peer: {"index": each.index, "chunks": each.chunks_sent, "chunks_total": each.chunk_count}
                for peer, each in feedings.items()
            },
        }

    def _held_index(self) -> int | None:
        return self.feeder.held_index(self._clock.monotonic_s())

    def _archived(self) -> None:
        """What was waited for may be cut."""
        self.snapshotter.archived()
        self.installer.archived()
