"""`conflux snapshot save FILE`"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conflux.cli import output
from conflux.cli.files import NamedPath
from conflux.cli.options import Settings, command

if TYPE_CHECKING:
    from conflux.client.backup import Backup
    from conflux.storage.saved import SavedSnapshot

SAVE_SECONDS = 60.0  # the default of --timeout: for the snapshot to be taken, and for each chunk


@command("save", examples=["conflux snapshot save backup.snapshot", "conflux snapshot save backup.snapshot --node n2"])
@click.argument("file", type=NamedPath(dir_okay=False))
@click.option(
    "--node", metavar="ID", help="Of this node: its label, or the beginning of its id.  [default: the leader]"
)
@click.option("--force", is_flag=True, help="Write over FILE where it is there already.")
def snapshot_save(settings: Settings, file: Path, node: str | None, force: bool) -> None:
    """Save the state of the running cluster into FILE.

    It holds all that was acknowledged before this command began: state, sessions, members, with checksums. FILE appears
    complete, or not at all.
    """
    from conflux.cli.state import endpoint_of
    from conflux.storage.artefact import there_already
    from conflux.storage.saved import save_snapshot

    if file.exists() and not force:  # said before a node takes the trouble
        raise there_already(file)
    endpoints = [endpoint_of(settings, node)] if node else []
    with settings.client(endpoints) as client:
        timeout_s = settings.timeout(SAVE_SECONDS)
        backup = client.back_up(endpoints[0] if endpoints else None, timeout=timeout_s)
        saved = _header(settings, backup)
        save_snapshot(file, saved, backup.chunks(timeout=timeout_s), force=force)
    size = file.stat().st_size
    if settings.json:
        output.print_json({"path": str(file), "revision": saved.revision, "index": saved.index, "bytes": size})
    else:
        output.print_line(f"{file}: the state at revision {saved.revision}, index {saved.index}, {size:,} bytes")


def _header(settings: Settings, backup: Backup) -> SavedSnapshot:
    from conflux.node.saving import saved_snapshot
    from conflux.storage.interface import SnapshotHeader

    ready = backup.ready
    return saved_snapshot(
        SnapshotHeader(index=ready.index, term=ready.term, revision=ready.revision, fields=ready.fields),
        cluster=settings.cluster,
        cluster_id=backup.cluster_id,
        body_bytes=ready.bytes_total,
        checksum=ready.checksum,
        saved_us=time.time_ns() // 1000,
    )
