"""What the tests of storage write, and the processes that they start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any, Protocol

from conflux.raft.entry import Entry, Kind
from conflux.storage.interface import SnapshotHeader, Storage

ROOT = Path(__file__).resolve().parents[2]


class Processes(Protocol):
    """The fixture `processes`."""

    def start(self, *command: str, **options: Any) -> subprocess.Popen[Any]:
        """Start one that ends with the test."""


def entry(index: int, term: int = 1, payload: bytes = b"payload") -> Entry:
    """One entry of records."""
    return Entry(index, term, Kind.RECORDS, payload)


def entries(first: int, last: int, term: int = 1) -> list[Entry]:
    """Entries first..last, each with a payload of its own."""
    return [entry(index, term, b"payload of %d in term %d" % (index, term)) for index in range(first, last + 1)]


def append(storage: Storage, new: Iterable[Entry], commit_index: int = 0) -> None:
    """Persist entries without a vote, in the term of the last one."""
    new = list(new)
    storage.persist(term=new[-1].term, vote=None, entries=new, commit_index=commit_index)


def read_all(storage: Storage, first: int, last: int) -> list[Entry]:
    """Entries first..last, without a limit."""
    return storage.read(first, last, 2**62)


def take_snapshot(
    storage: Storage, index: int, term: int, chunks: Iterable[bytes] = (b"state",), **header: Any
) -> SnapshotHeader:
    """A finished snapshot at an entry."""
    made = SnapshotHeader(index=index, term=term, **{"revision": index, "fields": b"", **header})
    writer = storage.snapshots.begin(made)
    for chunk in chunks:
        writer.write(chunk)
    writer.finish().close()
    return made


def crash(directory: Path, copy: Path) -> Path:
    """What a crash at this moment would leave of a directory that is open, as another directory."""
    shutil.copytree(directory, copy, ignore=shutil.ignore_patterns("lock*"))
    return copy


def run(
    processes: Processes, module: str, *arguments: object, stdout: int | IO[str] = subprocess.PIPE
) -> subprocess.Popen[str]:
    """A process that runs `tests.storage.<module>`, with pipes at its ends. Who prints much waits for a reader."""
    return processes.start(
        *(sys.executable, "-m", f"tests.storage.{module}", *map(str, arguments)),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )
