"""The storage of a node on disk. One thread owns it; every write is synced when the call returns.

What `persist` is given goes into the journal, and LMDB takes it from there, many writes in one transaction: once the
journal is full, before the log is cut, and at the end. Room for that is asked for before the journal is written, so
that a full disk shows itself while nothing is.

Which errors mean what:

- No room found *before* commit - while the reserve is extended, or a page allocated in the map: the transaction is
  dropped, the meta page was never touched, `DiskFull`. The same bytes may be written again.
- `MapFullError` *from* commit is the same case: LMDB allocates its last pages there (the list of free ones) before it
  writes the first byte.
- Anything else from commit - ENOSPC too - is `StorageFailed`, for good. LMDB returns the same codes for a write that
  failed (nothing durable) and for a sync that failed (nobody knows): a full disk that cuts a write short even comes
  out as EIO. And a sync is never tried twice: the kernel may report a lost page once and then forget it. That a full
  disk is no reason to exit is the reserve's doing: it makes the disk say so earlier.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import lmdb
from msgspec import structs

from conflux import limits
from conflux.errors import AlreadyOpen, Closed, Damaged, DiskFull, StorageFailed, WrongDirectory
from conflux.raft.entry import Entry
from conflux.raft.invariant import invariant
from conflux.storage import environment as environments
from conflux.storage import layout
from conflux.storage.environment import Environment
from conflux.storage.interface import Restored
from conflux.storage.journal import Journal, make_journal
from conflux.storage.journal_layout import Written, encode_record
from conflux.storage.layout import HardState
from conflux.storage.lock import DirectoryLock
from conflux.storage.recovery import recover
from conflux.storage.reserve import Reserve
from conflux.storage.rules import check_base, check_persist, check_range, next_hard_state
from conflux.storage.snapshots import SNAPSHOTS, LmdbSnapshots
from conflux.storage.tail import Tail
from conflux.storage.taking import Write, take, take_journal

_KEY_BYTES = len(layout.entry_key(0))


class LmdbStorage:
    """`conflux.storage.interface.Storage` in a directory."""

    def __init__(self, directory: Path, lock: DirectoryLock, environment: Environment, map_bytes: int) -> None:
        """Use `open`."""
        self._directory = directory
        self._lock = lock
        self._environment = environment
        self._pid = os.getpid()
        self._failure: StorageFailed | None = None
        self._closed = False
        self._page_bytes = environment.env.stat()["psize"]
        hard, restored = recover(environment)
        changed_from = take_journal(directory, environment, hard)
        if changed_from is not None:
            hard, restored = recover(environment, restored, changed_from)
        self._hard = hard
        self._tail = Tail()
        self._taken_index = restored.last_index  # where the log in LMDB ends
        self._used_bytes = self._count_used_bytes()
        self._last_index = restored.last_index
        self._last_term = restored.last_term
        self._snapshots = LmdbSnapshots.look(directory / SNAPSHOTS)
        self._snapshots.choose(restored, self._term_at)
        newest = self._snapshots.newest_index()
        self._restored = replace(restored, commit_index=max(restored.commit_index, newest))  # what it includes was
        self._hard = structs.replace(self._hard, commit_index=self._restored.commit_index)
        self._has_left_over = True  # until `compact_some` found nothing
        with environments.directory_errors(directory):
            self._journal = Journal(directory, self._hard.journal_epoch)
            self._reserve = Reserve(directory / environments.DATA_FILE, map_bytes)
            self._snapshots.remove_leftovers()

    @classmethod
    def open(cls, path: Path, *, create: bool, map_bytes: int = limits.MAP_BYTES) -> LmdbStorage:
        """Open a node's directory, after every page and every checksum in it was found right.

        Args:
            create: make a new node's directory (mode 0700); otherwise it must exist and hold data.

        Raises:
            WrongDirectory: `create`, and it holds data; or not `create`, and it holds none.
            AlreadyOpen: another process, or this one, has it open.
            NewerFormat: a later version wrote it; nothing was changed.
            Damaged: naming what is.
            DirectoryError: the system refuses.
        """
        if create:
            _make_directory(path)
        else:
            environments.require_data(path)
        lock = DirectoryLock.acquire(path)
        try:
            if create:
                _refuse_data(path)
                with environments.directory_errors(path):
                    make_journal(path)
                environments.create_environment(path)
            environments.refuse_damage(path)
            environment = environments.open_environment(path, map_bytes=map_bytes, readonly=False)
            try:
                with environments.directory_errors(path):
                    return cls(path, lock, environment, map_bytes)
            except BaseException:
                environment.env.close()
                raise
        except BaseException:
            lock.release()
            raise

    def restored(self) -> Restored:
        """What was on disk when it was opened."""
        self._check_usable()
        return self._restored

    def persist(self, *, term: int, vote: str | None, entries: Sequence[Entry], commit_index: int) -> None:
        """Write term, vote, commit index and `entries`, all or nothing; see `Storage.persist`.

        Raises:
            DiskFull: nothing was written; the same call may be made again.
            StorageFailed: the node exits.
        """
        self._check_usable()
        hard = next_hard_state(self._hard, term, vote, commit_index)
        check_persist(self._hard, hard, self._last_index, entries, self._term_at)
        write: Write = (entries[0].index if entries else 0, [layout.encode_entry(entry) for entry in entries])
        fits = self._require_room(*write)
        record = encode_record(Written(hard, *write))
        if fits and self._journal.has_room(record):
            self._append(record)
            self._tail.write(*write)
            self._hard = hard
        else:
            self._take(hard, [(self._tail.first, self._tail.values), write])
            self._taken_index = entries[-1].index if entries else self._last_index
        if entries:
            self._last_index, self._last_term = entries[-1].index, entries[-1].term

    def read(self, first: int, last: int, bytes_max: int) -> list[Entry]:
        """Entries first..last; see `Storage.read`.

        Raises:
            KeyError: `first` isn't in the log.
            Damaged: an entry is missing, or its checksum is wrong.
        """
        self._check_usable()
        check_range(first, last)
        if not self._hard.snapshot_index < first <= self._last_index:
            raise KeyError(first)
        last, tail = min(last, self._last_index), self._tail
        if not tail.values or last < tail.first:
            return self._read_taken(first, last, bytes_max)
        if first >= tail.first:
            return tail.read(first, last, bytes_max)
        entries = self._read_taken(first, tail.first - 1, bytes_max)
        if entries[-1].index == tail.first - 1:
            room = bytes_max - sum(len(entry.payload) for entry in entries)
            entries += [entry for entry in tail.read(tail.first, last, room) if len(entry.payload) <= room]
        return entries

    @property
    def snapshots(self) -> LmdbSnapshots:
        """The directory's snapshots; see `Storage.snapshots`."""
        self._check_usable()
        return self._snapshots

    def install_base(self, index: int, term: int, *, keep_log: bool) -> None:
        """Let the log begin after the finished snapshot at `index`. See `Storage`; raises like `persist`."""
        self._check_usable()
        hard = self._hard
        if (index, term) == (hard.snapshot_index, hard.snapshot_term):
            return
        check_base(hard, index, term, self._last_index, self._term_at, keep_log=keep_log)
        invariant(self._snapshots.holds(index, term), "the log begins after a finished snapshot")
        # A log that is dropped leaves its positions to nobody: the new one's begin after its end.
        log_offset = hard.log_offset if keep_log else self._taken_index + hard.log_offset - index
        after = structs.replace(
            hard,
            snapshot_index=index,
            snapshot_term=term,
            commit_index=max(hard.commit_index, index),
            log_offset=log_offset,
        )
        self._require_room()
        self._take(after, [(self._tail.first, self._tail.values)] if keep_log else [])
        self._has_left_over = True
        if not keep_log:
            self._last_index, self._last_term = index, term
        self._taken_index = self._last_index

    def compact_some(self) -> bool:
        """Delete a little of what no longer is part of the log; see `Storage.compact_some`. Raises like `persist`."""
        self._check_usable()
        if not self._has_left_over:
            return False
        keys, more = self._left_over()
        if keys:
            self._require_room(replaced=len(keys))
            self._write(lambda transaction: self._delete(transaction, keys))
        self._has_left_over = more
        return more

    def facts(self) -> dict[str, bytes]:
        """The directory's facts; raises Damaged naming the one that is."""
        self._check_usable()
        with environments.directory_errors(self._directory), self._environment.env.begin() as transaction:
            return environments.read_facts(self._environment, transaction)

    def record_facts(self, facts: Mapping[str, bytes]) -> None:
        """Write these facts, all or none, beside those that are there; raises like `persist`."""
        self._check_usable()
        keyed = [(layout.fact_key(name), content) for name, content in facts.items()]
        items = [(key, layout.encode_fact(key, content)) for key, content in keyed]

        def write(transaction: lmdb.Transaction[bytes]) -> None:
            transaction.cursor(self._environment.facts).putmulti(items)

        self._require_room(more_bytes=sum(len(key) + len(value) for key, value in items))
        self._write(write)

    def settle(self) -> None:
        """Have LMDB take all that the journal holds; raises like `persist`."""
        self._check_usable()
        if not self._journal.is_empty:
            self._take(self._hard, [(self._tail.first, self._tail.values)])
            self._taken_index = self._last_index

    def size_on_disk(self) -> int:
        """Bytes that the data takes, reserve included."""
        return environments.size_on_disk(self._directory)

    def close(self) -> None:
        """Free the directory's lock. Calling twice is harmless, as in a forked child."""
        if self._closed or self._pid != os.getpid():
            return
        with contextlib.suppress(StorageFailed):  # it stays in the journal: no less durable, if harder to read
            self.settle()
        self._closed = True
        self._journal.close()
        self._snapshots.close()
        self._reserve.close()
        self._environment.env.close()
        self._lock.release()

    def _check_usable(self) -> None:
        if self._pid != os.getpid():
            raise AlreadyOpen(
                f"{self._directory} is open in process {self._pid}, of which this one is a fork",
                hint="Start processes before the node, or by spawning.",
            )
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise Closed(f"{self._directory} was closed")

    def _key(self, index: int) -> bytes:
        return layout.entry_key(index + self._hard.log_offset)

    def _left_over(self) -> tuple[list[bytes], bool]:
        """The next keys to be deleted, and whether there are more."""
        keys: list[bytes] = []
        size = 0
        end = layout.entry_key(self._hard.base_position)
        with (
            environments.directory_errors(self._directory),
            self._environment.env.begin(self._environment.log, buffers=True) as transaction,
            transaction.cursor() as cursor,
        ):
            for key, value in cursor:
                if bytes(key) > end:
                    return keys, False
                if len(keys) >= limits.COMPACT_ENTRIES_MAX or (keys and size + len(value) > limits.COMPACT_BYTES_MAX):
                    return keys, True
                keys.append(bytes(key))
                size += len(value)
        return keys, False

    def _delete(self, transaction: lmdb.Transaction[bytes], keys: Sequence[bytes]) -> None:
        for key in keys:
            transaction.delete(key, db=self._environment.log)

    def _term_at(self, index: int) -> int:
        if index == self._last_index:
            return self._last_term
        if index == self._hard.snapshot_index:
            return self._hard.snapshot_term
        return self.read(index, index, 0)[0].term

    def _read_taken(self, first: int, last: int, bytes_max: int) -> list[Entry]:
        with (
            environments.directory_errors(self._directory),
            self._environment.env.begin(self._environment.log, buffers=True) as transaction,
        ):
            return _read_range(transaction, first, last, bytes_max, self._hard.log_offset)

    def _append(self, record: bytes) -> None:
        try:
            self._journal.append(record)
        except DiskFull:
            raise
        except StorageFailed as error:
            self._failure = error
            raise

    def _take(self, hard: HardState, writes: list[Write]) -> None:
        """Have LMDB take the hard state and these writes. What else the journal holds is no part of the log then."""
        after = structs.replace(hard, journal_epoch=self._journal.epoch + 1)
        self._write(lambda transaction: take(self._environment, transaction, after, writes))
        self._hard = after
        self._journal.begin_epoch(after.journal_epoch)
        self._tail = Tail()

    def _write(self, write: Callable[[lmdb.Transaction[bytes]], None]) -> None:
        """One transaction of LMDB, in two stages: what fails in the first has changed nothing."""
        try:
            transaction = self._environment.env.begin(write=True)
            try:
                write(transaction)
            except BaseException:
                transaction.abort()
                raise
        except (lmdb.Error, StorageFailed) as error:
            # A page that is spilled early is written before commit too: unreachable, and no sync was asked for.
            raise self._failed(error, retryable=_is_full(error)) from error
        try:
            transaction.commit()
        except (lmdb.Error, OSError) as error:
            raise self._failed(error, retryable=isinstance(error, lmdb.MapFullError)) from error
        self._used_bytes = self._count_used_bytes()

    def _require_room(
        self, first: int = 0, values: Sequence[bytes] = (), *, more_bytes: int = 0, replaced: int = 0
    ) -> bool:
        """See that LMDB has room to take the tail, these entries and `more_bytes`, and to delete `replaced` entries.

        False: its map may be too small for that, and it alone can tell: it must be asked at once.
        """
        tail = self._tail
        write_bytes = more_bytes + tail.size + sum(map(len, values)) + _KEY_BYTES * (len(tail.values) + len(values))
        begins = min(first if values else self._last_index + 1, tail.first if tail.values else self._last_index + 1)
        replaced += max(0, self._taken_index + 1 - begins)
        try:
            if replaced:  # each page of the tree that a deletion touches is copied
                with self._environment.env.begin() as transaction:
                    pages = min(transaction.stat(self._environment.log)["leaf_pages"], replaced)
                write_bytes += pages * self._page_bytes
            return self._reserve.require(self._used_bytes, write_bytes)
        except DiskFull:
            raise
        except (lmdb.Error, StorageFailed) as error:
            raise self._failed(error, retryable=_is_full(error)) from error

    def _count_used_bytes(self) -> int:
        return int(self._environment.env.info()["last_pgno"] + 1) * self._page_bytes

    def _failed(self, error: Exception, *, retryable: bool) -> StorageFailed:
        if retryable:
            return DiskFull(f"{self._directory}: {error}")
        self._failure = StorageFailed(f"{self._directory}: {error}")
        return self._failure


def _is_full(error: lmdb.Error | StorageFailed) -> bool:
    if isinstance(error, StorageFailed):
        return False
    return isinstance(error, lmdb.MapFullError) or environments.error_number(error) in (errno.ENOSPC, errno.EDQUOT)


def _read_range(
    transaction: lmdb.Transaction[memoryview], first: int, last: int, bytes_max: int, log_offset: int
) -> list[Entry]:
    entries: list[Entry] = []
    payload_bytes = 0
    for index in range(first, last + 1):
        value = transaction.get(layout.entry_key(index + log_offset))
        if value is None:
            raise Damaged(f"entry {index} is missing")
        payload_bytes += layout.payload_bytes(value)
        if entries and payload_bytes > bytes_max:
            break
        entries.append(layout.decode_entry(index, value))
    return entries


def _make_directory(path: Path) -> None:
    with environments.directory_errors(path):
        if not path.exists():
            path.mkdir(mode=0o700, parents=True)
            environments.sync_directory(path.parent)
        elif not any(path.iterdir()):
            path.chmod(0o700)  # keys are to stand here; a directory in use is left as its owner wants it


def _refuse_data(path: Path) -> None:
    if environments.holds_data(path):
        raise WrongDirectory(
            f"{path} already holds a node's data", hint="Open it as it is, or name another directory for a new node."
        )
