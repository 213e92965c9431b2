"""Snapshots that aren't what was written: named when they are read, passed over when the node starts, never a crash."""

from __future__ import annotations

import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from zlib import crc32

import lmdb
import pytest

from conflux import limits
from conflux.errors import Closed, NewerFormat, SnapshotDamaged
from conflux.storage import snapshot_layout as layout
from conflux.storage.environment import DATA_FILE, ENGINE_0_9
from conflux.storage.interface import SnapshotHeader
from conflux.storage.lmdb_storage import LmdbStorage
from conflux.storage.snapshot_layout import CHUNKS, END, HEADER, META, End
from tests.storage.making import append, entries, take_snapshot

PAGE_BYTES = 4096
BODY = [b"chunk %d" % number for number in range(400)]  # its chunks' tree has upper pages
NEWEST = SnapshotHeader(index=20, term=1, revision=20, fields=b"fields")
NEWEST_END = End(len(BODY), sum(map(len, BODY)), bytes(layout.WHOLE_BYTES))


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[LmdbStorage]:
    """An open node's: entries 1..30, and snapshots at 10 and 20."""
    opened = LmdbStorage.open(tmp_path / "node", create=True)
    append(opened, entries(1, 30), commit_index=25)
    take_snapshot(opened, 10, 1)
    take_snapshot(opened, 20, 1, BODY, fields=NEWEST.fields)
    yield opened
    opened.close()


@pytest.fixture
def newest(storage: LmdbStorage, tmp_path: Path) -> Path:
    """Where its newest snapshot stands."""
    return tmp_path / "node" / "snapshots" / "20-1"


def restarted(storage: LmdbStorage, newest: Path) -> LmdbStorage:
    storage.close()
    return LmdbStorage.open(newest.parents[1], create=False)


def indices(storage: LmdbStorage) -> list[int]:
    return [header.index for header in storage.snapshots.all()]


def write_value(snapshot: Path, database: bytes, key: bytes, value: bytes | None) -> None:
    """Put what LMDB takes for sound, or delete."""
    with lmdb.open(str(snapshot), max_dbs=2, map_size=2**24, lock=False, lib_version=ENGINE_0_9) as env:
        handle = env.open_db(database, create=False)
        with env.begin(write=True) as transaction:
            assert transaction.delete(key, db=handle)
            if value is not None:
                transaction.put(key, value, db=handle)


def checked(body: bytes) -> bytes:
    return body + struct.pack(">I", crc32(body))


def a_number(content: bytes, at: int) -> int:
    return int.from_bytes(content[at : at + 8], sys.byteorder)


def break_root(snapshot: Path, tree: bytes) -> None:
    """Take its flags from the root page of a tree: it is neither a leaf nor an upper page any more."""
    content = (snapshot / DATA_FILE).read_bytes()
    meta = max((0, PAGE_BYTES), key=lambda at: a_number(content, at + 144))  # of the later transaction
    root = a_number(content, meta + 128)
    if tree:
        record = content.index(tree, root * PAGE_BYTES) + len(tree)
        root = a_number(content, record + 40)
    with (snapshot / DATA_FILE).open("r+b") as file:
        file.seek(root * PAGE_BYTES + 10)
        file.write(b"\0\0")


def refuses_twice(storage: LmdbStorage, sentence: str) -> None:
    """LMDB opens a file once in a process: a refusal has closed it, even while somebody still holds the error."""
    with pytest.raises(SnapshotDamaged, match=sentence) as caught:
        storage.snapshots.open(20)
    with pytest.raises(SnapshotDamaged, match=sentence):
        storage.snapshots.open(20)
    assert caught.value.__traceback__ is not None


FOREIGN = checked(b"foreign\0" + layout.encode_header(NEWEST)[8:-4])
DAMAGED_HEADS = {
    "no header": (HEADER, None, "the header of the snapshot is missing"),
    "no end": (END, None, "the end of the snapshot is missing"),
    "a header that is cut short": (HEADER, checked(b"conflux\0"), "the header of the snapshot does not match"),
    "a header with a wrong byte": (HEADER, layout.encode_header(NEWEST)[:-1] + b"?", "the header .* does not match"),
    "an end with a wrong byte": (END, layout.encode_end(NEWEST_END)[:-1] + b"?", "the end .* does not match"),
    "another program's header": (HEADER, FOREIGN, "was not written by Conflux"),
}


@pytest.mark.parametrize("what", DAMAGED_HEADS)
def test_H9_a_head_that_is_not_what_was_written_is_named_and_at_a_restart_an_older_snapshot_is_as_good(
    storage: LmdbStorage, newest: Path, what: str
) -> None:
    key, value, sentence = DAMAGED_HEADS[what]
    write_value(newest, META, key, value)
    refuses_twice(storage, sentence)
    assert not storage.snapshots.is_whole(20)
    again = restarted(storage, newest)
    assert indices(again) == [10]
    assert newest.exists(), "it is kept for a look"
    again.close()


DAMAGED_CHUNKS = {
    "missing": (None, "chunk 7 of the snapshot is missing"),
    "another's": (layout.encode_chunk(8, BODY[8]), "chunk 7 of the snapshot does not match its checksum"),
    "cut short": (b"abc", "chunk 7 of the snapshot does not match its checksum"),
}


@pytest.mark.parametrize("what", DAMAGED_CHUNKS)
def test_H9_a_chunk_that_is_not_what_was_written_is_named_and_the_others_are_read(
    storage: LmdbStorage, newest: Path, what: str
) -> None:
    value, sentence = DAMAGED_CHUNKS[what]
    write_value(newest, CHUNKS, layout.chunk_key(7), value)
    snapshot = storage.snapshots.open(20)
    assert (snapshot.chunk(6), snapshot.chunk(8)) == (BODY[6], BODY[8])
    for read in (lambda: snapshot.chunk(7), snapshot.check):
        with pytest.raises(SnapshotDamaged, match=sentence):
            read()
    snapshot.close()
    again = restarted(storage, newest)
    assert indices(again) == [10]
    again.close()


def test_H9_a_body_that_is_not_as_long_as_its_end_says_is_damaged(storage: LmdbStorage, newest: Path) -> None:
    longer = End(NEWEST_END.chunk_count, NEWEST_END.body_bytes + 1, NEWEST_END.checksum)
    write_value(newest, META, END, layout.encode_end(longer))
    snapshot = storage.snapshots.open(20)
    with pytest.raises(SnapshotDamaged, match=f"{NEWEST_END.body_bytes} bytes of {longer.body_bytes} are there"):
        snapshot.check()
    snapshot.close()
    assert not storage.snapshots.is_whole(20)


@pytest.mark.parametrize("tree", [b"", META])
def test_H9_pages_that_break_under_a_running_node_are_damage_and_no_crash(
    storage: LmdbStorage, newest: Path, tree: bytes
) -> None:
    before = (newest / DATA_FILE).read_bytes()
    break_root(newest, tree)
    refuses_twice(storage, "20-1")
    assert not storage.snapshots.is_whole(20)
    (newest / DATA_FILE).write_bytes(before)
    assert storage.snapshots.is_whole(20)


def test_H9_pages_that_break_under_a_reader_are_damage_and_no_crash(storage: LmdbStorage, newest: Path) -> None:
    snapshot = storage.snapshots.open(20)
    assert snapshot.chunk(7) == BODY[7]
    break_root(newest, CHUNKS)
    for read in (lambda: snapshot.chunk(7), snapshot.check):
        with pytest.raises(SnapshotDamaged, match="20-1"):
            read()
    snapshot.close()


def test_C16_a_snapshot_of_a_newer_format_is_refused_and_nothing_is_written(
    storage: LmdbStorage, newest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(limits, "FORMAT_VERSION", limits.FORMAT_VERSION + 1)
        newer = layout.encode_header(NEWEST)
    write_value(newest, META, HEADER, newer)
    storage.close()
    before = {path: path.read_bytes() for path in newest.parents[1].rglob(DATA_FILE)}
    for _ in range(2):
        with pytest.raises(NewerFormat, match=f"a snapshot has format {limits.FORMAT_VERSION + 1}"):
            LmdbStorage.open(newest.parents[1], create=False)
    assert {path: path.read_bytes() for path in newest.parents[1].rglob(DATA_FILE)} == before


def test_a_snapshot_under_anothers_name_is_not_taken_for_it(storage: LmdbStorage, newest: Path) -> None:
    storage.close()
    shutil.copytree(newest, newest.with_name("25-1"))
    again = LmdbStorage.open(newest.parents[1], create=False)
    assert indices(again) == [20, 10]
    assert newest.with_name("25-1").exists(), "it is kept for a look"
    again.close()


def test_of_two_snapshots_at_one_index_the_one_of_the_later_term_stays(tmp_path: Path) -> None:
    storage = LmdbStorage.open(tmp_path / "node", create=True)
    append(storage, entries(1, 30, 10), commit_index=25)
    for term in (9, 10):  # in the order of their names, 10 comes first
        take_snapshot(storage, 20, term, [b"of term %d" % term])
    storage.close()
    storage = LmdbStorage.open(tmp_path / "node", create=False)
    found = storage.snapshots.open(20)
    assert (found.header.term, found.chunk(0)) == (10, b"of term 10")
    found.close()
    storage.close()
    assert [path.name for path in (tmp_path / "node" / "snapshots").iterdir()] == ["20-10"]


def test_a_reader_that_was_closed_refuses_and_another_of_the_same_snapshot_goes_on(storage: LmdbStorage) -> None:
    one, other = storage.snapshots.open(20), storage.snapshots.open(20)
    one.close()
    with pytest.raises(Closed, match="the snapshot was closed"):
        one.chunk(0)
    assert other.chunk(0) == BODY[0]
    storage.close()
    with pytest.raises(Closed, match="20-1 was closed"):
        other.chunk(0)
