"""The journal: one flush a write, nothing acknowledged is lost with it, and no damage passes for a write cut short."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from conflux import limits
from conflux.errors import Damaged, DiskFull, StorageFailed
from conflux.raft.entry import Entry, Kind
from conflux.storage import journal_layout
from conflux.storage.environment import DATA_FILE, JOURNAL_FILE
from conflux.storage.journal_layout import SECTOR_BYTES, SECTORS
from conflux.storage.layout import HardState
from conflux.storage.lmdb_storage import LmdbStorage
from conflux.storage.reader import LogReader
from tests.storage.making import Processes, append, crash, entries, entry, read_all, run, take_snapshot
from tests.storage.writing import REPLACED, written


def begun(tmp_path: Path) -> LmdbStorage:
    """Entries 1..10, taken by LMDB."""
    opened = LmdbStorage.open(tmp_path / "node", create=True)
    append(opened, entries(1, 10), commit_index=5)
    opened.settle()
    return opened


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[LmdbStorage]:
    opened = begun(tmp_path)
    yield opened
    opened.close()


def transactions(storage: LmdbStorage) -> int:
    return int(storage._environment.env.info()["last_txnid"])


def sectors(directory: Path) -> list[bytes]:
    data = (directory / JOURNAL_FILE).read_bytes()
    return [data[at : at + SECTOR_BYTES] for at in range(0, len(data), SECTOR_BYTES)]


def write_sectors(directory: Path, content: list[bytes]) -> None:
    (directory / JOURNAL_FILE).write_bytes(b"".join(content))


def after_crash(storage: LmdbStorage, tmp_path: Path) -> Path:
    return crash(tmp_path / "node", tmp_path / "crashed")


def log_of(directory: Path) -> list[Entry]:
    storage = LmdbStorage.open(directory, create=False)
    try:
        restored = storage.restored()
        return read_all(storage, restored.snapshot_index + 1, restored.last_index) if restored.last_index else []
    finally:
        storage.close()


def test_a_write_is_one_flush_and_no_transaction(storage: LmdbStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed, sync = [], os.fdatasync

    def counted(descriptor: int) -> None:
        flushed.append(descriptor)
        sync(descriptor)

    monkeypatch.setattr(os, "fdatasync", counted)
    before = transactions(storage)
    append(storage, entries(11, 12))
    storage.persist(term=2, vote="a", entries=[], commit_index=11)
    assert len(flushed) == 2
    assert transactions(storage) == before


def test_what_is_in_the_journal_alone_is_there_after_a_crash(storage: LmdbStorage, tmp_path: Path) -> None:
    append(storage, entries(11, 12))
    storage.persist(term=2, vote="a", entries=entries(12, 20, 2), commit_index=11)
    storage.persist(term=3, vote="b", entries=[], commit_index=12)
    crashed = after_crash(storage, tmp_path)
    for _ in range(2):
        again = LmdbStorage.open(crashed, create=False)
        restored = again.restored()
        assert (restored.term, restored.vote, restored.commit_index, restored.last_index) == (3, "b", 12, 20)
        assert restored.term_starts == ((1, 1), (12, 2))
        assert read_all(again, 1, 20) == [*entries(1, 11), *entries(12, 20, 2)]
        again.close()


def test_a_crash_right_after_lmdb_has_taken_all_repeats_nothing(storage: LmdbStorage, tmp_path: Path) -> None:
    append(storage, entries(11, 14))
    append(storage, entries(13, 13, 2))
    storage.settle()
    assert log_of(after_crash(storage, tmp_path)) == [*entries(1, 12), *entries(13, 13, 2)]


@pytest.mark.parametrize("before", ["never written", "of an older epoch"])
def test_a_write_of_which_some_sectors_are_missing_never_happened(
    storage: LmdbStorage, tmp_path: Path, before: str
) -> None:
    """Power fails in the middle: each sector is what it was, or what it was to become. Any of them may be missing."""
    if before == "of an older epoch":
        append(storage, entries(11, 100))
        storage.settle()
        append(storage, entries(11, 20, 2))
        storage.settle()
    known = read_all(storage, 1, 999)
    append(storage, entries(len(known) + 1, len(known) + 2, 3))
    old = sectors(tmp_path / "node")
    long = entry(len(known) + 3, 3, bytes(range(256)) * 12)
    append(storage, [long])
    new = sectors(tmp_path / "node")
    crashed = after_crash(storage, tmp_path)
    written = [place for place in range(SECTORS) if old[place] != new[place]]
    assert len(written) == 7
    data = (crashed / DATA_FILE).read_bytes()
    for number in range(2 ** len(written)):
        kept = {place for bit, place in enumerate(written) if number >> bit & 1}
        write_sectors(crashed, [new[place] if place in kept else old[place] for place in range(SECTORS)])
        (crashed / DATA_FILE).write_bytes(data)
        expected = [*known, *entries(len(known) + 1, len(known) + 2, 3)]
        assert log_of(crashed) == ([*expected, long] if len(kept) == len(written) else expected)


def test_two_writes_that_were_cut_short_in_the_same_place_do_not_make_one(tmp_path: Path) -> None:
    """Of the first ones of an epoch: nothing was taken in between, so they have the same epoch and number."""
    begun(tmp_path).close()
    images = []
    for number in (1, 2):
        directory = crash(tmp_path / "node", tmp_path / f"node{number}")
        storage = LmdbStorage.open(directory, create=False)
        append(storage, [entry(11, 1, b"%d" % number * 3000)])
        images.append(sectors(crash(directory, tmp_path / f"image{number}")))
        storage.close()
    one, other = images
    crashed = crash(tmp_path / "node", tmp_path / "crashed")
    data = (crashed / DATA_FILE).read_bytes()
    for number in range(1, 2**7 - 1):
        mixed = [one[place] if number >> place & 1 else other[place] for place in range(7)]
        write_sectors(crashed, [*mixed, *one[7:]])
        (crashed / DATA_FILE).write_bytes(data)
        assert log_of(crashed) == entries(1, 10)


def test_C6_a_flipped_bit_in_what_was_written_last_is_damage_and_no_write_cut_short(
    storage: LmdbStorage, tmp_path: Path
) -> None:
    append(storage, [entry(11, 1, b"x" * 1000)])
    crashed = after_crash(storage, tmp_path)
    content = (crashed / JOURNAL_FILE).read_bytes()
    for offset in range(0, 3 * SECTOR_BYTES, 7):
        flipped = bytearray(content)
        flipped[offset] ^= 1 << offset % 8
        (crashed / JOURNAL_FILE).write_bytes(flipped)
        with pytest.raises(Damaged, match="of the journal does not match its checksum"):
            LmdbStorage.open(crashed, create=False)
        with pytest.raises(Damaged, match="of the journal does not match its checksum"):
            LogReader.open(crashed)
    (crashed / JOURNAL_FILE).write_bytes(content)
    assert len(log_of(crashed)) == 11


def test_C6_where_the_data_are_damaged_the_journal_is_not_taken(storage: LmdbStorage, tmp_path: Path) -> None:
    append(storage, entries(11, 12))
    crashed = after_crash(storage, tmp_path)
    damaged = (crashed / DATA_FILE).read_bytes().replace(b"payload of 7 in", b"payload of 8 in")
    (crashed / DATA_FILE).write_bytes(damaged)
    with pytest.raises(Damaged, match="entry 7 does not match its checksum"):
        LmdbStorage.open(crashed, create=False)
    is_untouched = (crashed / DATA_FILE).read_bytes() == damaged
    assert is_untouched


def test_what_a_journal_replaces_is_what_a_restart_finds(storage: LmdbStorage, tmp_path: Path) -> None:
    """Terms and membership entries too, which are not looked up anew for what LMDB held before."""
    change = Entry(13, 3, Kind.MEMBERSHIP, b"members")
    append(storage, [entry(11, 2), Entry(12, 2, Kind.MEMBERSHIP, b"members")])
    storage.settle()
    append(storage, [entry(12, 3), change, entry(14, 5)])
    restored = LmdbStorage.open(after_crash(storage, tmp_path), create=False).restored()
    assert restored.term_starts == ((1, 1), (11, 2), (12, 3), (14, 5))
    assert restored.membership_indices == (13,)
    assert (restored.last_index, restored.last_term) == (14, 5)


def test_C6_a_write_that_is_missing_before_a_later_one_is_damage(storage: LmdbStorage, tmp_path: Path) -> None:
    old = sectors(tmp_path / "node")
    for index in range(11, 14):
        append(storage, entries(index, index))
    crashed = after_crash(storage, tmp_path)
    content = sectors(crashed)
    content[1] = old[1]  # as a disk leaves it that loses a write which it has confirmed
    write_sectors(crashed, content)
    with pytest.raises(Damaged, match="record 1 of the journal is missing"):
        LmdbStorage.open(crashed, create=False)


def test_C6_a_journal_that_is_missing_cut_off_or_newer_than_the_data_is_damage(
    storage: LmdbStorage, tmp_path: Path
) -> None:
    crashed = after_crash(storage, tmp_path)
    older = (crashed / DATA_FILE).read_bytes()
    content = (crashed / JOURNAL_FILE).read_bytes()
    (crashed / JOURNAL_FILE).write_bytes(content[:-SECTOR_BYTES])
    with pytest.raises(Damaged, match=r"the journal has 1,048,064 bytes, not 1,048,576"):
        LmdbStorage.open(crashed, create=False)
    (crashed / JOURNAL_FILE).unlink()
    for opening in (lambda: LmdbStorage.open(crashed, create=False), lambda: LogReader.open(crashed)):
        with pytest.raises(Damaged, match="is missing: it may hold what was written last"):
            opening()
    (crashed / JOURNAL_FILE).write_bytes(content)
    again = LmdbStorage.open(crashed, create=False)
    append(again, entries(11, 11))
    again.settle()
    append(again, entries(12, 12))
    again.close()
    (crashed / DATA_FILE).write_bytes(older)
    with pytest.raises(Damaged, match="one of them is an old copy"):
        LmdbStorage.open(crashed, create=False)


def test_a_full_journal_is_taken_by_lmdb_with_what_comes_next(storage: LmdbStorage, tmp_path: Path) -> None:
    before, last = transactions(storage), 10
    while transactions(storage) == before:
        append(storage, [entry(last + 1, 1, b"%d" % last * 100)], commit_index=last)
        last += 1
    assert transactions(storage) == before + 1
    assert last > SECTORS // 3
    append(storage, entries(last + 1, last + 1), commit_index=last)
    assert log_of(after_crash(storage, tmp_path))[-2:] == [
        entry(last, 1, b"%d" % (last - 1) * 100),
        *entries(last + 1, last + 1),
    ]


def test_what_is_larger_than_the_journal_goes_past_it(storage: LmdbStorage, tmp_path: Path) -> None:
    append(storage, entries(11, 12))
    large = entry(12, 2, b"x" * limits.JOURNAL_BYTES)
    append(storage, [large])
    append(storage, entries(13, 13, 2))
    assert read_all(storage, 11, 13) == [*entries(11, 11), large, *entries(13, 13, 2)]
    assert log_of(after_crash(storage, tmp_path))[10:] == [*entries(11, 11), large, *entries(13, 13, 2)]


def test_the_log_reads_the_same_whatever_lmdb_has_taken_of_it(storage: LmdbStorage, tmp_path: Path) -> None:
    """Writes of any length, replaced from anywhere, taken, or crashed, at any time; and every range of it."""
    chance, log, term, committed, lives = Random(5), entries(1, 10), 1, 5, 0
    for _ in range(400):
        first = chance.randint(max(committed + 1, len(log) - 8), len(log) + 1)
        term += first <= len(log)
        new = [
            entry(first + more, term, chance.randbytes(chance.choice([5, 50, 900])))
            for more in range(chance.randint(1, 6))
        ]
        log[first - 1 :] = new
        committed = chance.randint(committed, max(committed, len(log) - 9))
        append(storage, new, commit_index=committed)
        match chance.randrange(12):
            case 0:
                storage.settle()
            case 1 | 2:
                if chance.random() < 0.5:
                    storage.settle()
                crashed = crash(storage._directory, tmp_path / f"life{lives}")
                storage.close()
                storage, lives = LmdbStorage.open(crashed, create=False), lives + 1
                assert storage.restored().last_index == len(log)
        begin = chance.randint(1, len(log))
        end = chance.randint(begin, len(log) + 3)
        bytes_max = chance.choice([0, 60, 1000, 2**62])
        expected: list[Entry] = []
        for each in log[begin - 1 : end]:
            if expected and sum(len(one.payload) for one in [*expected, each]) > bytes_max:
                break
            expected.append(each)
        assert storage.read(begin, end, bytes_max) == expected
    storage.close()


def test_the_log_is_cut_and_dropped_with_its_end_in_the_journal(storage: LmdbStorage, tmp_path: Path) -> None:
    append(storage, entries(11, 14), commit_index=12)
    take_snapshot(storage, 12, 1)
    storage.install_base(12, 1, keep_log=True)
    assert log_of(after_crash(storage, tmp_path)) == entries(13, 14)
    append(storage, entries(15, 16))
    storage.persist(term=4, vote=None, entries=[], commit_index=12)
    take_snapshot(storage, 40, 3)
    storage.install_base(40, 3, keep_log=False)
    append(storage, entries(41, 42, 4))
    crashed = crash(tmp_path / "node", tmp_path / "dropped")
    assert log_of(crashed) == entries(41, 42, 4)
    while storage.compact_some():
        pass
    assert read_all(storage, 41, 42) == entries(41, 42, 4)


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_C5_an_error_of_the_journal_is_final_and_what_was_acknowledged_stays(
    storage: LmdbStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    append(storage, entries(11, 11))

    def failing(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, failing)
        with pytest.raises(StorageFailed, match="journal: Input/output error") as caught:
            append(storage, entries(12, 12))
    assert not isinstance(caught.value, DiskFull)
    for use in (storage.restored, storage.settle, lambda: append(storage, entries(12, 12))):
        with pytest.raises(StorageFailed):
            use()
    storage.close()
    log = log_of(tmp_path / "node")
    assert log in (entries(1, 11), entries(1, 12))  # what failed in the sync may have reached the disk


def test_C5_a_write_of_which_less_went_down_is_final(storage: LmdbStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, data, offset: write(descriptor, data[:512], offset))
    with pytest.raises(StorageFailed, match=r"512 of 1536 bytes were written"):
        append(storage, [entry(11, 1, b"x" * 1000)])


def test_C4_no_room_for_the_journal_may_be_tried_again(
    storage: LmdbStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a file system writes each block anew, even a file that has its room can find none."""

    def no_space(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", no_space)
        with pytest.raises(DiskFull):
            append(storage, entries(11, 12))
    assert storage.restored().last_index == 0
    append(storage, entries(11, 11))
    assert log_of(after_crash(storage, tmp_path)) == entries(1, 11)


def test_a_journal_that_lmdb_can_not_take_is_kept_and_nothing_new_is_written(
    storage: LmdbStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(storage, entries(11, 12))

    def full(*_: object) -> None:
        raise DiskFull("no room")

    with monkeypatch.context() as patched:
        patched.setattr(storage, "_take", full)
        with pytest.raises(DiskFull):
            append(storage, [entry(13, 1, b"x" * limits.JOURNAL_BYTES)])
        storage.close()
    assert log_of(tmp_path / "node") == entries(1, 12)


def test_a_reader_sees_what_the_journal_holds(storage: LmdbStorage, tmp_path: Path) -> None:
    append(storage, entries(11, 400), commit_index=12)
    storage.persist(term=3, vote="c", entries=entries(8 + 100, 450, 3), commit_index=20)
    reader = LogReader.open(after_crash(storage, tmp_path))
    state = reader.hard_state()
    assert (state.term, state.vote, state.commit_index, state.last_index, state.last_term) == (3, "c", 20, 450, 3)
    expected = [*entries(1, 107), *entries(108, 450, 3)]
    assert [each for each, _ in reader.entries(1, 2**62)] == expected
    assert [each for each, _ in reader.entries(100, 110)] == expected[99:110]
    assert [each for each, _ in reader.entries(300, 300)] == expected[299:300]
    reader.close()


def test_a_reader_beside_a_node_sees_a_log_without_gaps_also_while_lmdb_takes_the_journal(
    tmp_path: Path, processes: Processes
) -> None:
    with (tmp_path / "said").open("w") as said:  # of any length: the writer must not wait for us
        run(processes, "writing", tmp_path / "node", stdout=said)
    while not (tmp_path / "said").stat().st_size:
        time.sleep(0.01)
    reader = LogReader.open(tmp_path / "node")
    epochs, last = set(), 0
    while len(epochs) < 4:
        state = reader.hard_state()
        assert state.last_index >= last - REPLACED
        last = state.last_index
        found = list(reader.entries(max(1, last - 600), last))
        assert all(is_right for _, is_right in found)
        # The writer may have replaced the last few meanwhile.
        indices = [each.index for each, _ in found]
        assert indices == list(range(max(1, last - 600), indices[-1] + 1))
        assert indices[-1] >= last - REPLACED
        assert all(each == written(each.index, each.term) for each, _ in found)
        with reader._environment.env.begin(buffers=True) as transaction:
            epochs.add(reader._taken(transaction).journal_epoch)
    reader.close()


def test_a_journal_read_while_it_is_written_ends_where_it_can_not_be_read() -> None:
    written = journal_layout.Written(HardState(term=1), 1, [b"x" * 2000])
    record = journal_layout.encode_record(written)
    whole = journal_layout.encode_sectors(record, 7, 0) + journal_layout.encode_sectors(record, 7, 1)
    half = bytearray(whole.ljust(limits.JOURNAL_BYTES, b"\0"))
    half[7 * SECTOR_BYTES + 100 :] = bytes(len(half) - 7 * SECTOR_BYTES - 100)
    assert journal_layout.decode_while_written(bytes(half), 7) == [written]
    assert journal_layout.decode_while_written(bytes(half), 6) == []
    with pytest.raises(Damaged, match="sector 7 of the journal"):
        journal_layout.decode_journal(bytes(half), 7)
