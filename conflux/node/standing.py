"""`StandingLog`: a node's directory as it stands on disk, read beside the running node or without it.

It begins with the snapshot at which its log was cut, or a later one where that is damaged; without one, where the
log goes back to the beginning.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from conflux.errors import Damaged, SnapshotDamaged
from conflux.node.directory import ACCEPTED, FORMED, NIL, SELF, Self, cluster_id
from conflux.raft.entry import Entry
from conflux.storage.interface import SnapshotHeader
from conflux.storage.reader import LogReader, LogState
from conflux.storage.snapshots import SNAPSHOTS, LmdbSnapshots
from conflux.wire.peers import Proposal


class StandingLog:
    """One directory, open for reading.

    Raises:
        DirectoryError: nobody's directory, damaged, of a newer format, or the system refuses.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._reader = LogReader.open(path)
        try:
            self.state: LogState = self._reader.hard_state()
            facts = self._reader.facts()
            self.mine, self.accepted = _who(path, facts)
            self.is_formed = FORMED in facts
            self._snapshots = LmdbSnapshots.look(path / SNAPSHOTS)
            self.base = self._base()
        except BaseException:
            self._reader.close()
            raise

    @property
    def cluster_id(self) -> str:
        """Of the cluster that it belongs to; empty before that is formed."""
        return cluster_id(self.accepted) if self.accepted is not None and self.is_formed else ""

    @property
    def first_index(self) -> int:
        """The first entry behind the base."""
        return self.base.index + 1 if self.base is not None else 1

    def base_checksum(self) -> tuple[int, bytes]:
        """(bytes of the base's body, checksum of the base)."""
        assert self.base is not None
        snapshot = self._snapshots.open(self.base.index)
        try:
            return snapshot.body_bytes, snapshot.checksum
        finally:
            snapshot.close()

    def chunks(self) -> Iterator[bytes]:
        """The base's body. Raises SnapshotDamaged."""
        assert self.base is not None
        snapshot = self._snapshots.open(self.base.index)
        try:
            for number in range(snapshot.chunk_count):
                yield snapshot.chunk(number)
        finally:
            snapshot.close()

    def entries(self, last: int) -> Iterator[Entry]:
        """Entries `first_index`..last.

        Raises:
            Damaged: naming the first that isn't what was written, or that is gone.
        """
        expected = self.first_index
        for entry, checksum_ok in self._reader.entries(expected, last):
            if entry.index != expected:
                break
            if not checksum_ok:
                raise Damaged(f"entry {entry.index} of {self.path} does not match its checksum")
            yield entry
            expected += 1
        if expected <= last:
            raise Damaged(f"entry {expected} is no longer in {self.path}", hint="Its node cut the log: try again.")

    def close(self) -> None:
        """Calling twice is harmless."""
        self._reader.close()
        self._snapshots.close()

    def _base(self) -> SnapshotHeader | None:
        if self.state.snapshot_index == 0:
            return None
        for header in sorted(self._snapshots.all(), key=lambda each: each.index):
            if self._leads_to_the_log(header) and self._snapshots.is_whole(header.index):
                return header
        raise SnapshotDamaged(
            f"the log of {self.path} begins behind entry {self.state.snapshot_index}, and no snapshot there leads to it"
        )

    def _leads_to_the_log(self, header: SnapshotHeader) -> bool:
        state = self.state
        if header.index == state.snapshot_index:
            return header.term == state.snapshot_term
        return any(ok and entry.term == header.term for entry, ok in self._reader.entries(header.index, header.index))


def _who(path: Path, facts: dict[str, bytes]) -> tuple[Self, Proposal | None]:
    try:
        mine = msgspec.msgpack.decode(facts[SELF], type=Self)
        accepted = msgspec.msgpack.decode(facts.get(ACCEPTED, NIL), type=Proposal | None)
    except KeyError as error:
        raise Damaged(f"{path} does not say which node it is") from error
    except ValueError as error:  # msgspec's errors, and a str that is none
        raise Damaged(f"a fact of {path} does not decode: {error}") from error
    return mine, accepted
