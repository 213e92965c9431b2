"""From a snapshot on disk to a machine, and what a node begins with when it starts."""

from __future__ import annotations

from collections.abc import Iterator

from conflux.app import App
from conflux.storage.interface import Snapshot, Storage
from conflux.store import image
from conflux.store.machine import Machine


def read_machine(snapshot: Snapshot, app: App[object, object]) -> Iterator[Machine | None]:
    """The machine that a snapshot holds, at last; None while there's more to do.

    Raises:
        ConfluxError: it is of another app, or of another version of it, or the app's `load` makes no state of it.
        Damaged: it doesn't decode.
        SnapshotDamaged: a chunk's checksum is wrong.
    """
    header = snapshot.header
    fields = image.decode_fields(header.fields)
    image.check_app(fields, app)
    chunks = (snapshot.chunk(number) for number in range(snapshot.chunk_count))
    where = {"index": header.index, "term": header.term}
    return image.decode_slices(fields, chunks, app, **where, bytes_total=snapshot.body_bytes)


def restored_machine(storage: Storage, app: App[object, object]) -> Machine | None:
    """What the newest snapshot of a storage holds; None where there's none. Raises as `read_machine` does."""
    snapshot = storage.snapshots.newest()
    if snapshot is None:
        return None
    try:
        return next(machine for machine in read_machine(snapshot, app) if machine is not None)
    finally:
        snapshot.close()
