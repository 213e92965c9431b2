"""One finished snapshot, read: its environment is opened once in a process, and shared by all who read it."""

from __future__ import annotations

from pathlib import Path

import lmdb

from conflux.errors import Closed, Damaged, SnapshotDamaged
from conflux.storage import environment as environments
from conflux.storage import snapshot_layout as layout
from conflux.storage.interface import SnapshotHeader

_MAP_SLACK_BYTES = 1024 * 1024


class SnapshotEnvironment:
    """An open snapshot. It closes with the last of its readers."""

    def __init__(self, directory: Path) -> None:
        """Open it, its pages having been found sound.

        Raises:
            NewerFormat: a later version wrote it.
            SnapshotDamaged: it isn't what was written.
            DirectoryError: the system refuses.
        """
        self.directory = directory
        self.is_closed = False
        self._readers = 0
        self._env, self._chunks, meta = _opened(directory)
        try:
            with self._env.begin(meta) as transaction:
                self.header: SnapshotHeader = layout.decode_header(transaction.get(layout.HEADER))
                self.end: layout.End = layout.decode_end(transaction.get(layout.END))
        except lmdb.Error as error:
            self.close()
            raise SnapshotDamaged(f"{directory}: {error}") from error
        except BaseException:
            self.close()
            raise

    def get(self, number: int) -> bytes | None:
        """The value of a chunk."""
        if self.is_closed:
            raise Closed(f"{self.directory} was closed")
        try:
            with self._env.begin(self._chunks) as transaction:
                return transaction.get(layout.chunk_key(number))
        except lmdb.Error as error:
            raise SnapshotDamaged(f"{self.directory}: {error}") from error

    def check(self) -> None:
        """Compute the checksum of every chunk, without a copy; raises SnapshotDamaged."""
        body_bytes = 0
        try:
            with self._env.begin(self._chunks, buffers=True) as transaction:
                for number in range(self.end.chunk_count):
                    body_bytes += len(layout.decode_chunk(number, transaction.get(layout.chunk_key(number))))
        except lmdb.Error as error:
            raise SnapshotDamaged(f"{self.directory}: {error}") from error
        if body_bytes != self.end.body_bytes:
            raise SnapshotDamaged(f"{self.directory}: {body_bytes} bytes of {self.end.body_bytes} are there")

    def hold(self) -> None:
        """One more reader."""
        self._readers += 1

    def release(self) -> None:
        """One reader less."""
        self._readers -= 1
        if self._readers == 0:
            self.close()

    def close(self) -> None:
        """For all readers. Calling twice is harmless."""
        self.is_closed = True
        self._env.close()


class LmdbSnapshot:
    """`conflux.storage.interface.Snapshot` in a directory."""

    def __init__(self, environment: SnapshotEnvironment) -> None:
        """Use `LmdbSnapshots.open`."""
        self._environment = environment
        self._closed = False
        environment.hold()

    @property
    def header(self) -> SnapshotHeader:
        return self._environment.header

    @property
    def chunk_count(self) -> int:
        return self._environment.end.chunk_count

    @property
    def body_bytes(self) -> int:
        return self._environment.end.body_bytes

    @property
    def checksum(self) -> bytes:
        return self._environment.end.checksum

    def chunk(self, number: int) -> bytes:
        """See `Snapshot`. Raises KeyError and SnapshotDamaged."""
        if self._closed:
            raise Closed("the snapshot was closed")
        if not 0 <= number < self.chunk_count:
            raise KeyError(number)
        return bytes(layout.decode_chunk(number, self._environment.get(number)))

    def check(self) -> None:
        """Compute every checksum; raises SnapshotDamaged. The one of the whole is for what comes from other nodes."""
        self._environment.check()

    def close(self) -> None:
        """Calling twice is harmless."""
        if not self._closed:
            self._closed = True
            self._environment.release()


def _opened(directory: Path) -> tuple[lmdb.Environment, lmdb._Database, lmdb._Database]:
    try:
        with environments.directory_errors(directory):
            env = lmdb.open(
                str(directory),
                map_size=(directory / environments.DATA_FILE).stat().st_size + _MAP_SLACK_BYTES,
                readonly=True,
                lock=False,  # it never changes
                create=False,
                max_dbs=2,
            )
            try:
                return env, env.open_db(layout.CHUNKS, create=False), env.open_db(layout.META, create=False)
            except BaseException:
                env.close()
                raise
    except Damaged as error:
        raise SnapshotDamaged(str(error)) from error
