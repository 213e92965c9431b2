"""A process that dies in the middle of a cut: `python -m tests.storage.compacting DIRECTORY POINT:PASSES WORDS`.

It appends, takes snapshots, cuts the log at the older of two, deletes, and prints the last index that is acknowledged.
"""

from __future__ import annotations

import sys
from pathlib import Path

from conflux.storage.lmdb_storage import LmdbStorage
from tests.faults.failpoints.points import set_trap
from tests.storage.making import append, entries, take_snapshot

STEP = 50


def main() -> None:
    """See above."""
    directory = Path(sys.argv[1])
    directory.parent.mkdir(parents=True, exist_ok=True)
    storage = LmdbStorage.open(directory, create=True)
    set_trap(sys.argv[2], sys.argv[3], arm="")
    for last in range(STEP, 100 * STEP, STEP):
        append(storage, entries(last - STEP + 1, last), commit_index=last)
        print(last, flush=True)
        take_snapshot(storage, last, 1, [b"state at %d" % last, b"more"])
        headers = storage.snapshots.all()
        storage.install_base(headers[-1].index, 1, keep_log=True)
        while storage.compact_some():
            pass
        storage.snapshots.keep_only([header.index for header in headers[:2]])


if __name__ == "__main__":
    main()
