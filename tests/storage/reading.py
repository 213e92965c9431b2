"""A process with a read transaction that it never ends: `python -m tests.storage.reading DIRECTORY`."""

from __future__ import annotations

import sys
from pathlib import Path

from conflux.storage.reader import LogReader


def main() -> None:
    """See above."""
    reader = LogReader.open(Path(sys.argv[1]))
    with reader._environment.env.begin():
        print("reading", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
