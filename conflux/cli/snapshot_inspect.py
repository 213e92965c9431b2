"""`conflux snapshot inspect FILE`"""

from __future__ import annotations

from pathlib import Path

import click

from conflux.cli import output
from conflux.cli.files import NamedPath
from conflux.cli.options import Settings, command


@command("inspect", examples=["conflux snapshot inspect backup.snapshot"])
@click.argument("file", type=NamedPath(dir_okay=False, exists=True))
def snapshot_inspect(settings: Settings, file: Path) -> None:
    """Say what a FILE that `snapshot save` wrote holds, once every checksum in it was found right."""
    from conflux.storage.saved import load_snapshot
    from conflux.store.image import decode_fields

    saved, chunks = load_snapshot(file)
    for _ in chunks:
        pass
    fields = decode_fields(saved.fields)
    members = [{"id": each.identity, "label": each.label} for each in fields.members.members]
    found = {
        "cluster": saved.cluster,
        "cluster_id": saved.cluster_id,
        "saved": output.utc(saved.saved_us),
        "app": saved.app,
        "app_version": saved.app_version,
        "revision": saved.revision,
        "index": saved.index,
        "term": saved.term,
        "sessions": fields.sessions,
        "members": members,
        "bytes": file.stat().st_size,
    }
    if settings.json:
        output.print_json(found)
        return
    labels = ", ".join(each["label"] for each in members)
    output.print_line(
        f"revision {saved.revision} (index {saved.index}, term {saved.term}) of the cluster {saved.cluster!r} "
        f"({saved.cluster_id[:8]}): {labels}"
    )
    output.print_line(
        f"{saved.app} version {saved.app_version}, saved {found['saved']}, {fields.sessions} open sessions, "
        f"{found['bytes']:,} bytes, all checksums right"
    )
