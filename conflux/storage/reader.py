"""A node's log for the command line: read beside the running node, which notices nothing.

A read transaction keeps every page alive that it can see, so a reader that dawdles makes the file grow. Each one here
ends before anything is handed out: at most `SLICE_ENTRIES_MAX` entries or `SLICE_BYTES_MAX` bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import lmdb

from conflux import limits
from conflux.errors import Closed, Damaged
from conflux.raft.entry import Entry
from conflux.storage import environment as environments
from conflux.storage import layout
from conflux.storage.environment import Environment
from conflux.storage.journal import read_journal, read_while_written
from conflux.storage.layout import HardState
from conflux.storage.lock import lock_holder
from conflux.storage.tail import Tail

SLICE_ENTRIES_MAX = 256
SLICE_BYTES_MAX = 4 * limits.MIB

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogState:
    """What the directory says at one moment."""

    term: int
    vote: str | None
    commit_index: int
    snapshot_index: int
    snapshot_term: int
    first_index: int  # of the log; one more than `last_index` if it is empty
    last_index: int
    last_term: int


class LogReader:
    """Reads a node's directory, with or without the node. It never writes data; LMDB registers it as a reader."""

    def __init__(self, directory: Path, environment: Environment) -> None:
        """Use `open`."""
        self._directory = directory
        self._environment = environment
        self._closed = False

    @classmethod
    def open(cls, path: Path) -> LogReader:
        """Open a node's directory for reading.

        Raises:
            WrongDirectory: no node's data stands there.
            AlreadyOpen: this process has it open: ask the node instead.
            NewerFormat: a later version wrote it.
            Damaged: nothing of it can be read.
            DirectoryError: the system refuses.
        """
        environments.require_data(path)
        _at_rest(path, lambda: environments.refuse_damage(path))
        reader = cls(path, environments.open_environment(path, map_bytes=limits.MAP_BYTES, readonly=True))
        try:
            reader.hard_state()
            _at_rest(path, reader._refuse_damaged_journal)
        except BaseException:
            reader.close()
            raise
        return reader

    def hard_state(self) -> LogState:
        """Term, vote, commit index and the log's bounds, all of one moment; raises Damaged."""
        return self._at_one_moment(self._log_state)

    def facts(self) -> dict[str, bytes]:
        """The directory's facts; raises Damaged naming the one that is."""
        self._check_usable()
        with environments.directory_errors(self._directory), self._environment.env.begin() as transaction:
            return environments.read_facts(self._environment, transaction)

    def entries(self, first: int, last: int) -> Iterator[tuple[Entry, bool]]:
        """Each entry of the log within first..last, and whether its checksum is right.

        Where it isn't, nothing of the entry is to be trusted. Entries that the node replaces meanwhile appear as
        they are when their slice is read; those that it cuts off meanwhile are left out. Raises Damaged if LMDB can't
        go on.
        """
        while first <= last:
            entries = self._slice(first, last)
            if not entries:
                return
            yield from entries
            first = entries[-1][0].index + 1

    def close(self) -> None:
        """Calling twice is harmless."""
        if not self._closed:
            self._closed = True
            self._environment.env.close()

    def _at_one_moment(self, look: Callable[[lmdb.Transaction[memoryview], HardState, Tail], T]) -> T:
        """Look at LMDB and at what the journal holds beyond it: again, if the node had LMDB take that meanwhile."""
        self._check_usable()
        while True:
            with (
                environments.directory_errors(self._directory),
                self._environment.env.begin(buffers=True) as transaction,
            ):
                taken = self._taken(transaction)
                hard, tail = self._read_journal(taken)
                found = look(transaction, hard, tail)
            with environments.directory_errors(self._directory), self._environment.env.begin(buffers=True) as after:
                if self._taken(after).journal_epoch == taken.journal_epoch:
                    return found

    def _refuse_damaged_journal(self) -> None:
        with environments.directory_errors(self._directory), self._environment.env.begin(buffers=True) as transaction:
            epoch = self._taken(transaction).journal_epoch
        if epoch:
            read_journal(self._directory, epoch)

    def _taken(self, transaction: lmdb.Transaction[memoryview]) -> HardState:
        """The hard state that LMDB holds."""
        return environments.read_hard_state(self._environment, transaction)

    def _read_journal(self, taken: HardState) -> tuple[HardState, Tail]:
        """The newest hard state, and the end of the log, beyond what LMDB has taken."""
        hard, tail = taken, Tail()
        if taken.journal_epoch:  # a format of before had no journal
            for written in read_while_written(self._directory, taken.journal_epoch):
                hard = written.hard
                tail.write(written.first, written.values)
        return hard, tail

    def _log_state(self, transaction: lmdb.Transaction[memoryview], hard: HardState, tail: Tail) -> LogState:
        value: memoryview | None
        if tail.values:
            last_index = tail.first + len(tail.values) - 1
            value = memoryview(tail.values[-1])
        else:
            last_index = environments.last_log_index(self._environment, transaction, hard)
            key = layout.entry_key(last_index + hard.log_offset)
            value = transaction.get(key, db=self._environment.log) if last_index > hard.snapshot_index else None
        last_term = hard.snapshot_term if value is None else layout.salvage_entry(last_index, value).term
        return LogState(
            term=hard.term,
            vote=hard.vote,
            commit_index=hard.commit_index,
            snapshot_index=hard.snapshot_index,
            snapshot_term=hard.snapshot_term,
            first_index=hard.snapshot_index + 1,
            last_index=last_index,
            last_term=last_term,
        )

    def _slice(self, first: int, last: int) -> list[tuple[Entry, bool]]:
        def look(transaction: lmdb.Transaction[memoryview], hard: HardState, tail: Tail) -> list[tuple[Entry, bool]]:
            begin, end = max(first, hard.snapshot_index + 1), min(last, limits.NUMBER_MAX)
            if not tail.values or begin < tail.first:
                cursor = transaction.cursor(self._environment.log)
                return _read_slice(cursor, begin, min(end, tail.first - 1) if tail.values else end, hard)
            values = tail.values[begin - tail.first : end + 1 - tail.first][:SLICE_ENTRIES_MAX]
            return [_checked(index, memoryview(value)) for index, value in enumerate(values, begin)]

        return self._at_one_moment(look)

    def _check_usable(self) -> None:
        if self._closed:
            raise Closed("the reader was closed")


def _read_slice(cursor: lmdb.Cursor[memoryview], first: int, last: int, hard: HardState) -> list[tuple[Entry, bool]]:
    entries: list[tuple[Entry, bool]] = []
    slice_bytes = 0
    found = first <= last and cursor.set_range(layout.entry_key(first + hard.log_offset))
    while found and len(entries) < SLICE_ENTRIES_MAX and slice_bytes < SLICE_BYTES_MAX:
        index = layout.entry_position(cursor.key()) - hard.log_offset
        if index > last:
            break
        value = cursor.value()
        entries.append(_checked(index, value))
        slice_bytes += len(value)
        found = cursor.next()
    return entries


def _checked(index: int, value: memoryview) -> tuple[Entry, bool]:
    try:
        return layout.decode_entry(index, value), True
    except Damaged:
        return layout.salvage_entry(index, value), False


def _at_rest(path: Path, check: Callable[[], object]) -> None:
    """Check only without the node: it looked itself when it started, and what is being written looks damaged."""
    if lock_holder(path) is not None:
        return
    try:
        check()
    except Damaged:
        if lock_holder(path) is None:  # or else the node was started while we looked
            raise
