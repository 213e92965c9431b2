"""No room, and a disk that fails: what may be tried again, and what may not."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lmdb
import pytest

from conflux.errors import DirectoryError, DiskFull, StorageFailed
from conflux.storage.environment import DATA_FILE, JOURNAL_FILE
from conflux.storage.lmdb_storage import LmdbStorage
from conflux.storage.reserve import RESERVE_BYTES
from tests.storage.making import append, entries, entry, read_all

SMALL_MAP_BYTES = 512 * 1024


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[LmdbStorage]:
    """A storage that can hold half a megabyte, with three entries in it."""
    opened = LmdbStorage.open(tmp_path / "node", create=True, map_bytes=SMALL_MAP_BYTES)
    append(opened, entries(1, 3), commit_index=2)
    yield opened
    opened.close()


def reopened(storage: LmdbStorage, directory: Path) -> LmdbStorage:
    storage.close()
    return LmdbStorage.open(directory, create=False)


def test_C3_a_full_map_is_disk_full_changes_nothing_and_passes(storage: LmdbStorage, tmp_path: Path) -> None:
    too_much = [entry(4, 1, b"x" * SMALL_MAP_BYTES)]
    for _ in range(3):
        with pytest.raises(DiskFull) as caught:
            storage.persist(term=9, vote="a", entries=too_much, commit_index=3)
        assert caught.value.retryable
    assert read_all(storage, 1, 9) == entries(1, 3)
    append(storage, entries(4, 5))
    with pytest.raises(DiskFull):
        storage.record_facts({"name": b"x" * SMALL_MAP_BYTES})
    assert storage.facts() == {}
    again = reopened(storage, tmp_path / "node")
    assert (again.restored().term, again.restored().vote, again.restored().last_index) == (1, None, 5)
    append(again, [entry(6, 1, b"x" * SMALL_MAP_BYTES)])  # the same, with a larger map
    again.close()


def test_C3_a_map_filled_bit_by_bit_keeps_all_that_was_acknowledged(storage: LmdbStorage, tmp_path: Path) -> None:
    last = 3
    with pytest.raises(DiskFull):
        while True:
            append(storage, entries(last + 1, last + 20))
            last += 20
    assert last > 1000
    again = reopened(storage, tmp_path / "node")
    assert read_all(again, 1, last + 1) == entries(1, last)
    append(again, entries(last + 1, last + 20))
    again.close()


def test_C3_a_replacement_that_finds_no_room_leaves_what_it_was_to_replace(storage: LmdbStorage) -> None:
    with pytest.raises(DiskFull):
        append(storage, [entry(3, 2, b"x" * SMALL_MAP_BYTES)])
    assert read_all(storage, 1, 9) == entries(1, 3)


def test_C4_room_is_asked_for_before_the_transaction(
    storage: LmdbStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = reopened(storage, tmp_path / "node")

    def no_space(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    more = [entry(4, 1, b"x" * RESERVE_BYTES)]
    with monkeypatch.context() as patched:
        patched.setattr(os, "posix_fallocate", no_space)
        with pytest.raises(DiskFull, match="no space left"):
            append(large, more)
    assert read_all(large, 1, 9) == entries(1, 3)
    append(large, more)
    assert read_all(large, 4, 4) == more
    large.close()


def test_C4_where_nothing_can_be_reserved_writes_go_on(
    storage: LmdbStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = reopened(storage, tmp_path / "node")

    def not_supported(*_: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(os, "posix_fallocate", not_supported)
    append(large, [entry(4, 1, b"x" * RESERVE_BYTES)])
    append(large, entries(5, 6))
    large.close()


def test_C4_where_only_the_reserve_finds_no_room_what_is_needed_does(
    storage: LmdbStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = reopened(storage, tmp_path / "node")
    allocate, asked = os.posix_fallocate, []

    def little_space(descriptor: int, offset: int, length: int) -> None:
        asked.append(length)
        if len(asked) == 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        allocate(descriptor, offset, length)

    monkeypatch.setattr(os, "posix_fallocate", little_space)
    append(large, [entry(4, 1, b"x" * (RESERVE_BYTES // 4))])
    assert len(asked) == 2 and asked[1] < asked[0]
    large.close()


def test_C5_a_disk_that_fails_while_room_is_reserved_is_final(
    storage: LmdbStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = reopened(storage, tmp_path / "node")

    def failing(*_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "posix_fallocate", failing)
    with pytest.raises(StorageFailed, match="no room could be reserved"):
        append(large, [entry(4, 1, b"x" * RESERVE_BYTES)])
    large.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system can't be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_C4_a_full_disk_is_disk_full_and_passes_when_there_is_room(small_disk: Path) -> None:
    storage = LmdbStorage.open(small_disk / "node", create=True)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 2**19)
    last = 0
    with pytest.raises(DiskFull):
        while True:
            append(storage, [entry(last + 1, payload=b"x" * 10_000)])
            last += 1
    for _ in range(3):
        with pytest.raises(DiskFull):
            append(storage, [entry(last + 1, payload=b"x" * 10_000)])
    assert len(read_all(storage, 1, last)) == last
    ballast.unlink()
    append(storage, [entry(last + 1, payload=b"x" * 10_000)])
    storage.close()
    storage = LmdbStorage.open(small_disk / "node", create=False)
    assert storage.restored().last_index == last + 1
    storage.close()


def test_C4_where_a_new_nodes_files_find_no_room_nothing_is_begun(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * 1_500_000)
    with pytest.raises(DirectoryError, match="No space left"):
        LmdbStorage.open(small_disk / "node", create=True)
    assert not (small_disk / "node" / JOURNAL_FILE).exists()
    ballast.unlink()
    storage = LmdbStorage.open(small_disk / "node", create=True)
    append(storage, entries(1, 3))
    storage.close()


def lmdb_error(kind: type[lmdb.Error], code: int) -> lmdb.Error:
    """As py-lmdb's extension makes it."""
    error = kind(f"mdb: code {code}")
    error.code = code  # type: ignore[misc]
    return error


class FailingEnvironment:
    """Stands before the LMDB environment: its commits fail, or its writes do."""

    def __init__(self, env: lmdb.Environment, *, put: Exception | None = None, commit: Exception | None = None) -> None:
        self._env, self._put, self._commit = env, put, commit

    def __getattr__(self, name: str) -> object:
        return getattr(self._env, name)

    def begin(self, *arguments: Any, write: bool = False, **options: Any) -> object:
        transaction = self._env.begin(*arguments, write=write, **options)
        return FailingTransaction(transaction, self._put, self._commit) if write else transaction


class FailingTransaction:
    """A write transaction that raises where it is told to."""

    def __init__(self, transaction: lmdb.Transaction, put: Exception | None, commit: Exception | None) -> None:
        self._transaction, self._put, self._commit = transaction, put, commit

    def __getattr__(self, name: str) -> object:
        return getattr(self._transaction, name)

    def put(self, *arguments: Any, **options: Any) -> object:
        if self._put:
            raise self._put
        return self._transaction.put(*arguments, **options)

    def commit(self) -> None:
        if self._commit:
            self._transaction.abort()
            raise self._commit
        self._transaction.commit()


def fail(storage: LmdbStorage, **errors: Exception) -> None:
    environment = storage._environment
    failing: Any = FailingEnvironment(environment.env, **errors)
    storage._environment = type(environment)(failing, environment.log, environment.meta, environment.facts)


@pytest.mark.parametrize(
    "error",
    [
        lmdb_error(lmdb.Error, errno.EIO),
        lmdb_error(lmdb.DiskError, errno.ENOSPC),  # of a write or of a sync: nobody can tell
        lmdb_error(lmdb.PanicError, -30795),
        OSError(errno.EIO, "Input/output error"),
    ],
)
def test_C5_an_error_from_commit_is_final(storage: LmdbStorage, error: Exception) -> None:
    fail(storage, commit=error)
    append(storage, entries(4, 4))
    with pytest.raises(StorageFailed) as caught:
        storage.settle()
    assert not isinstance(caught.value, DiskFull)
    assert not caught.value.retryable
    for use in (
        storage.restored,
        storage.facts,
        lambda: storage.read(1, 1, 1),
        lambda: storage.record_facts({}),
        lambda: append(storage, entries(5, 5)),
    ):
        with pytest.raises(StorageFailed):
            use()


def test_C3_a_map_that_is_found_full_in_commit_is_disk_full(storage: LmdbStorage) -> None:
    """There LMDB allocates the pages for its list of free pages, before it writes anything."""
    environment = storage._environment
    fail(storage, commit=lmdb_error(lmdb.MapFullError, -30792))
    with pytest.raises(DiskFull):
        storage.settle()
    storage._environment = environment
    append(storage, entries(4, 4))
    storage.settle()


def test_C5_after_a_failure_the_directory_can_be_closed_and_opened_anew(storage: LmdbStorage, tmp_path: Path) -> None:
    fail(storage, commit=lmdb_error(lmdb.Error, errno.EIO))
    append(storage, entries(4, 4))
    with pytest.raises(StorageFailed):
        storage.settle()
    again = reopened(storage, tmp_path / "node")
    assert read_all(again, 1, 9) == entries(1, 4)
    again.close()


def test_C5_no_room_for_a_page_that_is_written_before_commit_may_be_tried_again(storage: LmdbStorage) -> None:
    environment = storage._environment
    fail(storage, put=lmdb_error(lmdb.DiskError, errno.ENOSPC))
    with pytest.raises(DiskFull):
        storage.settle()
    storage._environment = environment
    append(storage, entries(4, 4))
    storage.settle()
    assert read_all(storage, 1, 9) == entries(1, 4)


def test_C5_a_failing_disk_before_commit_is_final_too(storage: LmdbStorage) -> None:
    fail(storage, put=lmdb_error(lmdb.Error, errno.EIO))
    with pytest.raises(StorageFailed) as caught:
        storage.settle()
    assert not isinstance(caught.value, DiskFull)


def test_the_reserve_is_no_part_of_the_data(tmp_path: Path) -> None:
    storage = LmdbStorage.open(tmp_path / "node", create=True)
    append(storage, entries(1, 3))
    assert (tmp_path / "node" / DATA_FILE).stat().st_size > RESERVE_BYTES
    assert storage._environment.env.info()["last_pgno"] < 64
    storage.close()
