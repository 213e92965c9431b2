"""What a simulated disk holds, in a directory as real nodes have them, and back: for code that works on directories."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from conflux import limits
from conflux.storage.interface import Storage
from conflux.storage.lmdb_storage import LmdbStorage
from conflux.storage.memory import MemoryStorage


def write_directory(storage: MemoryStorage, path: Path) -> MemoryStorage:
    """Make a directory of what a restart would find on a disk; gives that disk, opened anew."""
    found = storage.reopened()
    with closing(LmdbStorage.open(path, create=True)) as target:
        _copy(found, target)
    return found


def read_directory(path: Path) -> MemoryStorage:
    """The disk of a machine into which a directory was carried."""
    made = MemoryStorage()
    with closing(LmdbStorage.open(path, create=False)) as source:
        _copy(source, made)
    return made.reopened()


def _copy(source: Storage, target: Storage) -> None:
    """Everything that `source` restored."""
    restored = source.restored()
    term, vote = restored.term, restored.vote
    target.record_facts(source.facts())
    target.persist(term=term, vote=vote, entries=(), commit_index=0)
    for header in reversed(source.snapshots.all()):
        with closing(source.snapshots.open(header.index)) as snapshot:
            writer = target.snapshots.begin(header)
            for number in range(snapshot.chunk_count):
                writer.write(snapshot.chunk(number))
            writer.finish().close()
    if restored.snapshot_index:
        target.install_base(restored.snapshot_index, restored.snapshot_term, keep_log=False)
    index = restored.snapshot_index + 1
    while index <= restored.last_index:
        entries = source.read(index, restored.last_index, limits.MIB)
        target.persist(term=term, vote=vote, entries=entries, commit_index=0)
        index += len(entries)
    target.persist(term=term, vote=vote, entries=(), commit_index=restored.commit_index)
