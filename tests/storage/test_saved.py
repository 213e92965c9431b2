"""Files that are carried away: what was written comes back, and nothing else does."""

from __future__ import annotations

import struct
from pathlib import Path
from zlib import crc32

import pytest

from conflux.errors import ConfluxError, Damaged, NewerFormat
from conflux.raft.entry import Entry, Kind
from conflux.storage.artefact import ArtefactWriter, read_blocks
from conflux.storage.interface import SnapshotHeader
from conflux.storage.saved import SavedLog, SavedSnapshot, load_log, load_snapshot, save_log, save_snapshot
from conflux.storage.snapshot_layout import SnapshotHasher

CHUNKS = [b"a" * 1000, b"b" * 10]
ENTRIES = [Entry(8, 2, Kind.RECORDS, b"eight"), Entry(9, 3, Kind.NOOP, b""), Entry(10, 3, Kind.MEMBERSHIP, b"ten")]


def a_snapshot(chunks: list[bytes] = CHUNKS) -> SavedSnapshot:
    header = SnapshotHeader(index=7, term=2, revision=5, fields=b"fields")
    hasher = SnapshotHasher(header)
    for chunk in chunks:
        hasher.update(chunk)
    return SavedSnapshot("c", "id", "list", 1, 9, 7, 2, 5, b"fields", sum(map(len, chunks)), hasher.digest())


def a_log(base: SavedSnapshot | None = None, first: int = 8, last: int = 10) -> SavedLog:
    return SavedLog("c", "id", "n1", "list", 1, 9, base, first, last)


def saved(path: Path, *, force: bool = False) -> Path:
    save_snapshot(path, a_snapshot(), CHUNKS, force=force)
    return path


def read_all(path: Path) -> None:
    list(read_blocks(path))


def test_a_snapshot_comes_back(tmp_path: Path):
    header, chunks = load_snapshot(saved(tmp_path / "a"))
    assert (header, [*chunks]) == (a_snapshot(), CHUNKS)


@pytest.mark.parametrize("base", [None, a_snapshot()])
def test_a_log_comes_back(tmp_path: Path, base: SavedSnapshot | None):
    save_log(tmp_path / "a", a_log(base), CHUNKS, ENTRIES, force=False)
    header, chunks, entries = load_log(tmp_path / "a")
    assert (header, [*chunks], [*entries]) == (a_log(base), CHUNKS if base else [], ENTRIES)


def test_a_log_without_entries_comes_back(tmp_path: Path):
    save_log(tmp_path / "a", a_log(a_snapshot(), last=7), CHUNKS, [], force=False)
    _, chunks, entries = load_log(tmp_path / "a")
    assert ([*chunks], [*entries]) == (CHUNKS, [])


def test_only_its_owner_can_read_it(tmp_path: Path):
    assert saved(tmp_path / "a").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_is_left_as_it_is(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"mine")
    with pytest.raises(ConfluxError, match="is there already"):
        saved(tmp_path / "a")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"mine")]


def test_a_file_that_came_meanwhile_is_left_as_it_is(tmp_path: Path):
    with pytest.raises(ConfluxError, match="is there already"), ArtefactWriter(tmp_path / "a") as writer:
        (tmp_path / "a").write_bytes(b"mine")
        writer.finish()
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"mine")]


def test_with_force_it_is_written_over(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"mine")
    read_all(saved(tmp_path / "a", force=True))


def test_what_is_given_up_leaves_nothing(tmp_path: Path):
    with pytest.raises(Damaged, match="does not match"):
        save_snapshot(tmp_path / "a", a_snapshot(), CHUNKS[:1], force=False)
    assert [*tmp_path.iterdir()] == []


def test_every_flipped_bit_is_found(tmp_path: Path):
    path = saved(tmp_path / "a")
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises((Damaged, NewerFormat)):
            read_all(path)


def test_every_truncation_is_found(tmp_path: Path):
    path = saved(tmp_path / "a")
    whole = path.read_bytes()
    for length in range(0, len(whole), 11):
        path.write_bytes(whole[:length])
        with pytest.raises(Damaged):
            read_all(path)


def test_blocks_that_changed_places_are_found(tmp_path: Path):
    with ArtefactWriter(tmp_path / "a") as writer:
        writer.write(2, b"one")
        writer.write(2, b"two")
        writer.finish()
    whole = (tmp_path / "a").read_bytes()
    (tmp_path / "a").write_bytes(whole[:16] + whole[28:40] + whole[16:28] + whole[40:])
    with pytest.raises(Damaged, match="block 0"):
        read_all(tmp_path / "a")


def test_a_block_out_of_another_file_is_found_though_its_own_checksum_is_right(tmp_path: Path):
    for name, content in (("a", b"one"), ("b", b"two")):
        with ArtefactWriter(tmp_path / name) as writer:
            writer.write(2, content)
            writer.write(2, b"the same")
            writer.finish()
    ours, other = (tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()
    (tmp_path / "a").write_bytes(ours[:16] + other[16:28] + ours[28:])
    with pytest.raises(Damaged, match="a does not match its checksum"):
        read_all(tmp_path / "a")


def test_what_follows_the_end_is_found(tmp_path: Path):
    path = saved(tmp_path / "a")
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(Damaged, match="goes on behind its end"):
        read_all(path)


def test_a_newer_format_is_said_to_be_one(tmp_path: Path):
    path = saved(tmp_path / "a")
    head = struct.pack(">8sI", b"conflux\0", 2)
    path.write_bytes(head + struct.pack(">I", crc32(head)) + path.read_bytes()[16:])
    with pytest.raises(NewerFormat, match="has format 2; this version of Conflux reads 1"):
        read_all(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"x" * 1000])
def test_another_file_is_said_to_be_no_artefact(tmp_path: Path, content: bytes):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(Damaged, match="was not written by Conflux"):
        read_all(tmp_path / "a")


def test_a_file_that_is_not_there_is_an_error_of_ours(tmp_path: Path):
    with pytest.raises(ConfluxError, match="No such file"):
        load_snapshot(tmp_path / "a")


def test_a_log_is_no_snapshot_and_a_snapshot_no_log(tmp_path: Path):
    save_log(tmp_path / "log", a_log(), [], ENTRIES, force=False)
    with pytest.raises(ConfluxError, match="is not a saved snapshot"):
        load_snapshot(tmp_path / "log")
    with pytest.raises(ConfluxError, match="is not an exported log"):
        load_log(saved(tmp_path / "snapshot"))


@pytest.mark.parametrize("entries", [ENTRIES[:2], ENTRIES[1:], [ENTRIES[0], ENTRIES[2]]])
def test_a_log_with_a_gap_is_refused(tmp_path: Path, entries: list[Entry]):
    save_log(tmp_path / "a", a_log(), [], entries, force=False)
    _, _, read = load_log(tmp_path / "a")
    with pytest.raises(Damaged):
        list(read)


def test_an_entry_that_does_not_decode_is_named_with_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    save_log(tmp_path / "a", a_log(), [], ENTRIES, force=False)

    def of_an_older_version(kind: int) -> Kind:
        if kind != Kind.RECORDS.value:
            raise ValueError(kind)
        return Kind.RECORDS

    monkeypatch.setattr("conflux.storage.layout.Kind", of_an_older_version)
    _, _, read = load_log(tmp_path / "a")
    with pytest.raises(Damaged, match=f"^{tmp_path / 'a'}: entry 9 ") as caught:
        list(read)
    assert caught.value.hint == "Use another copy of the file."
