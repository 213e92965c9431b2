"""A node's snapshots on disk: `snapshots/INDEX-TERM/`, each an LMDB environment that nobody writes to any more.

One appears under its name complete and synced, or not at all. Where it goes, it is renamed first: whatever has no name
of that form is left over from something that was cut short, and is removed when the directory is opened.
"""

from __future__ import annotations

import os
import re
import shutil
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from conflux.errors import Damaged, SnapshotDamaged
from conflux.raft.invariant import invariant
from conflux.storage import environment as environments
from conflux.storage.interface import Restored, SnapshotHeader
from conflux.storage.rules import check_header, usable
from conflux.storage.snapshot_reader import LmdbSnapshot, SnapshotEnvironment
from conflux.storage.snapshot_writer import LmdbSnapshotWriter

SNAPSHOTS = "snapshots"
_NAME = re.compile(r"(\d+)-(\d+)")
_REMOVED = "removed"


@dataclass(slots=True)
class _Kept:
    """A snapshot that stands there."""

    name: str
    header: SnapshotHeader
    environment: SnapshotEnvironment | None = field(default=None)  # while somebody reads it


class LmdbSnapshots:
    """`conflux.storage.interface.Snapshots` in a directory."""

    def __init__(self, directory: Path) -> None:
        """Use `look`."""
        self._directory = directory
        self._kept: dict[int, _Kept] = {}
        self._damaged: set[str] = set()  # names
        self._writing: dict[bool, LmdbSnapshotWriter] = {}
        self._removals: list[threading.Thread] = []
        self._numbers = count()

    @classmethod
    def look(cls, directory: Path) -> LmdbSnapshots:
        """What stands there. Changes nothing.

        Raises:
            NewerFormat: a later version wrote one.
            DirectoryError: the system refuses.
        """
        snapshots = cls(directory)
        with environments.directory_errors(directory):
            names = sorted(os.listdir(directory)) if directory.exists() else []
        for name in names:
            if _NAME.fullmatch(name):
                snapshots._look_at(name)
        return snapshots

    def choose(self, restored: Restored, term_at: Callable[[int], int]) -> None:
        """Keep in mind those from which the log goes on, the newest of them read to its end. Changes nothing.

        Raises:
            Damaged: there's none, and the log doesn't reach back to its beginning.
        """
        candidates = usable([kept.header for kept in self._kept.values()], restored, term_at)
        self._kept = {header.index: self._kept[header.index] for header in candidates}
        for header in candidates:
            if self.is_whole(header.index):
                return
            self._damaged.add(self._kept.pop(header.index).name)
        if restored.snapshot_index:
            what = f"{len(self._damaged)} damaged" if self._damaged else "none"
            raise Damaged(
                f"the log begins after entry {restored.snapshot_index}, and of the snapshots that lead to it "
                f"{self._directory} holds {what}"
            )

    def remove_leftovers(self) -> None:
        """Remove what was cut short, and what the log doesn't reach."""
        if not self._directory.exists():
            return
        stay = {kept.name for kept in self._kept.values()} | self._damaged
        for name in os.listdir(self._directory):
            if name not in stay:
                self._remove(name)

    def newest_index(self) -> int:
        """Of the newest; 0 if there's none."""
        return max(self._kept, default=0)

    def holds(self, index: int, term: int) -> bool:
        """Whether a finished one stands there."""
        return index in self._kept and self._kept[index].header.term == term

    def newest(self) -> LmdbSnapshot | None:
        """See `Snapshots`."""
        return self.open(max(self._kept)) if self._kept else None

    def all(self) -> list[SnapshotHeader]:
        """See `Snapshots`."""
        return [self._kept[index].header for index in sorted(self._kept, reverse=True)]

    def open(self, index: int) -> LmdbSnapshot:
        """See `Snapshots`. Raises KeyError and SnapshotDamaged."""
        kept = self._kept[index]
        if kept.environment is None or kept.environment.is_closed:
            kept.environment = SnapshotEnvironment(self._directory / kept.name)
        return LmdbSnapshot(kept.environment)

    def is_whole(self, index: int) -> bool:
        """Whether all of the one at `index` is as it was written. Reads it from beginning to end."""
        try:
            snapshot = self.open(index)
        except SnapshotDamaged:
            return False
        try:
            snapshot.check()
        except SnapshotDamaged:
            return False
        finally:
            snapshot.close()
        return True

    def begin(self, header: SnapshotHeader, *, received: bool = False) -> LmdbSnapshotWriter:
        """See `Snapshots`. Raises DiskFull and StorageFailed."""
        check_header(header)
        invariant(received not in self._writing, "one snapshot of a kind is written at a time")
        invariant(not self.holds(header.index, header.term), "a snapshot that stands is not written again")
        name = f"{header.index}-{header.term}"
        if name in self._damaged:
            self._damaged.discard(name)
            self._remove(name)
        self._writing[received] = LmdbSnapshotWriter(
            self._directory,
            "unfinished-received" if received else "unfinished",
            name,
            header,
            lambda leftover: self._ended(received, header, leftover),
        )
        return self._writing[received]

    def keep_only(self, indices: Collection[int]) -> None:
        """See `Snapshots`."""
        for index in [index for index in self._kept if index not in indices]:
            self._remove(self._kept.pop(index).name)
        while self._damaged:
            self._remove(self._damaged.pop())

    def close(self) -> None:
        """Give up what is being written, and wait for what is being removed."""
        for writer in list(self._writing.values()):
            writer.abandon()
        for kept in self._kept.values():
            if kept.environment is not None:
                kept.environment.close()
        for removal in self._removals:
            removal.join()

    def _look_at(self, name: str) -> None:
        if not environments.holds_data(self._directory / name):
            self._damaged.add(name)
            return
        try:
            environments.refuse_damage(self._directory / name)
            environment = SnapshotEnvironment(self._directory / name)
        except Damaged:
            self._damaged.add(name)
            return
        header = environment.header
        environment.close()
        if name != f"{header.index}-{header.term}":
            self._damaged.add(name)
        elif header.index not in self._kept or header.term > self._kept[header.index].header.term:
            self._kept[header.index] = _Kept(name, header)

    def _ended(self, received: bool, header: SnapshotHeader, leftover: str | None) -> LmdbSnapshot | None:
        del self._writing[received]
        if leftover is not None:
            self._remove(leftover)
            return None
        self._kept[header.index] = _Kept(f"{header.index}-{header.term}", header)
        return self.open(header.index)

    def _remove(self, name: str) -> None:
        """Out of sight at once; a large file takes a while to unlink, which nobody waits for."""
        removed = next(path for path in self._numbered() if not path.exists())
        with environments.directory_errors(self._directory):
            os.rename(self._directory / name, removed)
        self._removals = [removal for removal in self._removals if removal.is_alive()]
        removal = threading.Thread(target=shutil.rmtree, args=(removed, True), name="conflux-removal", daemon=True)
        self._removals.append(removal)
        removal.start()

    def _numbered(self) -> Iterator[Path]:
        return (self._directory / f"{_REMOVED}-{number}" for number in self._numbers)
