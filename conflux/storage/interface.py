"""What a node asks of its disk: the protocols `Storage` and `Snapshots`, and the values that pass through them.

How a log is cut: a snapshot is written and finished (`Snapshots`), then `Storage.install_base` names it, then
`Storage.compact_some` deletes what it covers, a little at a time. Whatever a crash leaves of that is consistent.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from conflux.raft.entry import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a node finds when it opens its storage. A new storage restores all zeros."""

    term: int = 0
    vote: str | None = None
    commit_index: int = 0  # a hint that is never too high
    snapshot_index: int = 0  # the base: the log begins after it
    snapshot_term: int = 0
    last_index: int = 0
    last_term: int = 0
    term_starts: tuple[tuple[int, int], ...] = field(default=())  # (first index, term), ascending
    membership_indices: tuple[int, ...] = ()  # of the log's entries of that kind, ascending


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotHeader:
    """What a snapshot says of itself."""

    index: int  # of the last entry that it includes
    term: int  # of that entry
    revision: int  # the last that it includes
    fields: bytes  # the node's own: members, app, hashes; at most `limits.SNAPSHOT_FIELDS_BYTES_MAX`


class Snapshot(Protocol):
    """A finished snapshot. It stays readable until it is closed, also when it is no longer kept."""

    @property
    def header(self) -> SnapshotHeader: ...

    @property
    def chunk_count(self) -> int: ...

    @property
    def body_bytes(self) -> int: ...

    @property
    def checksum(self) -> bytes:
        """Of header and body, however the body is cut into chunks: what two nodes compare."""
        ...

    def chunk(self, number: int) -> bytes:
        """One of the chunks 0..`chunk_count` - 1, as it was written.

        Raises:
            KeyError: there's no such chunk.
            SnapshotDamaged: its checksum is wrong.
        """
        ...

    def close(self) -> None:
        """Calling twice is harmless."""
        ...


class SnapshotWriter(Protocol):
    """Takes the body of a snapshot, in order. It ends with `finish` or `abandon`.

    Nothing here waits for the disk, but `finish` where `is_finished` was not waited for. `DiskFull` and
    `StorageFailed`: the snapshot can't be finished, `abandon` it. The log and older snapshots are as they were.
    """

    @property
    def header(self) -> SnapshotHeader: ...

    @property
    def chunk_count(self) -> int:
        """How many chunks it has."""
        ...

    @property
    def body_bytes(self) -> int: ...

    @property
    def is_behind(self) -> bool:
        """True while much of what was written isn't on the disk yet: who can wait with the next chunk, does."""
        ...

    def checksum(self) -> bytes:
        """Of the header and what was written: `Snapshot.checksum` if this is all."""
        ...

    def write(self, chunk: bytes) -> None:
        """Append 1 to `limits.SNAPSHOT_CHUNK_BYTES` bytes, which become one chunk."""
        ...

    def start_finish(self) -> None:
        """All is written: sync it, in the background. Calling twice is harmless."""
        ...

    @property
    def is_finished(self) -> bool:
        """True once `finish` returns at once, or raises."""
        ...

    def finish(self) -> Snapshot:
        """The snapshot, durable under its name. Waits for the disk; see `start_finish` and `is_finished`."""
        ...

    def abandon(self) -> None:
        """Give it up and its space back. Harmless after `finish`, and twice."""
        ...


class Snapshots(Protocol):
    """The snapshots of a storage, whose thread owns them.

    A snapshot that the log doesn't reach, or that is of another history than the log, is none: after a restart it
    is gone. So is one that wasn't finished.
    """

    def newest(self) -> Snapshot | None:
        """The newest one. At opening its every byte was checked; one that is damaged is not among them."""
        ...

    def all(self) -> list[SnapshotHeader]:
        """Their headers, newest first."""
        ...

    def open(self, index: int) -> Snapshot:
        """The one at `index`.

        Raises:
            KeyError: there's none.
            SnapshotDamaged: it can't be read.
        """
        ...

    def begin(self, header: SnapshotHeader, *, received: bool = False) -> SnapshotWriter:
        """Begin a snapshot: one of this node's own making at a time, and one that is `received`.

        Raises:
            DiskFull: no room.
            StorageFailed: the disk refuses.
        """
        ...

    def keep_only(self, indices: Collection[int]) -> None:
        """Unlink all others, damaged ones too; those that are open stay readable to who has them."""
        ...


class Storage(Protocol):
    """Term, vote, log, the directory's facts and its snapshots. One thread owns it.

    Every write is synced when the call returns. `DiskFull`: nothing was written and the same call may be made
    again. `StorageFailed`: the node exits; nothing that this storage says is to be trusted any more.
    """

    def restored(self) -> Restored:
        """What was on disk when it was opened, after every entry's checksum was checked."""
        ...

    def persist(self, *, term: int, vote: str | None, entries: Sequence[Entry], commit_index: int) -> None:
        """Write term, vote, commit index and `entries` in one transaction.

        The entries are contiguous; all that stands from the first one's index on is replaced. With no
        entries the log stays as it is. `commit_index` may lag behind what is known, never run ahead.
        """
        ...

    def read(self, first: int, last: int, bytes_max: int) -> list[Entry]:
        """Entries first..last (inclusive) in order, at least one, then as many as `bytes_max` of payload allows.

        Raises:
            KeyError: `first` isn't in the log.
            Damaged: an entry's checksum is wrong.
        """
        ...

    @property
    def snapshots(self) -> Snapshots: ...

    def install_base(self, index: int, term: int, *, keep_log: bool) -> None:
        """Let the log begin after the finished snapshot at `index`, in one small transaction.

        The commit index is at least `index` from then on. What the log held before is deleted by `compact_some`, but
        already now it is no part of the log, over any crash. The same base again is harmless.

        Args:
            keep_log: the log holds the entry of `term` at `index`, and all that follows it stays. Otherwise it does
                not hold it, and the whole log goes; none of it is known to be committed.
        """
        ...

    def compact_some(self) -> bool:
        """Delete a little of what `install_base` left behind, in one synced transaction. True while there's more.

        `DiskFull`: not now; nothing was changed.
        """
        ...

    def facts(self) -> dict[str, bytes]:
        """The directory's facts: identity, cluster, formation. Names to bytes, checksummed on disk."""
        ...

    def record_facts(self, facts: Mapping[str, bytes]) -> None:
        """Write these facts, all or none, beside those that are there."""
        ...

    def close(self) -> None:
        """Free the directory's lock. Calling twice is harmless."""
        ...
