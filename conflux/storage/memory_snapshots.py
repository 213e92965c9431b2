"""The memory twin of `LmdbSnapshots`: finished is durable, and all else is gone with the process."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from conflux.raft.invariant import invariant
from conflux.storage.interface import Snapshot, SnapshotHeader
from conflux.storage.rules import check_chunk, check_header
from conflux.storage.snapshot_layout import SnapshotHasher


@dataclass(frozen=True, slots=True)
class MemorySnapshot:
    """`conflux.storage.interface.Snapshot` without a disk."""

    header: SnapshotHeader
    chunks: tuple[bytes, ...]
    checksum: bytes

    @property
    def chunk_count(self) -> int:
        return len(self.chunks)

    @property
    def body_bytes(self) -> int:
        return sum(map(len, self.chunks))

    def chunk(self, number: int) -> bytes:
        """One chunk; raises KeyError if there's none of that number."""
        if not 0 <= number < len(self.chunks):
            raise KeyError(number)
        return self.chunks[number]

    def close(self) -> None:
        """Nothing is held."""


class MemorySnapshots:
    """`conflux.storage.interface.Snapshots` without a disk."""

    def __init__(self, finished: Collection[MemorySnapshot] = ()) -> None:
        """Args: finished: what a restart finds."""
        self._finished = {snapshot.header.index: snapshot for snapshot in finished}
        self._writing: dict[bool, MemorySnapshotWriter] = {}

    def finished(self) -> list[MemorySnapshot]:
        """All that there are."""
        return list(self._finished.values())

    def holds(self, index: int, term: int) -> bool:
        """Whether a finished one stands there."""
        return index in self._finished and self._finished[index].header.term == term

    def newest(self) -> Snapshot | None:
        """See `Snapshots`."""
        return self._finished[max(self._finished)] if self._finished else None

    def all(self) -> list[SnapshotHeader]:
        """See `Snapshots`."""
        return [self._finished[index].header for index in sorted(self._finished, reverse=True)]

    def open(self, index: int) -> Snapshot:
        """See `Snapshots`. Raises KeyError."""
        return self._finished[index]

    def begin(self, header: SnapshotHeader, *, received: bool = False) -> MemorySnapshotWriter:
        """See `Snapshots`."""
        check_header(header)
        invariant(received not in self._writing, "one snapshot of a kind is written at a time")
        self._writing[received] = MemorySnapshotWriter(self, header, received)
        return self._writing[received]

    def keep_only(self, indices: Collection[int]) -> None:
        """See `Snapshots`."""
        self._finished = {index: self._finished[index] for index in self._finished if index in indices}

    def _ended(self, received: bool, snapshot: MemorySnapshot | None = None) -> None:
        del self._writing[received]
        if snapshot is not None:
            self._finished[snapshot.header.index] = snapshot


class MemorySnapshotWriter:
    """`conflux.storage.interface.SnapshotWriter` without a disk."""

    is_behind = False
    is_finished = True

    def __init__(self, snapshots: MemorySnapshots, header: SnapshotHeader, received: bool) -> None:
        """Use `MemorySnapshots.begin`."""
        self.header = header
        self.body_bytes = 0
        self._snapshots = snapshots
        self._received = received
        self._chunks: list[bytes] = []
        self._hasher = SnapshotHasher(header)
        self._finished: MemorySnapshot | None = None
        self._all_written = False
        self._abandoned = False

    @property
    def chunk_count(self) -> int:
        return len(self._chunks)

    def checksum(self) -> bytes:
        """See `SnapshotWriter`."""
        return self._hasher.digest()

    def write(self, chunk: bytes) -> None:
        """See `SnapshotWriter`."""
        check_chunk(chunk)
        invariant(not self._all_written and not self._abandoned, "a snapshot that has ended is not written to")
        self._chunks.append(bytes(chunk))
        self.body_bytes += len(chunk)
        self._hasher.update(chunk)

    def start_finish(self) -> None:
        """See `SnapshotWriter`."""
        invariant(not self._abandoned, "what was abandoned is never finished")
        self._all_written = True

    def finish(self) -> Snapshot:
        """See `SnapshotWriter`."""
        self.start_finish()
        if self._finished is None:
            self._finished = MemorySnapshot(self.header, tuple(self._chunks), self._hasher.digest())
            self._snapshots._ended(self._received, self._finished)
        return self._finished

    def abandon(self) -> None:
        """See `SnapshotWriter`."""
        if self._finished is None and not self._abandoned:
            self._abandoned = True
            self._snapshots._ended(self._received)
