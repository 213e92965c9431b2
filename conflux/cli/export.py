"""`conflux export FILE`: a node's log, carried away."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conflux.cli import output
from conflux.cli.identify import pick
from conflux.cli.local_nodes import local_nodes
from conflux.cli.options import Settings, command
from conflux.errors import ConfluxError, WrongDirectory

if TYPE_CHECKING:
    from conflux.storage.saved import SavedLog


@command("export", examples=["conflux export history.log", "conflux export history.log --node n2 --force"])
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--node", metavar="ID", help="This node's: its label, or the beginning of its id; default: the longest.")
@click.option("--force", is_flag=True, help="Write over FILE where it is there already.")
def export(settings: Settings, file: Path, node: str | None, force: bool) -> None:
    """Write what a node's directory holds of the past into FILE: the state it begins with, then every committed entry.

    Read from disk, beside the running node or without it. `conflux replay` folds it anew.
    """
    from conflux.node.standing import StandingLog
    from conflux.storage.saved import SavedLog, SavedSnapshot, save_log
    from conflux.store.image import decode_fields

    with closing(StandingLog(_longest(settings, node))) as log:
        mine, now_us = log.mine, time.time_ns() // 1000
        base = None
        if log.base is not None:
            body_bytes, checksum = log.base_checksum()
            header, fields = log.base, decode_fields(log.base.fields)
            base = SavedSnapshot(
                cluster=mine.cluster,
                cluster_id=log.cluster_id,
                app=fields.app,
                app_version=fields.app_version,
                saved_us=now_us,
                index=header.index,
                term=header.term,
                revision=header.revision,
                fields=header.fields,
                body_bytes=body_bytes,
                checksum=checksum,
            )
        last_index = max(log.state.commit_index, log.first_index - 1)
        saved = SavedLog(
            cluster=mine.cluster,
            cluster_id=log.cluster_id,
            node=mine.label,
            app=mine.app,
            app_version=mine.app_version,
            saved_us=now_us,
            base=base,
            first_index=log.first_index,
            last_index=last_index,
        )
        chunks = log.chunks() if base is not None else iter(())
        save_log(file, saved, chunks, log.entries(last_index), force=force)
    _tell(settings, file, saved)


def _longest(settings: Settings, text: str | None) -> Path:
    """The directory that was named, else the one that reaches back furthest, and of those the furthest forward."""
    from conflux.cli.log_choice import known
    from conflux.node.standing import StandingLog

    nodes = [each for each in local_nodes(settings.cluster_dir) if each.has_data]
    if not nodes:
        hint = "Name the place with --data-dir and --cluster, or start a cluster: conflux start --cluster-size 3."
        raise WrongDirectory(f"no node's log is in {settings.cluster_dir}", hint=hint)
    if text is not None:
        return pick([each if each.identity else known(each) for each in nodes], text).directory
    found: list[tuple[int, int, Path]] = []
    problem: ConfluxError | None = None
    for each in nodes:
        try:
            with closing(StandingLog(each.directory)) as log:
                found.append((log.first_index, -log.state.commit_index, each.directory))
        except ConfluxError as error:
            problem = error
            output.note(f"{each.label} is left out: {error}", verbosity=settings.verbosity)
    if not found:
        assert problem is not None
        raise problem
    return min(found)[-1]


def _tell(settings: Settings, file: Path, saved: SavedLog) -> None:
    base_revision = saved.base.revision if saved.base is not None else 0
    size = file.stat().st_size
    if settings.json:
        output.print_json(
            {
                "path": str(file),
                "node": saved.node,
                "base_revision": base_revision,
                "first_index": saved.first_index,
                "last_index": saved.last_index,
                "bytes": size,
            }
        )
        return
    begins = f"the state at revision {base_revision}, then" if saved.base is not None else "from the beginning,"
    output.print_line(
        f"{file}: {begins} entries {saved.first_index} to {saved.last_index} of {saved.node}, {size:,} bytes"
    )
