"""An archive on disk: whose it is, what it holds after whatever came in between, and what several hold together."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conflux import limits
from conflux.errors import ConfluxError, Damaged, DirectoryError, NewerFormat, WrongDirectory
from conflux.raft.entry import Entry
from conflux.storage import layout
from conflux.storage.archive import OWNER_FILE, Archive, Owner, owner_of, refuse_foreign, segments_of
from conflux.storage.archived import Piece, ReadArchive, Run, look, pieces_of, runs_of
from conflux.storage.artefact import CHUNK, ENTRY, ArtefactWriter
from conflux.storage.interface import SnapshotHeader
from conflux.storage.saved import ArchivedLog, SavedSnapshot, load_log, load_snapshot
from conflux.storage.snapshot_layout import SnapshotHasher
from tests.faults.smalldisk import SmallDisk, why_not
from tests.storage.making import entries

OWNER = Owner(cluster="shop", label="n1", identity="a" * 32)


def base_at(index: int, body: bytes = b"state") -> SavedSnapshot:
    """The header of a snapshot whose body is one chunk."""
    hasher = SnapshotHasher(SnapshotHeader(index=index, term=1, revision=index, fields=b""))
    hasher.update(body)
    return SavedSnapshot(
        cluster="shop",
        cluster_id="id",
        app="list",
        app_version=1,
        saved_us=1,
        index=index,
        term=1,
        revision=index,
        fields=b"",
        body_bytes=len(body),
        checksum=hasher.digest(),
    )


def header_of(first: int, last: int, base: SavedSnapshot | None = None, **fields: Any) -> ArchivedLog:
    known = {"cluster": "shop", "cluster_id": "id", "node": "n1", "identity": "a" * 32, "app": "list"}
    return ArchivedLog(
        **known | fields,
        app_version=1,
        saved_us=1,
        base=base,
        first_index=first,
        last_index=last,
        first_revision=first,
        last_revision=last,
    )


def put(archive: Archive, first: int, last: int, base: SavedSnapshot | None = None) -> None:
    """One more file, of entries first..last."""
    writer = archive.begin(header_of(first, last, base))
    if base is not None:
        writer.write(CHUNK, b"state")
    for entry in entries(first, last):
        writer.write(ENTRY, layout.entry_key(entry.index) + layout.encode_entry(entry))
    writer.start_finish()
    writer.finish()
    archive.add(last)


def open_(root: Path, label: str = "n1") -> Archive:
    return Archive.open(root, Owner(cluster="shop", label=label, identity=OWNER.identity))


def read(run: Run) -> tuple[bytes, list[Entry]]:
    chunks, found = run.contents()
    return b"".join(chunks), list(found)


def the_run(archives: Iterable[ReadArchive]) -> Run:
    (run,) = runs_of(piece for archive in archives for piece in pieces_of(archive))
    return run


# ---- to append to ----


def test_a_new_one_is_made_with_its_owner_and_holds_nothing(tmp_path: Path):
    archive = open_(tmp_path / "some" / "where")
    assert archive.directory == tmp_path / "some" / "where" / "n1" and archive.last_index == 0
    assert owner_of(archive.directory) == OWNER
    assert archive.directory.stat().st_mode & 0o777 == 0o700


def test_what_is_put_in_is_there_after_it_is_opened_again(tmp_path: Path):
    archive = open_(tmp_path)
    put(archive, 1, 3)
    put(archive, 4, 4)
    assert open_(tmp_path).last_index == archive.last_index == 4
    assert read(the_run(look(tmp_path))) == (b"", entries(1, 4))
    assert all(segment.path.stat().st_mode & 0o777 == 0o600 for segment in segments_of(archive.directory))


def test_what_was_cut_short_is_gone_and_what_is_no_ones_stays(tmp_path: Path):
    archive = open_(tmp_path)
    put(archive, 1, 2)
    name = f".{3:020}-{9:020}.log.4711"
    for each in (name, ".archive.json", "notes.txt", ".mine"):
        (archive.directory / each).write_text("x")
    assert open_(tmp_path).last_index == 2
    assert sorted(path.name for path in archive.directory.iterdir()) == sorted(
        [".mine", OWNER_FILE, "notes.txt", f"{1:020}-{2:020}.log"]
    )


def test_a_file_that_is_given_up_leaves_nothing(tmp_path: Path):
    archive = open_(tmp_path)
    writer = archive.begin(header_of(1, 2))
    writer.write(ENTRY, b"x" * 1000)
    writer.abandon()
    writer.abandon()
    writer.wait()
    assert writer.is_over and segments_of(archive.directory) == []
    assert [path.name for path in archive.directory.iterdir()] == [OWNER_FILE]
    put(archive, 1, 2)
    assert archive.last_index == 2


def test_a_file_that_is_given_up_once_all_was_given_is_there_whole_or_not_at_all(tmp_path: Path):
    archive = open_(tmp_path)
    writer = archive.begin(header_of(1, 1))
    (entry,) = entries(1, 1)
    writer.write(ENTRY, layout.entry_key(1) + layout.encode_entry(entry))
    writer.start_finish()
    writer.abandon()
    writer.wait()
    left = segments_of(archive.directory)
    assert left == [] or read(the_run(look(tmp_path))) == (b"", [entry])


def test_a_writer_says_when_it_is_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "ARCHIVE_UNWRITTEN_BYTES_MAX", -1)
    writer = open_(tmp_path).begin(header_of(1, 2))
    assert writer.is_behind
    writer.abandon()
    writer.wait()


def test_an_archive_that_has_gone_is_an_error_of_the_file_that_is_written(tmp_path: Path):
    archive = open_(tmp_path)
    (archive.directory / OWNER_FILE).unlink()
    archive.directory.rmdir()
    writer = archive.begin(header_of(1, 2))
    writer.start_finish()
    with pytest.raises(ConfluxError, match="No such file"):
        writer.finish()


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_a_full_disk_is_an_error_that_leaves_nothing_and_the_same_goes_well_later(tmp_path: Path):
    disk = SmallDisk(tmp_path / "disk", mib=1)
    try:
        archive = open_(tmp_path / "disk")
        disk.fill()
        writer = archive.begin(header_of(1, 2))
        for _ in range(64):
            writer.write(ENTRY, b"x" * 4096)
        writer.start_finish()
        with pytest.raises(ConfluxError, match="No space left"):
            writer.finish()
        disk.free()
        assert [path.name for path in archive.directory.iterdir()] == [OWNER_FILE]
        put(archive, 1, 2)
        assert read(the_run(look(tmp_path / "disk"))) == (b"", entries(1, 2))
    finally:
        disk.close()


# ---- whose it is ----


@pytest.mark.parametrize(
    ("owner", "whose"),
    [
        (Owner(cluster="shop", label="n1", identity="b" * 32), "n1 \\(aaaaaaaa\\) of a cluster 'shop'"),
        (Owner(cluster="bank", label="n1", identity="a" * 32), "of a cluster 'shop'"),
    ],
)
def test_another_nodes_is_refused_and_stays_as_it_was(tmp_path: Path, owner: Owner, whose: str):
    put(open_(tmp_path), 1, 2)
    for attempt in (Archive.open, refuse_foreign):
        with pytest.raises(WrongDirectory, match=whose) as raised:
            attempt(tmp_path, owner)
        assert "move this one away" in raised.value.hint
    assert owner_of(tmp_path / "n1") == OWNER and len(segments_of(tmp_path / "n1")) == 1


def test_one_that_should_be_there_is_not_made_anew(tmp_path: Path):
    with pytest.raises(WrongDirectory, match="is not there") as raised:
        Archive.open(tmp_path, OWNER, create=False)
    assert "Mount its disk" in raised.value.hint and list(tmp_path.iterdir()) == []
    put(open_(tmp_path), 1, 2)
    assert Archive.open(tmp_path, OWNER, create=False).last_index == 2


def test_a_directory_that_holds_something_else_is_refused(tmp_path: Path):
    (tmp_path / "n1").mkdir()
    (tmp_path / "n1" / "data.mdb").write_text("")
    with pytest.raises(WrongDirectory, match="something else than an archive"):
        open_(tmp_path)


def test_an_empty_directory_and_one_that_was_cut_short_are_taken(tmp_path: Path):
    (tmp_path / "n1").mkdir()
    (tmp_path / "n1" / ".archive.json").write_text("{")
    assert open_(tmp_path).last_index == 0


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "x"}', '{"format": 1, "cluster": "shop"}'])
def test_an_owner_that_makes_no_sense_is_damage(tmp_path: Path, text: str):
    directory = open_(tmp_path).directory
    (directory / OWNER_FILE).write_text(text)
    with pytest.raises(Damaged, match="makes no sense"):
        open_(tmp_path)


def test_a_later_format_is_refused(tmp_path: Path):
    directory = open_(tmp_path).directory
    fields = json.loads((directory / OWNER_FILE).read_text()) | {"format": 2, "more": 1}
    (directory / OWNER_FILE).write_text(json.dumps(fields))
    with pytest.raises(NewerFormat):
        open_(tmp_path)


def test_a_place_that_can_not_be_written_to_is_refused(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for attempt in (Archive.open, refuse_foreign):
        with pytest.raises(DirectoryError, match=r"file|Not a directory"):
            attempt(tmp_path / "file" / "deeper", OWNER)
    (tmp_path / "n1").write_text("")
    with pytest.raises(DirectoryError, match="can't be used: Not a directory"):
        Archive.open(tmp_path, OWNER)


# ---- to read ----


def test_where_there_is_none_nothing_is_read(tmp_path: Path):
    with pytest.raises(WrongDirectory, match="holds no archive"):
        look(tmp_path)


def test_one_is_read_by_its_own_directory_and_several_by_the_one_above(tmp_path: Path):
    for label in ("n1", "n2"):
        put(open_(tmp_path, label), 1, 2)
    assert [archive.owner.label for archive in look(tmp_path)] == ["n1", "n2"]
    assert [archive.owner.label for archive in look(tmp_path / "n2")] == ["n2"]
    assert look(tmp_path)[0].cluster_ids == {"id"}


def test_a_gap_ends_a_run_and_the_next_one_begins_with_a_state(tmp_path: Path):
    archive = open_(tmp_path)
    put(archive, 1, 2)
    put(archive, 5, 6, base_at(4))
    put(archive, 7, 8)
    first, second = runs_of(pieces_of(look(tmp_path)[0]))
    assert (first.first_index, first.last_index, first.base) == (1, 2, None)
    assert (second.first_index, second.last_index) == (5, 8) and second.base == base_at(4)
    assert read(second) == (b"state", entries(5, 8))
    assert second.replayable() == second


def test_what_one_lacks_another_has(tmp_path: Path):
    one, other = open_(tmp_path, "n1"), open_(tmp_path, "n2")
    put(one, 1, 3)
    put(one, 8, 9, base_at(7))
    put(other, 2, 5, base_at(1))
    put(other, 6, 7)
    assert read(the_run(look(tmp_path))) == (b"", entries(1, 9))


def test_a_run_whose_beginning_is_missing_is_replayable_from_its_first_state_on(tmp_path: Path):
    archive = open_(tmp_path)
    put(archive, 3, 4)
    put(archive, 5, 6, base_at(4))
    run = the_run(look(tmp_path))
    assert run.first_index == 3
    later = run.replayable()
    assert later is not None and read(later) == (b"state", entries(5, 6))
    put(open_(tmp_path / "other"), 3, 4)
    assert the_run(look(tmp_path / "other")).replayable() is None


def test_of_two_that_begin_behind_a_gap_the_one_with_a_state_is_read(tmp_path: Path):
    put(open_(tmp_path, "n1"), 5, 9)
    put(open_(tmp_path, "n2"), 5, 6, base_at(4))
    assert read(the_run(look(tmp_path))) == (b"state", entries(5, 9))


def test_a_file_that_was_changed_is_found_out(tmp_path: Path):
    archive = open_(tmp_path)
    put(archive, 1, 3)
    (segment,) = segments_of(archive.directory)
    whole = segment.path.read_bytes()
    for damaged in (whole[:-1], whole[:-60] + bytes([whole[-60] ^ 1]) + whole[-59:], whole + b"x"):
        segment.path.write_bytes(damaged)
        with pytest.raises(Damaged):
            read(the_run(look(tmp_path)))
    segment.path.write_bytes(whole)
    segment.path.rename(segment.path.with_name(f"{1:020}-{4:020}.log"))
    with pytest.raises(Damaged, match="its name does not say"):
        look(tmp_path)


def test_a_piece_that_does_not_hold_what_it_should_is_damage():
    def piece(first: int, last: int, found: list[Entry]) -> Piece:
        return Piece(
            first_index=first,
            last_index=last,
            node="n1",
            app="list",
            app_version=1,
            base=None,
            open=lambda: (iter(()), iter(found)),
        )

    run = Run((piece(1, 2, entries(1, 2)), piece(3, 5, entries(3, 4))))
    with pytest.raises(Damaged, match="entry 5 is missing"):
        read(run)


def test_a_file_of_an_archive_is_no_export_and_an_export_no_file_of_an_archive(tmp_path: Path):
    archive = open_(tmp_path)
    put(archive, 1, 1)
    (segment,) = segments_of(archive.directory)
    for load in (load_log, load_snapshot):
        with pytest.raises(ConfluxError, match="is not") as raised:
            load(segment.path)
        assert "conflux export --archive" in raised.value.hint
    with ArtefactWriter(segment.path, force=True) as writer:
        writer.write(1, b"\x80")
        writer.finish()
    with pytest.raises(Damaged, match="header does not decode"):
        look(tmp_path)


intervals = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 8)), max_size=8)


@settings(deadline=None)
@given(intervals)
def test_runs_hold_every_entry_that_any_piece_has_once_and_in_order(found: list[tuple[int, int]]):
    def piece(first: int, last: int) -> Piece:
        return Piece(
            first_index=first,
            last_index=last,
            node="n1",
            app="list",
            app_version=1,
            base=None,
            open=lambda: (iter(()), iter(entries(first, last))),
        )

    pieces = [piece(first, first + more) for first, more in found]
    runs = runs_of(pieces)
    read_indices = [entry.index for run in runs for entry in read(run)[1]]
    assert read_indices == sorted({index for each in pieces for index in range(each.first_index, each.last_index + 1)})
    assert all(before.last_index + 1 < run.first_index for before, run in pairwise(runs))
