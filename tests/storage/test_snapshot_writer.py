"""A snapshot that is written beside a running node: its syncs in the background, and a disk that refuses."""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conflux import limits
from conflux.errors import DiskFull, StorageFailed
from conflux.storage.interface import SnapshotHeader
from conflux.storage.lmdb_storage import LmdbStorage
from conflux.storage.snapshot_writer import SYNC_BYTES
from tests.storage.making import append, entries, take_snapshot

CHUNK = b"x" * limits.SNAPSHOT_CHUNK_BYTES
CHUNKS_OF_A_SYNC = SYNC_BYTES // len(CHUNK)
HEADER = SnapshotHeader(index=20, term=1, revision=20, fields=b"")


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[LmdbStorage]:
    """An open node's, with entries 1..30 and a snapshot at 10."""
    opened = LmdbStorage.open(tmp_path / "node", create=True)
    append(opened, entries(1, 30), commit_index=25)
    take_snapshot(opened, 10, 1)
    yield opened
    opened.close()


def indices(storage: LmdbStorage) -> list[int]:
    return [header.index for header in storage.snapshots.all()]


class FailingDisk:
    """In the place of `os.fsync`: the first sync waits until it may go on, then fails; others say that all is well."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, number: int = errno.EIO) -> None:
        self.go_on = threading.Event()
        self.syncs = 0
        self._number = number
        monkeypatch.setattr(os, "fsync", self)

    def __call__(self, descriptor: int) -> None:
        self.syncs += 1
        if self.syncs == 1:
            self.go_on.wait()
            raise OSError(self._number, os.strerror(self._number))


def open_files() -> list[str]:
    """What this process has open; empty where there is no /proc, as on macOS."""
    descriptors = Path("/proc/self/fd").glob("*")
    return [os.readlink(each) for each in descriptors if each.is_symlink()]


def test_a_large_snapshot_is_synced_while_it_is_written(storage: LmdbStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "SNAPSHOT_UNSYNCED_BYTES_MAX", 2 * len(CHUNK))
    writer = storage.snapshots.begin(HEADER)
    for number in range(CHUNKS_OF_A_SYNC):
        assert writer.is_behind == (number > 2)
        writer.write(CHUNK)
    while writer.is_behind:  # until the thread has synced it, and nobody has asked for that
        time.sleep(0.001)
    writer.write(b"the last")
    snapshot = writer.finish()
    assert {snapshot.chunk(number) for number in range(CHUNKS_OF_A_SYNC)} == {CHUNK}
    assert snapshot.chunk(CHUNKS_OF_A_SYNC) == b"the last"
    snapshot.close()


def test_C5_a_sync_that_fails_while_a_snapshot_is_written_ends_it_for_good(
    storage: LmdbStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        disk = FailingDisk(patched)
        writer = storage.snapshots.begin(HEADER)
        for _ in range(CHUNKS_OF_A_SYNC + 3):  # the loop does not wait for the disk
            writer.write(CHUNK)
        disk.go_on.set()
        with pytest.raises(StorageFailed, match="Input/output error"):
            while True:
                writer.write(b"more")
                time.sleep(0.001)
        for use in (writer.start_finish, writer.finish):  # what one sync has reported, the next one may not
            with pytest.raises(StorageFailed, match="Input/output error"):
                use()
    writer.abandon()
    assert indices(storage) == [10]
    take_snapshot(storage, 20, 1)
    assert indices(storage) == [20, 10]


def test_C5_a_sync_that_fails_just_before_the_end_is_not_tried_again(
    storage: LmdbStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        disk = FailingDisk(patched)
        writer = storage.snapshots.begin(HEADER)
        for _ in range(CHUNKS_OF_A_SYNC):
            writer.write(CHUNK)
        writer.start_finish()
        assert not writer.is_finished
        disk.go_on.set()
        with pytest.raises(StorageFailed, match="Input/output error"):
            writer.finish()
    assert disk.syncs == 1
    assert not (tmp_path / "node" / "snapshots" / "20-1").exists()
    writer.abandon()
    assert indices(storage) == [10]


def test_C4_a_sync_that_finds_no_room_is_disk_full(storage: LmdbStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        FailingDisk(patched, errno.ENOSPC).go_on.set()
        writer = storage.snapshots.begin(HEADER)
        with pytest.raises(DiskFull, match="No space left on device") as caught:
            writer.finish()
    assert caught.value.retryable
    writer.abandon()
    take_snapshot(storage, 20, 1)
    assert indices(storage) == [20, 10]


def test_C3_a_snapshot_without_room_for_its_first_page_is_disk_full_and_may_be_begun_again(
    storage: LmdbStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(limits, "MAP_BYTES", 8192)
        with pytest.raises(DiskFull, match="MDB_MAP_FULL") as caught:
            storage.snapshots.begin(HEADER)
    assert caught.value.retryable
    assert not [path for path in open_files() if "unfinished" in path], "nothing of it stays open"
    take_snapshot(storage, 20, 1)
    assert indices(storage) == [20, 10]
