"""A node's log for the command line: read beside the running node, which notices nothing.

A read transaction keeps every page alive that it can see, so a reader that dawdles makes the file grow. Each one here
ends before anything is handed out: at most `SLICE_ENTRIES_MAX` entries or `SLICE_BYTES_MAX` bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lmdb

from conflux import limits
from conflux.errors import Closed, Damaged
from conflux.raft.entry import Entry
from conflux.storage import environment as environments
from conflux.storage import layout
from conflux.storage.environment import Environment
from conflux.storage.layout import HardState
from conflux.storage.lock import lock_holder

SLICE_ENTRIES_MAX = 256
SLICE_BYTES_MAX = 4 * limits.MIB


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
        _refuse_damage_at_rest(path)
        reader = cls(path, environments.open_environment(path, map_bytes=limits.MAP_BYTES, readonly=True))
        try:
            reader.hard_state()
        except BaseException:
            reader.close()
            raise
        return reader

    def hard_state(self) -> LogState:
        """Term, vote, commit index and the log's bounds, all of one moment; raises Damaged."""
        self._check_usable()
        with environments.directory_errors(self._directory), self._environment.env.begin() as transaction:
            hard = environments.read_hard_state(self._environment, transaction)
            last_index = environments.last_log_index(self._environment, transaction, hard)
            key = layout.entry_key(last_index + hard.log_offset)
            value = None if last_index == hard.snapshot_index else transaction.get(key, db=self._environment.log)
        last = None if value is None else layout.salvage_entry(last_index, memoryview(value))
        return LogState(
            term=hard.term,
            vote=hard.vote,
            commit_index=hard.commit_index,
            snapshot_index=hard.snapshot_index,
            snapshot_term=hard.snapshot_term,
            first_index=hard.snapshot_index + 1,
            last_index=last_index,
            last_term=hard.snapshot_term if last is None else last.term,
        )

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

    def _slice(self, first: int, last: int) -> list[tuple[Entry, bool]]:
        self._check_usable()
        with environments.directory_errors(self._directory), self._environment.env.begin(buffers=True) as transaction:
            hard = layout.decode_hard_state(bytes(transaction.get(layout.HARD_STATE, b"", db=self._environment.meta)))
            cursor = transaction.cursor(self._environment.log)
            return _read_slice(cursor, max(first, hard.snapshot_index + 1), min(last, limits.NUMBER_MAX), hard)

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


def _refuse_damage_at_rest(path: Path) -> None:
    """Only without the node: it looked itself when it started, and pages that are being written look damaged."""
    if lock_holder(path) is not None:
        return
    try:
        environments.refuse_damage(path)
    except Damaged:
        if lock_holder(path) is None:  # or else the node was started while we looked
            raise
