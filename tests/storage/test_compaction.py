"""The cut of a log on disk: its space comes back, readers see a whole log, and damaged snapshots have an older one."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest

from conflux import limits
from conflux.errors import Damaged, DiskFull, SnapshotDamaged, StorageFailed
from conflux.storage.environment import DATA_FILE
from conflux.storage.interface import SnapshotHeader
from conflux.storage.lmdb_storage import LmdbStorage
from conflux.storage.reader import LogReader
from tests.faults.failpoints.points import POINTS
from tests.storage.making import Processes, append, entries, entry, read_all, run, take_snapshot
from tests.storage.test_full_disk import small_disk  # noqa: F401

BODY = (b"the first of the chunks", b"the second of the chunks")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A closed node's directory: entries 11..30 after a cut at 10, and snapshots at 10 and 20."""
    storage = LmdbStorage.open(tmp_path / "node", create=True)
    append(storage, entries(1, 30), commit_index=25)
    for index in (10, 20):
        take_snapshot(storage, index, 1, [b"%d: " % index + chunk for chunk in BODY])
    storage.install_base(10, 1, keep_log=True)
    while storage.compact_some():
        pass
    storage.close()
    return tmp_path / "node"


def flip(path: Path, known: bytes) -> None:
    content = (path / DATA_FILE).read_bytes()
    assert known in content
    (path / DATA_FILE).write_bytes(content.replace(known, bytes([known[0] ^ 1]) + known[1:]))


def names(directory: Path) -> set[str]:
    snapshots = directory / "snapshots"
    return {path.name for path in snapshots.iterdir()} if snapshots.exists() else set()


def test_a_snapshot_stands_under_its_index_and_term_and_nothing_else_does(directory: Path) -> None:
    assert names(directory) == {"10-1", "20-1"}
    assert {path.name for path in (directory / "snapshots" / "20-1").iterdir()} == {DATA_FILE}


def damage(directory: Path, how: str, index: int) -> None:
    path = directory / "snapshots" / f"{index}-1"
    if how == "a chunk":
        flip(path, b"%d: the second" % index)
    elif how == "cut short":
        os.truncate(path / DATA_FILE, 8192)
    elif how == "empty":
        os.truncate(path / DATA_FILE, 0)
    elif how == "no file":
        (path / DATA_FILE).unlink()
    else:
        (path / DATA_FILE).unlink()
        path.rmdir()


DAMAGES = ["a chunk", "cut short", "empty", "no file", "gone"]


@pytest.mark.parametrize("how", DAMAGES)
def test_H9_a_damaged_newest_snapshot_falls_back_to_the_older_one(directory: Path, how: str) -> None:
    damage(directory, how, 20)
    storage = LmdbStorage.open(directory, create=False)
    newest = storage.snapshots.newest()
    assert newest is not None and newest.header.index == 10 and newest.chunk(0) == b"10: the first of the chunks"
    newest.close()
    assert read_all(storage, 11, 30) == entries(11, 30)
    assert names(directory) >= ({"20-1"} if how != "gone" else set()), "it is kept for a look"
    take_snapshot(storage, 20, 1)
    assert [header.index for header in storage.snapshots.all()] == [20, 10]
    storage.snapshots.keep_only([20])
    storage.close()
    assert names(directory) == {"20-1"}


@pytest.mark.parametrize("how", DAMAGES)
def test_H9_where_no_snapshot_leads_to_the_log_it_is_one_clear_line_and_nothing_is_written(
    directory: Path, how: str
) -> None:
    damage(directory, how, 10)
    damage(directory, how, 20)
    before = {path: path.read_bytes() for path in directory.rglob("*.mdb") if path.name == DATA_FILE}
    with pytest.raises(Damaged, match="the log begins after entry 10") as caught:
        LmdbStorage.open(directory, create=False)
    assert "The others hold the data" in caught.value.hint and "\n" not in str(caught.value)
    assert before == {path: path.read_bytes() for path in before}


def test_H9_a_damaged_older_snapshot_is_found_when_it_is_read(directory: Path) -> None:
    damage(directory, "a chunk", 10)
    storage = LmdbStorage.open(directory, create=False)
    older = storage.snapshots.open(10)
    assert older.chunk(0) == b"10: the first of the chunks"
    with pytest.raises(SnapshotDamaged, match="chunk 1"):
        older.chunk(1)
    older.close()
    storage.close()


def test_leftovers_of_a_crash_are_removed_at_opening(directory: Path) -> None:
    for name in ("unfinished", "unfinished-received", "removed-0", "30-9", "5-1"):
        (directory / "snapshots" / name).mkdir()
        (directory / "snapshots" / name / DATA_FILE).write_bytes(b"x")
    LmdbStorage.open(directory, create=False).close()
    assert names(directory) == {"10-1", "20-1", "30-9", "5-1"}  # those with a name are kept for a look
    storage = LmdbStorage.open(directory, create=False)
    storage.snapshots.keep_only([20, 10])
    storage.close()
    assert names(directory) == {"10-1", "20-1"}


def test_a_reader_sees_the_log_from_its_beginning_during_and_after_a_cut(tmp_path: Path, processes: Processes) -> None:
    directory = tmp_path / "node"
    storage = LmdbStorage.open(directory, create=True)
    append(storage, entries(1, 5000), commit_index=4500)
    take_snapshot(storage, 4000, 1)
    storage.install_base(4000, 1, keep_log=True)
    storage.close()
    for compacted in range(4):
        reader = LogReader.open(directory)
        state = reader.hard_state()
        assert (state.snapshot_index, state.snapshot_term, state.first_index, state.last_index) == (4000, 1, 4001, 5000)
        assert (state.last_term, state.commit_index) == (1, 4500)
        assert [each.index for each, right in reader.entries(1, 2**62) if right] == list(range(4001, 5001))
        reader.close()
        storage = LmdbStorage.open(directory, create=False)
        assert storage.compact_some() == (compacted < 3)
        storage.close()


def test_a_reader_sees_a_dropped_log_as_empty(directory: Path) -> None:
    storage = LmdbStorage.open(directory, create=False)
    storage.persist(term=5, vote=None, entries=[], commit_index=0)
    take_snapshot(storage, 28, 5)
    storage.install_base(28, 5, keep_log=False)
    storage.close()
    reader = LogReader.open(directory)
    state = reader.hard_state()
    assert (state.snapshot_index, state.first_index, state.last_index, state.last_term) == (28, 29, 28, 5)
    assert list(reader.entries(1, 100)) == []
    reader.close()


def test_C3_fifty_rounds_of_append_snapshot_and_cut_leave_the_file_bounded(tmp_path: Path) -> None:
    storage = LmdbStorage.open(tmp_path / "node", create=True)
    last, used = 0, []
    for number in range(50):
        for _ in range(20):
            append(storage, [entry(last + 1, payload=os.urandom(60_000)), entry(last + 2, payload=b"x" * 100)])
            last += 2
            storage.compact_some()
        take_snapshot(storage, last, 1)
        base = storage.snapshots.all()[1:2]
        if base:
            storage.install_base(base[0].index, base[0].term, keep_log=True)
            storage.snapshots.keep_only([last, base[0].index])
        used.append(storage._environment.env.info()["last_pgno"])
        assert number < 5 or used[-1] <= 1.5 * used[4]
    storage.close()
    assert len(names(tmp_path / "node")) == 2


def test_C3_no_deletion_is_large(tmp_path: Path) -> None:
    storage = LmdbStorage.open(tmp_path / "node", create=True)
    append(storage, [entry(index, payload=b"x" * limits.MIB) for index in range(1, 31)], commit_index=30)
    append(storage, entries(31, 4000), commit_index=4000)
    take_snapshot(storage, 4000, 1)
    storage.install_base(4000, 1, keep_log=True)
    left = [4000]
    while storage.compact_some():
        left.append(entry_count(storage))
    assert left[1] == 4000 - 7
    assert max(before - after for before, after in pairwise(left)) <= limits.COMPACT_ENTRIES_MAX
    assert entry_count(storage) == 0
    storage.close()


def entry_count(storage: LmdbStorage) -> int:
    environment = storage._environment
    with environment.env.begin() as transaction:
        return int(transaction.stat(environment.log)["entries"])


def test_H12_a_disk_that_fills_up_during_a_snapshot_leaves_all_as_it_was(small_disk: Path) -> None:  # noqa: F811
    storage = LmdbStorage.open(small_disk / "node", create=True)
    append(storage, entries(1, 30), commit_index=25)
    take_snapshot(storage, 10, 1)
    writer = storage.snapshots.begin(SnapshotHeader(index=20, term=1, revision=20, fields=b""))
    with pytest.raises(DiskFull):
        while True:
            writer.write(b"x" * 100_000)
    writer.abandon()
    storage.close()
    storage = LmdbStorage.open(small_disk / "node", create=False)
    assert [header.index for header in storage.snapshots.all()] == [10]
    append(storage, entries(31, 40), commit_index=30)
    take_snapshot(storage, 30, 1)
    storage.close()


def test_C5_a_sync_that_fails_makes_no_snapshot(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LmdbStorage.open(directory, create=False)
    writer = storage.snapshots.begin(SnapshotHeader(index=25, term=1, revision=20, fields=b""))
    writer.write(b"body")

    def fails(_descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fails)
        with pytest.raises(StorageFailed, match="Input/output error"):
            writer.finish()
    writer.abandon()
    assert [header.index for header in storage.snapshots.all()] == [20, 10]
    storage.close()
    assert names(directory) == {"10-1", "20-1"}


@pytest.mark.parametrize("passes", [1, 2, 3])
@pytest.mark.parametrize("point", [name for name, role in POINTS.items() if role == "compacting"])
def test_H1_a_process_that_dies_at_any_point_of_a_cut_leaves_a_log_to_go_on_with(
    tmp_path: Path, processes: Processes, point: str, passes: int
) -> None:
    process = run(processes, "compacting", tmp_path / "node", f"{point}:{passes}", tmp_path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (-9, "")
    assert (tmp_path / point).exists()
    storage = LmdbStorage.open(tmp_path / "node", create=False)
    restored = storage.restored()
    first, last = restored.snapshot_index + 1, restored.last_index
    assert last >= int(out.split()[-1])
    assert first > last or read_all(storage, first, last) == entries(first, last)
    assert restored.snapshot_index <= restored.commit_index
    newest = storage.snapshots.newest()
    if newest is None:
        assert restored.snapshot_index == 0
    else:
        assert newest.chunk(0) == b"state at %d" % newest.header.index
        newest.close()
    append(storage, entries(last + 1, last + 5), commit_index=last)
    take_snapshot(storage, last + 5, 1)
    storage.close()
    assert all(name.endswith("-1") for name in names(tmp_path / "node"))
