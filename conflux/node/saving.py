"""The header under which a file keeps a snapshot: a backup, the base of an exported log, or of an archive's file."""

from __future__ import annotations

from conflux.storage.interface import SnapshotHeader
from conflux.storage.saved import SavedSnapshot
from conflux.store.image import decode_fields


def saved_snapshot(
    header: SnapshotHeader, *, cluster: str, cluster_id: str, body_bytes: int, checksum: bytes, saved_us: int
) -> SavedSnapshot:
    """The header of a file that holds this snapshot.

    Args:
        cluster, cluster_id: the one that it comes from.
        checksum: of the snapshot, as on a node's disk.
        saved_us: now, wall time in microseconds.

    Raises:
        Damaged: the header's fields don't decode.
    """
    fields = decode_fields(header.fields)
    return SavedSnapshot(
        cluster=cluster,
        cluster_id=cluster_id,
        app=fields.app,
        app_version=fields.app_version,
        saved_us=saved_us,
        index=header.index,
        term=header.term,
        revision=header.revision,
        fields=header.fields,
        body_bytes=body_bytes,
        checksum=checksum,
    )
