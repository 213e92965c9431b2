"""Damage on disk: found before anything is believed, and named."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from zlib import crc32

import lmdb
import lmdb.verify
import pytest

from conflux import limits
from conflux.errors import Damaged, DirectoryError, NewerFormat, StorageFailed
from conflux.storage import environment as environments
from conflux.storage import layout
from conflux.storage.environment import DATA_FILE, JOURNAL_FILE
from conflux.storage.layout import HardState
from conflux.storage.lmdb_storage import LmdbStorage
from conflux.storage.meta_pages import findings
from tests.storage.making import Processes, append, entries, entry, read_all, run

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A closed node's directory: entries 1..300 and two facts."""
    storage = LmdbStorage.open(tmp_path / "node", create=True)
    for first in range(1, 300, 50):
        append(storage, entries(first, first + 49), commit_index=first // 2)
        storage.settle()
    storage.record_facts({"identity": b"who I am", "app": b"list"})
    storage.close()
    return tmp_path / "node"


def flip(directory: Path, known: bytes) -> None:
    """Change one bit in the middle of every copy of `known` in the data file."""
    content = (directory / DATA_FILE).read_bytes()
    assert known in content
    middle = len(known) // 2
    changed = known[:middle] + bytes([known[middle] ^ 1]) + known[middle + 1 :]
    (directory / DATA_FILE).write_bytes(content.replace(known, changed))


def write_value(directory: Path, database: bytes, key: bytes, value: bytes | None) -> None:
    """Put what LMDB takes for sound, or delete."""
    with lmdb.open(str(directory), max_dbs=3, map_size=2**30) as env:
        handle = env.open_db(database)
        with env.begin(write=True) as transaction:
            if value is None:
                transaction.delete(key, db=handle)
            else:
                transaction.put(key, value, db=handle)


@pytest.mark.parametrize("index", [1, 150, 300])
def test_C6_a_flipped_bit_in_an_entry_is_damage_that_names_the_index(directory: Path, index: int) -> None:
    flip(directory, b"payload of %d in term 1" % index)
    with pytest.raises(Damaged, match=rf"entry {index} does not match its checksum"):
        LmdbStorage.open(directory, create=False)


def test_C6_a_flipped_bit_in_a_fact_is_damage_that_names_the_fact(directory: Path) -> None:
    flip(directory, b"who I am")
    with pytest.raises(Damaged, match="'identity'"):
        LmdbStorage.open(directory, create=False)


def test_C6_a_flipped_bit_under_a_running_storage_is_found_by_reading(directory: Path) -> None:
    storage = LmdbStorage.open(directory, create=False)
    with (directory / DATA_FILE).open("r+b") as file:
        position = file.read().rindex(b"payload of 77 in term 1")
        file.seek(position)
        file.write(b"q")
    assert read_all(storage, 76, 76) == entries(76, 76)
    with pytest.raises(Damaged, match="entry 77"):
        read_all(storage, 76, 78)
    storage.close()


def test_an_entry_that_stands_at_another_index_is_damage(directory: Path) -> None:
    write_value(directory, layout.LOG, layout.entry_key(8), layout.encode_entry(entry(9)))
    with pytest.raises(Damaged, match="entry 8 "):
        LmdbStorage.open(directory, create=False)


def test_a_missing_entry_is_damage(directory: Path) -> None:
    write_value(directory, layout.LOG, layout.entry_key(8), None)
    with pytest.raises(Damaged, match="entry 8 is missing"):
        LmdbStorage.open(directory, create=False)


def test_an_entry_that_goes_missing_under_a_running_storage_is_damage(directory: Path) -> None:
    storage = LmdbStorage.open(directory, create=False)
    environment = storage._environment
    with environment.env.begin(write=True) as transaction:
        transaction.delete(layout.entry_key(8), db=environment.log)
    with pytest.raises(Damaged, match="entry 8 is missing"):
        storage.read(7, 9, 2**20)
    storage.close()


def test_terms_that_fall_along_the_log_are_damage(directory: Path) -> None:
    write_value(directory, layout.META, layout.HARD_STATE, layout.encode_hard_state(HardState(term=2)))
    write_value(directory, layout.LOG, layout.entry_key(8), layout.encode_entry(entry(8, 2)))
    with pytest.raises(Damaged, match="entry 9 is of term 1, after one of term 2"):
        LmdbStorage.open(directory, create=False)


def test_a_sub_database_of_another_make_is_damage(directory: Path) -> None:
    with lmdb.open(str(directory), max_dbs=3, lib_version=0) as env:
        with env.begin(write=True) as transaction:
            transaction.drop(env.open_db(layout.FACTS, txn=transaction))
        env.open_db(layout.FACTS, dupsort=True)
    with pytest.raises(Damaged, match="flags that none was made with"):
        LmdbStorage.open(directory, create=False)


def test_a_data_file_that_can_not_be_read_is_the_systems_refusal(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(lmdb.verify, "verify", forbidden)
    with pytest.raises(DirectoryError, match="can't be used: Permission denied"):
        LmdbStorage.open(directory, create=False)


def test_too_many_readers_are_no_damage(directory: Path) -> None:
    with pytest.raises(DirectoryError, match="READERS_FULL") as caught, environments.directory_errors(directory):
        raise lmdb.ReadersFullError("MDB_READERS_FULL")
    assert not isinstance(caught.value, Damaged)


def test_a_log_that_ends_below_what_was_committed_is_damage(directory: Path) -> None:
    write_value(
        directory, layout.META, layout.HARD_STATE, layout.encode_hard_state(HardState(term=1, commit_index=301))
    )
    with pytest.raises(Damaged, match="entry 301 was committed"):
        LmdbStorage.open(directory, create=False)


def test_a_log_that_ends_before_the_snapshot_behind_which_it_begins_is_damage(directory: Path) -> None:
    state = HardState(term=1, commit_index=400, snapshot_index=400, snapshot_term=1)
    write_value(directory, layout.META, layout.HARD_STATE, layout.encode_hard_state(state))
    with pytest.raises(Damaged, match="the log ends at 300, but a snapshot stands at 400"):
        LmdbStorage.open(directory, create=False)


def test_an_entry_that_another_program_has_written_behind_the_log_stops_the_node_and_nothing_is_lost(
    directory: Path,
) -> None:
    storage = LmdbStorage.open(directory, create=False)
    environment = storage._environment
    with environment.env.begin(write=True) as transaction:
        transaction.put(layout.entry_key(350), layout.encode_entry(entry(350)), db=environment.log)
    append(storage, entries(301, 302))
    for _ in range(2):
        with pytest.raises(StorageFailed, match="the log does not end where it should"):
            storage.settle()
    storage.close()
    with pytest.raises(Damaged, match="entry 301 is missing"):
        LmdbStorage.open(directory, create=False)
    write_value(directory, layout.LOG, layout.entry_key(350), None)
    again = LmdbStorage.open(directory, create=False)
    assert again.restored().last_index == 302
    again.close()


def test_an_entry_of_a_term_that_the_node_never_reached_is_damage(directory: Path) -> None:
    write_value(directory, layout.META, layout.HARD_STATE, layout.encode_hard_state(HardState(term=0)))
    with pytest.raises(Damaged, match="entry 300 is of term 1"):
        LmdbStorage.open(directory, create=False)


def test_a_log_that_begins_after_a_snapshot_that_is_not_there_is_damage_and_nothing_is_written(tmp_path: Path) -> None:
    LmdbStorage.open(tmp_path / "node", create=True).close()
    state = HardState(term=4, commit_index=100, snapshot_index=100, snapshot_term=3, journal_epoch=9)
    write_value(tmp_path / "node", layout.META, layout.HARD_STATE, layout.encode_hard_state(state))
    before = (tmp_path / "node" / DATA_FILE).read_bytes()
    with pytest.raises(Damaged, match=r"begins after entry 100, and of the snapshots that lead to it .* holds none"):
        LmdbStorage.open(tmp_path / "node", create=False)
    assert (tmp_path / "node" / DATA_FILE).read_bytes() == before


def test_a_missing_hard_state_is_damage(directory: Path) -> None:
    write_value(directory, layout.META, layout.HARD_STATE, None)
    with pytest.raises(Damaged, match="hard_state"):
        LmdbStorage.open(directory, create=False)


def test_every_flipped_byte_of_the_hard_state_is_damage_and_never_another_format() -> None:
    value = layout.encode_hard_state(HardState(term=3, vote="a", commit_index=2))
    for position in range(len(value)):
        with pytest.raises(Damaged):
            layout.decode_hard_state(value[:position] + bytes([value[position] ^ 0x40]) + value[position + 1 :])


@pytest.mark.parametrize(("version", "numbers"), [(1, (7, 250, 0, 0)), (2, (7, 250, 0, 0, 0))])
def test_a_directory_of_an_older_format_is_read_and_becomes_one_of_the_present_format(
    directory: Path, version: int, numbers: tuple[int, ...]
) -> None:
    head = layout._FORMAT.pack(b"conflux\0", version)
    head += layout._CHECKSUM.pack(crc32(head))
    body = head + layout._NUMBERS_BEFORE[version].pack(*numbers, True, 1, b"a")
    old = body + layout._CHECKSUM.pack(crc32(body))
    assert len(old) == 182 + 8 * (version - 1)
    (directory / JOURNAL_FILE).unlink()
    write_value(directory, layout.META, layout.HARD_STATE, old)
    for _ in range(2):
        storage = LmdbStorage.open(directory, create=False)
        restored = storage.restored()
        assert (restored.term, restored.vote, restored.commit_index, restored.last_index) == (7, "a", 250, 300)
        storage.persist(term=7, vote="a", entries=[], commit_index=250)
        storage.close()


def test_C16_a_newer_format_is_refused_and_nothing_is_written(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FORMAT_VERSION", limits.FORMAT_VERSION + 1)
    newer = layout.encode_hard_state(HardState(term=1))[:16] + b"of which we know nothing"
    write_value(directory, layout.META, layout.HARD_STATE, newer)
    monkeypatch.undo()
    before = (directory / DATA_FILE).read_bytes()
    with pytest.raises(NewerFormat, match=f"format {limits.FORMAT_VERSION + 1}"):
        LmdbStorage.open(directory, create=False)
    assert (directory / DATA_FILE).read_bytes() == before


@pytest.mark.parametrize("kept", ["nothing", "one byte", "one page", "one and a half", "a quarter", "half", "most"])
def test_C7_a_truncated_file_is_damage_and_no_crash(directory: Path, processes: Processes, kept: str) -> None:
    storage = LmdbStorage.open(directory, create=False)
    used = (storage._environment.env.info()["last_pgno"] + 1) * PAGE_BYTES
    storage.close()
    lengths = {"nothing": 0, "one byte": 1, "one page": PAGE_BYTES, "one and a half": PAGE_BYTES * 3 // 2}
    lengths |= {"a quarter": used // 4, "half": used // 2, "most": used * 3 // 4}
    os.truncate(directory / DATA_FILE, lengths[kept])
    output, errors = run(processes, "holding", directory).communicate()
    assert output.startswith("Damaged"), errors
    assert (directory / DATA_FILE).stat().st_size == lengths[kept]


def test_C6_one_flipped_byte_anywhere_gives_the_same_content_or_a_refusal_never_a_crash(
    tmp_path: Path, processes: Processes
) -> None:
    process = run(processes, "damaging", tmp_path / "node", 20, 150)
    output, errors = process.communicate()
    assert process.returncode == 0, f"signal {process.returncode} at {output.splitlines()[-1:]}\n{errors}"
    outcomes = [line.split(maxsplit=3) for line in output.splitlines()]
    assert len(outcomes) == 200
    assert {outcome for _, _, _, outcome in outcomes} == {"same", "refused"}, output
    assert {outcome for name, _, _, outcome in outcomes if name == JOURNAL_FILE} == {"refused"}, output


@pytest.mark.parametrize(
    ("newer", "change"), [(True, -2), (True, -1), (True, +2), (False, +2), (False, -2), (True, -4)]
)
def test_C6_the_state_before_the_last_transaction_does_not_come_back_unseen(
    directory: Path, newer: bool, change: int
) -> None:
    """A damaged transaction number makes LMDB take the other meta page, which is sound, and older."""
    storage = LmdbStorage.open(directory, create=False)
    number = storage._environment.env.info()["last_txnid"] - (not newer)
    storage.close()
    with (directory / DATA_FILE).open("r+b") as file:
        file.seek((number % 2) * PAGE_BYTES + 144)
        assert file.read(8) == number.to_bytes(8, sys.byteorder)
        file.seek(-8, os.SEEK_CUR)
        file.write((number + change).to_bytes(8, sys.byteorder))
    with pytest.raises(Damaged):
        LmdbStorage.open(directory, create=False)


@pytest.fixture
def with_many_freed_pages(directory: Path) -> Path:
    """A directory whose list of free pages is a tree: a reader kept them all while the log went on."""
    storage = LmdbStorage.open(directory, create=False)
    reader = storage._environment.env.begin()
    for index in range(301, 600):
        append(storage, entries(index, index))
        storage.settle()
    reader.abort()
    storage.close()
    return directory


def free_pages(directory: Path) -> tuple[int, bytes]:
    """The number of the root page of the newest list of free pages, and what the page holds."""
    content = (directory / DATA_FILE).read_bytes()
    _, root = max((number_at(content, at + 144), number_at(content, at + 80)) for at in (0, PAGE_BYTES))
    return root, content[root * PAGE_BYTES : (root + 1) * PAGE_BYTES]


def number_at(content: bytes, place: int, length: int = 8) -> int:
    return int.from_bytes(content[place : place + length], sys.byteorder)


def write_at(directory: Path, place: int, content: bytes) -> None:
    with (directory / DATA_FILE).open("r+b") as file:
        file.seek(place)
        file.write(content)


def test_a_list_of_free_pages_of_many_transactions_is_no_damage(with_many_freed_pages: Path) -> None:
    _, root = free_pages(with_many_freed_pages)
    assert root[10] & 0x01, "the root is an upper page"
    storage = LmdbStorage.open(with_many_freed_pages, create=False)
    assert read_all(storage, 1, 599) == entries(1, 599)
    append(storage, entries(600, 600))
    storage.close()


def test_C6_a_list_of_free_pages_that_leads_round_in_a_circle_is_damage(with_many_freed_pages: Path) -> None:
    number, root = free_pages(with_many_freed_pages)
    last = number_at(root, number_at(root, 12, 2) - 2, 2)  # where the last of its pages is named
    write_at(with_many_freed_pages, number * PAGE_BYTES + last, number.to_bytes(4, sys.byteorder))
    assert [
        text for text in findings(with_many_freed_pages / DATA_FILE) if text.endswith("its list of free pages None")
    ]
    with pytest.raises(Damaged):
        LmdbStorage.open(with_many_freed_pages, create=False)


@pytest.mark.parametrize("page", [0, 1])
@pytest.mark.parametrize(("place", "flags"), [(44, 0x08 | 0x04), (44, 0), (92, 0x04), (92, 0x10)])
def test_C6_a_tree_whose_flags_were_changed_is_damage_before_lmdb_acts_upon_them(
    directory: Path, page: int, place: int, flags: int
) -> None:
    write_at(directory, page * PAGE_BYTES + place, flags.to_bytes(2, sys.byteorder))
    assert [text for text in findings(directory / DATA_FILE) if text.startswith(f"meta page {page} has flags")]
    with pytest.raises(Damaged):
        LmdbStorage.open(directory, create=False)


def test_C15_a_copied_directory_carries_its_identity_with_it(directory: Path, tmp_path: Path) -> None:
    """Whose directory it is, the node decides: storage only keeps the facts together with the log."""
    shutil.copytree(directory, tmp_path / "copy")
    storage = LmdbStorage.open(tmp_path / "copy", create=False)
    assert storage.facts()["identity"] == b"who I am"
    storage.close()
