"""A writer to be killed: `python -m tests.storage.writing DIRECTORY`.

It persists one entry, with the term and vote that go with it, at a time, and prints index and term after `persist`
returned. Every seventh write replaces the last entries in a new term, as a follower does.
"""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path

from conflux.raft.entry import Entry
from conflux.storage.lmdb_storage import LmdbStorage
from tests.storage.making import entry

REPLACED = 3


def written(index: int, term: int) -> Entry:
    """What stands in the log at this index and term."""
    return entry(index, term, b"%d/%d " % (index, term) * 50)


def voted_for(term: int) -> str:
    """The vote of a term."""
    return f"candidate-{term}"


def main() -> None:
    """See above."""
    directory = Path(sys.argv[1])
    storage = LmdbStorage.open(directory, create=not directory.exists())
    term, index = storage.restored().term + 1, storage.restored().last_index
    for write in count(1):
        index += 1
        if write % 7 == 0:
            term, index = term + 1, index - REPLACED
        commit_index = max(0, index - 1 - REPLACED)
        entries = [written(index, term)]
        storage.persist(term=term, vote=voted_for(term), entries=entries, commit_index=commit_index)
        print(index, term, flush=True)


if __name__ == "__main__":
    main()
