"""`conflux snapshot now`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from conflux.cli import output
from conflux.cli.options import Settings, command

if TYPE_CHECKING:
    from conflux.wire.clients import SnapshotTaken


@command("now", examples=["conflux snapshot now", "conflux snapshot now --node n2 --json"])
@click.option("--node", metavar="ID", help="Only this node: its label, or the beginning of its id.  [default: all]")
def snapshot_now(settings: Settings, node: str | None) -> None:
    """Let each node that answers take a snapshot now, and wait until it is on disk."""
    from conflux.cli.members_view import named
    from conflux.cli.status import look
    from conflux.errors import Unreachable

    with settings.client() as client:
        rows = look(settings, client, settings.timeout())["nodes"]
        if node is not None:
            wanted = named(rows, node).identity
            rows = [row for row in rows if row["id"] == wanted]
        answering = [row for row in rows if row["pid"] is not None]
        if not answering:
            raise Unreachable("; ".join(f"{row['label']} does not answer" for row in rows))
        for row in answering:
            _tell(settings, row, client.take_snapshot(row["endpoint"], timeout=settings.timeout()))
        for row in rows:
            if row not in answering:
                output.note(f"{row['label']} does not answer: it takes none now", verbosity=settings.verbosity)


def _tell(settings: Settings, row: dict[str, Any], taken: SnapshotTaken) -> None:
    if settings.json:
        fields = {"index": taken.index, "revision": taken.revision, "bytes": taken.bytes_total or None}
        output.print_json({"node": row["id"], "label": row["label"], **fields})
        return
    size = f", {taken.bytes_total:,} bytes" if taken.bytes_total else ", which was there already"
    output.print_line(f"{row['label']}: a snapshot at revision {taken.revision}, index {taken.index}{size}")
