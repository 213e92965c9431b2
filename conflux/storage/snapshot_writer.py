"""One snapshot, written beside a running node.

The node's loop writes, and never waits for the disk: each chunk is a transaction that nobody syncs; a thread of its own
syncs the file whenever some has gathered, so that little is left when the end comes. That thread also does the end:
sync, rename, sync of the directory. It only ever touches descriptors and names; LMDB is the owner's alone.

Room is asked for before each chunk, as the log's is (`reserve`): a full disk is then a clear `DiskFull`.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import lmdb

from conflux import limits
from conflux.errors import DiskFull, StorageFailed
from conflux.raft.invariant import invariant
from conflux.storage import environment as environments
from conflux.storage import snapshot_layout as layout
from conflux.storage.interface import SnapshotHeader
from conflux.storage.reserve import Reserve
from conflux.storage.rules import check_chunk
from conflux.storage.snapshot_layout import End, SnapshotHasher
from conflux.storage.snapshot_reader import LmdbSnapshot

SYNC_BYTES = 4 * limits.MIB  # that gather before a sync begins
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


class LmdbSnapshotWriter:
    """`conflux.storage.interface.SnapshotWriter` in a directory.

    Args:
        directory: of all snapshots.
        unfinished: the name while it is written.
        name: the name when it is finished.
        ended: called once: with nothing when it is finished, and opens it then; or with the name of what is left of it.
    """

    def __init__(
        self,
        directory: Path,
        unfinished: str,
        name: str,
        header: SnapshotHeader,
        ended: Callable[[str | None], LmdbSnapshot | None],
    ) -> None:
        self.header = header
        self.chunk_count = 0
        self.body_bytes = 0
        self._directory = directory
        self._path = directory / unfinished
        self._name = name
        self._ended = ended
        self._hasher = SnapshotHasher(header)
        self._snapshot: LmdbSnapshot | None = None
        self._all_written = False
        self._is_over = False
        self._thread: threading.Thread | None = None
        self._failure: StorageFailed | None = None
        self._synced_bytes = 0
        with _storage_errors(self._path):
            self._env, self._chunks, self._meta = _made(self._path, header)
            self._page_bytes = self._env.stat()["psize"]
            self._descriptor = os.open(self._path / environments.DATA_FILE, os.O_RDWR | os.O_CLOEXEC)
            self._reserve = Reserve(self._path / environments.DATA_FILE, limits.MAP_BYTES)

    @property
    def is_behind(self) -> bool:
        return self.body_bytes - self._synced_bytes > limits.SNAPSHOT_UNSYNCED_BYTES_MAX

    @property
    def is_finished(self) -> bool:
        return self._all_written and not self._is_syncing

    def checksum(self) -> bytes:
        """See `SnapshotWriter`."""
        return self._hasher.digest()

    def write(self, chunk: bytes) -> None:
        """See `SnapshotWriter`. Raises DiskFull and StorageFailed."""
        check_chunk(chunk)
        self._check_writable()
        key, value = layout.chunk_key(self.chunk_count), layout.encode_chunk(self.chunk_count, chunk)
        with _storage_errors(self._path):
            self._put(self._chunks, key, value)
        self._hasher.update(chunk)
        self.chunk_count += 1
        self.body_bytes += len(chunk)
        if self.body_bytes - self._synced_bytes >= SYNC_BYTES and not self._is_syncing:
            self._in_background(self._sync, self.body_bytes)

    def start_finish(self) -> None:
        """See `SnapshotWriter`. Raises DiskFull and StorageFailed."""
        if self._all_written:
            return
        self._check_writable()
        end = layout.encode_end(End(self.chunk_count, self.body_bytes, self._hasher.digest()))
        with _storage_errors(self._path):
            self._put(self._meta, layout.END, end)
            used_bytes = (self._env.info()["last_pgno"] + 1) * self._page_bytes
            self._close_environment()
            os.ftruncate(self._descriptor, used_bytes)
        self._all_written = True
        self._in_background(self._complete, self._thread, self.body_bytes)

    def finish(self) -> LmdbSnapshot:
        """See `SnapshotWriter`. Raises DiskFull and StorageFailed."""
        self.start_finish()
        invariant(self._thread is not None, "a thread does the end")
        self._thread.join()  # type: ignore[union-attr]  # see the line above
        if self._failure is not None:
            raise self._failure
        if not self._is_over:
            self._end(None)
        invariant(self._snapshot is not None, "what was abandoned is never finished")
        return self._snapshot  # type: ignore[return-value]  # see the line above

    def abandon(self) -> None:
        """See `SnapshotWriter`."""
        if self._is_over:
            return
        if self._all_written and self._thread is not None:
            self._thread.join()  # it may be about to rename it
        self._close_environment()
        renamed = self._all_written and not self._path.exists()
        self._end(self._name if renamed else self._path.name)

    @property
    def _is_syncing(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _check_writable(self) -> None:
        if self._failure is not None:
            raise self._failure
        invariant(not self._all_written and not self._is_over, "a snapshot that has ended is not written to")

    def _put(self, database: lmdb._Database, key: bytes, value: bytes) -> None:
        used_bytes = (self._env.info()["last_pgno"] + 1) * self._page_bytes
        self._reserve.require(used_bytes, len(value))
        with self._env.begin(write=True) as transaction:
            transaction.put(key, value, db=database)

    def _close_environment(self) -> None:
        self._reserve.close()
        self._env.close()

    def _end(self, leftover: str | None) -> None:
        self._is_over = True
        os.close(self._descriptor)
        self._snapshot = self._ended(leftover)

    # In the background.

    def _in_background(self, work: Callable[..., None], *arguments: object) -> None:
        self._thread = threading.Thread(
            target=self._attempt, args=(work, *arguments), name="conflux-snapshot", daemon=True
        )
        self._thread.start()

    def _attempt(self, work: Callable[..., None], *arguments: object) -> None:
        try:
            with _storage_errors(self._path):
                work(*arguments)
        except StorageFailed as error:
            self._failure = error

    def _complete(self, before: threading.Thread | None, written_bytes: int) -> None:
        if before is not None:
            before.join()
        if self._failure is None:
            self._sync(written_bytes)
            self._rename()
            environments.sync_directory(self._directory)
            environments.sync_directory(self._directory.parent)

    def _sync(self, written_bytes: int) -> None:
        os.fsync(self._descriptor)
        self._synced_bytes = written_bytes

    def _rename(self) -> None:
        os.rename(self._path, self._directory / self._name)


def _made(path: Path, header: SnapshotHeader) -> tuple[lmdb.Environment, lmdb._Database, lmdb._Database]:
    path.parent.mkdir(mode=0o700, exist_ok=True)
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(mode=0o700)
    env = lmdb.open(
        str(path),
        map_size=limits.MAP_BYTES,
        metasync=False,  # the file is synced as a whole, before it gets its name
        sync=False,
        writemap=False,  # a full disk would be a SIGBUS
        meminit=True,
        mode=0o600,
        max_dbs=2,
        lock=False,  # the storage's lock is on the whole directory
        lib_version=environments.ENGINE_0_9,
    )
    try:
        with env.begin(write=True) as transaction:
            chunks, meta = (env.open_db(name, txn=transaction) for name in (layout.CHUNKS, layout.META))
            transaction.put(layout.HEADER, layout.encode_header(header), db=meta)
    except BaseException:
        env.close()
        raise
    return env, chunks, meta


@contextmanager
def _storage_errors(path: Path) -> Iterator[None]:
    """Turn what LMDB and the system raise: no room is `DiskFull`, all else `StorageFailed`."""
    try:
        yield
    except (lmdb.Error, OSError) as error:
        number = error.errno if isinstance(error, OSError) else environments.error_number(error)
        if number in _NO_SPACE or isinstance(error, lmdb.MapFullError):
            raise DiskFull(f"{path}: {error}") from error
        raise StorageFailed(f"{path}: {error}") from error
