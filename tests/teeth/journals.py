"""Errors of the journal: what is written, believed and taken of it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from inspect import signature
from pathlib import Path

import pytest

from conflux.errors import Damaged
from conflux.storage import journal, journal_layout, lmdb_storage, taking
from conflux.storage.journal import Journal
from conflux.storage.tail import Tail
from tests.storage import test_journal
from tests.teeth.hunts import Case
from tests.teeth.mutant import mutant


def on_disk(test: Callable[..., object], **parameters: object) -> Case:
    """A case on a storage as those tests begin with."""

    def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        given = {"tmp_path": tmp_path, "monkeypatch": monkeypatch}
        with closing(test_journal.begun(tmp_path)) as storage:
            test(storage, **{name: given[name] for name in signature(test).parameters if name in given}, **parameters)

    run.__name__, run.__module__ = test.__name__, test.__module__
    return Case(run)


@mutant("journal", hunt=on_disk(test_journal.test_a_write_is_one_flush_and_no_transaction), codes="C1 A2", quick=True)
def a_write_is_not_synced(patch: pytest.MonkeyPatch) -> None:
    """What is persisted stays in the system's memory."""
    patch.setattr(journal, "_sync", lambda descriptor: None)


@mutant(
    "journal",
    hunt=on_disk(test_journal.test_what_is_in_the_journal_alone_is_there_after_a_crash),
    codes="C1",
    quick=True,
)
def the_journal_is_not_read_at_the_start(patch: pytest.MonkeyPatch) -> None:
    """A node that crashed begins with what LMDB holds."""
    patch.setattr(lmdb_storage, "take_journal", lambda directory, environment, hard: None)


@mutant(
    "journal",
    hunt=on_disk(
        test_journal.test_C6_a_flipped_bit_in_what_was_written_last_is_damage_and_no_write_cut_short,
    ),
    codes="C6",
    quick=True,
)
def damage_passes_for_a_write_cut_short(patch: pytest.MonkeyPatch) -> None:
    """The log ends before a sector whose checksum is wrong, as if nothing had been acknowledged there."""
    whole = journal_layout._decode_sector

    def decode(data, place):
        try:
            return whole(data, place)
        except Damaged:
            return None

    patch.setattr(journal_layout, "_decode_sector", decode)


@mutant(
    "journal",
    hunt=on_disk(test_journal.test_C6_a_write_that_is_missing_before_a_later_one_is_damage),
    codes="C6",
    quick=True,
)
def the_log_ends_before_a_write_that_is_missing(patch: pytest.MonkeyPatch) -> None:
    """What stands behind a record that is not there is dropped with it."""
    patch.setattr(journal_layout, "decode_journal", journal_layout.decode_while_written)


@mutant(
    "journal",
    hunt=on_disk(
        test_journal.test_C6_a_journal_that_is_missing_cut_off_or_newer_than_the_data_is_damage,
    ),
    codes="C6",
    quick=True,
)
def a_journal_that_is_missing_is_an_empty_one(patch: pytest.MonkeyPatch) -> None:
    """A node whose journal is gone starts with what LMDB holds."""
    whole = taking.read_journal

    def read(directory, epoch):
        if not (directory / "journal").exists():
            journal.make_journal(directory)
        return whole(directory, epoch)

    patch.setattr(taking, "read_journal", read)


@mutant(
    "journal",
    hunt=on_disk(test_journal.test_a_full_journal_is_taken_by_lmdb_with_what_comes_next),
    codes="C1",
    quick=True,
)
def the_journal_goes_on_in_the_epoch_that_is_over(patch: pytest.MonkeyPatch) -> None:
    """What is written after LMDB has taken the journal carries the old epoch."""
    whole = Journal.begin_epoch

    def begin(self, epoch):
        whole(self, epoch)
        self.epoch = epoch - 1

    patch.setattr(Journal, "begin_epoch", begin)


@mutant(
    "journal",
    hunt=on_disk(test_journal.test_the_log_reads_the_same_whatever_lmdb_has_taken_of_it),
    codes="D3",
    quick=True,
)
def replaced_entries_stay_behind_the_new_ones(patch: pytest.MonkeyPatch) -> None:
    """What a new leader's entries replace stands on behind them, until LMDB takes it."""

    def write(self, first, values):
        if values and (not self.values or first < self.first):
            self.first, self.values = first, []
        self.values[first - self.first : first - self.first + len(values)] = values

    patch.setattr(Tail, "write", write)


@mutant(
    "journal",
    hunt=Case(test_journal.test_two_writes_that_were_cut_short_in_the_same_place_do_not_make_one),
    codes="C1",
    quick=True,
)
def a_record_is_believed_for_its_sectors(patch: pytest.MonkeyPatch) -> None:
    """Sectors that fit together are a record, whatever the record's own checksum says."""

    def records_of(sector_at, epoch):
        records, place = [], 0
        while content := journal_layout._record_at(sector_at, place, epoch, len(records)):
            records.append(b"".join(content)[4:])
            place += len(content)
        return records, place

    patch.setattr(journal_layout, "_records_of", records_of)
