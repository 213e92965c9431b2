"""A process of its own for damage: `python -m tests.storage.damaging DIRECTORY SEED COUNT`.

It flips one byte of the data file or of the journal at a time, opens the directory, compares what it finds, writes to
it, and prints one line each: a crash then names its flip. Half of the flips in the data file hit LMDB's own structures.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

from conflux.errors import DirectoryError
from conflux.storage.environment import DATA_FILE, JOURNAL_FILE
from conflux.storage.lmdb_storage import LmdbStorage
from tests.storage.making import entries, entry, read_all

PAGE_BYTES = 4096
META_BYTES = 160
JOURNAL_USED_BYTES = 8 * 512  # two records, and sectors that were never written or hold an older one
PAGE_HEAD_BYTES = 64
LAST = 600


def make(directory: Path) -> dict[str, bytes]:
    """A log that has overflow pages, free pages, an upper page in its tree, and facts; its end is in the journal.

    What a crash leaves of it: the files' contents.
    """
    storage = LmdbStorage.open(directory, create=True)
    storage.record_facts({"identity": b"0" * 16, "cluster": b"tests"})
    for first in range(1, LAST, 100):
        storage.persist(term=1, vote="a", entries=entries(first, first + 99), commit_index=first - 1)
        storage.settle()
    storage.persist(term=3, vote="b", entries=[entry(591, 3, b"long" * 5000), *entries(592, LAST, 3)], commit_index=590)
    storage.settle()
    storage.persist(term=3, vote="b", entries=entries(596, 597, term=3), commit_index=590)
    storage.persist(term=4, vote="b", entries=[entry(597, 4, b"long" * 500), *entries(598, LAST, 4)], commit_index=596)
    used = (storage._environment.env.info()["last_pgno"] + 1) * PAGE_BYTES
    left = {
        DATA_FILE: (directory / DATA_FILE).read_bytes()[:used],
        JOURNAL_FILE: (directory / JOURNAL_FILE).read_bytes(),
    }
    storage.close()
    return left


def content(storage: LmdbStorage) -> object:
    """Everything that a node would take from it."""
    return storage.restored(), read_all(storage, 1, LAST), storage.facts()


def offsets(chance: random.Random, used: int, count: int) -> list[int]:
    """Half anywhere, a quarter in the heads of pages, a quarter in the two meta pages."""
    found = []
    for number in range(count):
        page = chance.randrange(used // PAGE_BYTES)
        if number % 4 == 0:
            found.append(chance.randrange(2) * PAGE_BYTES + chance.randrange(META_BYTES))
        elif number % 4 == 1:
            found.append(page * PAGE_BYTES + chance.randrange(PAGE_HEAD_BYTES))
        else:
            found.append(page * PAGE_BYTES + chance.randrange(PAGE_BYTES))
    return found


def outcome(directory: Path, expected: object) -> str:
    """ "same", "refused", or what must never be."""
    try:
        storage = LmdbStorage.open(directory, create=False)
    except DirectoryError:
        return "refused"
    try:
        if content(storage) != expected:
            return "DIFFERENT"
        storage.persist(term=5, vote=None, entries=entries(598, LAST + 200, 5), commit_index=597)
        storage.settle()
        written = read_all(storage, 598, LAST + 200) == entries(598, LAST + 200, 5)
        return "same" if written else "DIFFERENT after writing"
    finally:
        storage.close()


def main() -> None:
    """See above."""
    directory, chance, count = Path(sys.argv[1]), random.Random(int(sys.argv[2])), int(sys.argv[3])
    left = make(directory)
    storage = LmdbStorage.open(directory, create=False)
    expected = content(storage)
    storage.close()
    in_data = [(DATA_FILE, offset) for offset in offsets(chance, len(left[DATA_FILE]), count)]
    in_journal = [(JOURNAL_FILE, chance.randrange(JOURNAL_USED_BYTES)) for _ in range(count // 3)]
    for name, offset in in_data + in_journal:
        flip = chance.randrange(1, 256)
        print(name, offset, flip, end=" ", flush=True)
        damaged = {each: bytearray(content) for each, content in left.items()}
        damaged[name][offset] ^= flip
        for each, content_of in damaged.items():
            (directory / each).write_bytes(content_of)
        print(outcome(directory, expected), flush=True)


if __name__ == "__main__":
    main()
