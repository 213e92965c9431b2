"""`Journal`: a node's newest writes, each of them durable by one flush of a file that never grows.

A transaction of LMDB takes two flushes, one after the other - its pages, then the page that names them - and a copy of
every page on the way to what it changes. So what a node persists goes into the journal first, and LMDB takes hundreds
of such writes in one transaction (`LmdbStorage`). That transaction begins a new epoch: the number is in the hard state
there, and with it whatever the journal holds of earlier ones is no part of the log any more. Nothing is ever deleted.

`conflux.storage.journal_layout` says how records stand in the file, and how damage is told from a cut-off write.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from conflux import limits
from conflux.errors import Damaged, DiskFull, StorageFailed
from conflux.storage import environment as environments
from conflux.storage import journal_layout
from conflux.storage.environment import JOURNAL_FILE
from conflux.storage.journal_layout import SECTOR_BYTES, SECTORS, Written

_UNFINISHED = "journal.unfinished"
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT}


class Journal:
    """The open journal of a node.

    Args:
        epoch: the one that LMDB holds; nothing is in it yet.
    """

    def __init__(self, directory: Path, epoch: int) -> None:
        self.epoch = epoch
        self._directory = directory
        self._descriptor = os.open(directory / JOURNAL_FILE, os.O_RDWR | os.O_CLOEXEC)
        self._records = 0  # of this epoch
        self._sectors = 0

    @property
    def is_empty(self) -> bool:
        """True where LMDB holds all that was written."""
        return self._records == 0

    def has_room(self, record: bytes) -> bool:
        """Whether this epoch can take one more record."""
        return self._sectors + journal_layout.sectors_for(record) <= SECTORS

    def append(self, record: bytes) -> None:
        """Write a record; it is durable when this returns.

        Raises:
            DiskFull: nothing is durable, and the same or another record may be written. Only where the file system
                does not overwrite in place: the file's room was taken when it was made.
            StorageFailed: nobody knows what is durable.
        """
        data = journal_layout.encode_sectors(record, self.epoch, self._records)
        try:
            written = os.pwrite(self._descriptor, data, self._sectors * SECTOR_BYTES)
        except OSError as error:
            if error.errno in _NO_SPACE:
                raise DiskFull(f"{self._directory / JOURNAL_FILE}: {error.strerror}") from error
            raise StorageFailed(f"{self._directory / JOURNAL_FILE}: {error.strerror}") from error
        if written != len(data):
            raise StorageFailed(f"{self._directory / JOURNAL_FILE}: {written} of {len(data)} bytes were written")
        try:
            _sync(self._descriptor)
        except OSError as error:  # never tried twice: the kernel may report a lost page once and then forget it
            raise StorageFailed(f"{self._directory / JOURNAL_FILE}: {error.strerror}") from error
        self._records += 1
        self._sectors += len(data) // SECTOR_BYTES

    def begin_epoch(self, epoch: int) -> None:
        """LMDB holds all that was written here, and this epoch: begin anew."""
        self.epoch = epoch
        self._records = self._sectors = 0

    def close(self) -> None:
        """Calling twice is harmless."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def make_journal(directory: Path) -> None:
    """Make a journal in which nothing was written, its room taken. It appears complete, or not at all."""
    unfinished = directory / _UNFINISHED
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(bytes(limits.JOURNAL_BYTES))
        file.flush()
        os.fsync(descriptor)
    os.rename(unfinished, directory / JOURNAL_FILE)
    environments.sync_directory(directory)


def read_journal(directory: Path, epoch: int) -> list[Written]:
    """What was written in this epoch, in order. Nobody may be writing to it.

    Raises:
        Damaged: the journal is, or it is missing.
    """
    return journal_layout.decode_journal(_read(directory), epoch)


def read_while_written(directory: Path, epoch: int) -> list[Written]:
    """The same beside a node that writes. It may have gone on to the next epoch meanwhile: then nothing is found."""
    return journal_layout.decode_while_written(_read(directory), epoch)


def _read(directory: Path) -> bytes:
    try:
        return (directory / JOURNAL_FILE).read_bytes()
    except FileNotFoundError as error:
        raise Damaged(f"{directory / JOURNAL_FILE} is missing: it may hold what was written last") from error


def _sync(descriptor: int) -> None:
    """As strong as LMDB's own: where there is no fdatasync, `fsync`."""
    (os.fdatasync if hasattr(os, "fdatasync") else os.fsync)(descriptor)
