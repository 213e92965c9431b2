"""How LMDB takes what was persisted into the journal: in one transaction, which begins the journal's next epoch."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

import lmdb
from msgspec import structs

from conflux import limits
from conflux.errors import StorageFailed
from conflux.storage import layout
from conflux.storage.environment import Environment
from conflux.storage.journal import make_journal, read_journal
from conflux.storage.layout import HardState

Write: TypeAlias = tuple[int, list[bytes]]  # (index of the first entry, the entries' bytes), as in `Written`


def take(
    environment: Environment, transaction: lmdb.Transaction[bytes], hard: HardState, writes: Iterable[Write]
) -> None:
    """Write the hard state, and entries over the end of the log, each list in the place of all from its first on.

    Raises:
        StorageFailed: the log does not end where it should.
    """
    for first, values in writes:
        if values:
            _replace_end(environment, transaction, first + hard.log_offset, values)
    transaction.put(layout.HARD_STATE, layout.encode_hard_state(hard), db=environment.meta)


def take_journal(directory: Path, environment: Environment, hard: HardState) -> int | None:
    """At the start: have LMDB take what the journal holds, and make one for a directory of an older format.

    Args:
        hard: what LMDB holds; all of that was found right.

    Returns:
        From which index on LMDB's log is another now; None: nothing was taken.

    Raises:
        Damaged: the journal is; nothing was changed.
    """
    if hard.journal_epoch:
        written = read_journal(directory, hard.journal_epoch)
        if not written:
            return None
    else:
        make_journal(directory)
        written = []
    newest = structs.replace(written[-1].hard if written else hard, journal_epoch=hard.journal_epoch + 1)
    with environment.env.begin(write=True) as transaction:
        take(environment, transaction, newest, [(each.first, each.values) for each in written])
    return min((each.first for each in written if each.values), default=limits.NUMBER_MAX)


def _replace_end(
    environment: Environment, transaction: lmdb.Transaction[bytes], position: int, values: list[bytes]
) -> None:
    items = [(layout.entry_key(place), value) for place, value in enumerate(values, position)]
    with transaction.cursor(environment.log) as cursor:
        if cursor.set_key(items[0][0]):
            while cursor.delete():
                pass
        _, added = cursor.putmulti(items, append=True)
    if added != len(items):
        raise StorageFailed("the log does not end where it should")
