"""What a node asks of its disk: the `Storage` protocol and the values that pass through it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from conflux.raft.entry import Entry


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a node finds when it opens its storage. A new storage restores all zeros."""

    term: int = 0
    vote: str | None = None
    commit_index: int = 0  # a hint that is never too high
    snapshot_index: int = 0  # the log begins after it
    snapshot_term: int = 0
    last_index: int = 0
    last_term: int = 0
    term_starts: tuple[tuple[int, int], ...] = field(default=())  # (first index, term), ascending


class Storage(Protocol):
    """Term, vote, log and the directory's facts. One thread owns it.

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

    def facts(self) -> dict[str, bytes]:
        """The directory's facts: identity, cluster, formation. Names to bytes, checksummed on disk."""
        ...

    def record_facts(self, facts: Mapping[str, bytes]) -> None:
        """Write these facts, all or none, beside those that are there."""
        ...

    def close(self) -> None:
        """Free the directory's lock. Calling twice is harmless."""
        ...
