"""A process that holds a directory: `python -m tests.storage.holding DIRECTORY`. Prints "open", or what refused it."""

from __future__ import annotations

import sys
from pathlib import Path

from conflux.errors import ConfluxError
from conflux.storage.lmdb_storage import LmdbStorage
from tests.storage.making import entries


def main() -> None:
    """Each line on standard input is the index of one more entry to persist."""
    try:
        storage = LmdbStorage.open(Path(sys.argv[1]), create=False)
    except ConfluxError as error:
        print(type(error).__name__, error, flush=True)
        return
    print("open", flush=True)
    for line in sys.stdin:
        index = int(line)
        storage.persist(term=1, vote=None, entries=entries(index, index), commit_index=0)
        print("persisted", index, flush=True)
    storage.close()


if __name__ == "__main__":
    main()
