"""`conflux export FILE`: a node's log, carried away."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conflux.cli import output
from conflux.cli.files import NamedPath
from conflux.cli.identify import pick
from conflux.cli.local_nodes import local_nodes
from conflux.cli.options import Settings, command
from conflux.errors import ConfluxError, OptionsError, WrongDirectory

if TYPE_CHECKING:
    from conflux.node.standing import StandingLog
    from conflux.storage.saved import SavedLog, SavedSnapshot


@command(
    "export",
    examples=[
        "conflux export history.log",
        "conflux export history.log --node n2 --force",
        "conflux export history.log --archive /mnt/archive",
    ],
)
@click.argument("file", type=NamedPath(dir_okay=False))
@click.option("--node", metavar="ID", help="This node's: its label, or the beginning of its id; default: the longest.")
@click.option(
    "--archive",
    metavar="DIR",
    type=NamedPath(file_okay=False, exists=True),
    help="With what `start --archive DIR` kept: the whole history.",
)
@click.option("--after-gap", is_flag=True, help="Of archives with a gap: what is behind the last one.")
@click.option("--force", is_flag=True, help="Write over FILE where it is there already.")
def export(
    settings: Settings, file: Path, node: str | None, archive: Path | None, after_gap: bool, force: bool
) -> None:
    """Write what a node's directory holds of the past into FILE: the state it begins with, then every committed entry.

    Read from disk, beside the running node or without it. With --archive also what was cut before, out of all archives
    of one cluster that are there: what one of them lacks another one may have. `conflux replay` folds it anew.
    """
    if after_gap and archive is None:
        raise OptionsError("--after-gap is for --archive DIR", hint="Leave it out, or name an archive.")
    if archive is None:
        saved = _from_node(settings, file, node, force)
    else:
        saved = _from_archives(settings, file, archive, node, after_gap=after_gap, force=force)
    _tell(settings, file, saved)


def _from_archives(
    settings: Settings, file: Path, archive: Path, node: str | None, *, after_gap: bool, force: bool
) -> SavedLog:
    from conflux.cli.export_archive import archived_run
    from conflux.storage.saved import SavedLog, save_log

    with archived_run(settings, archive, node, after_gap=after_gap) as (run, cluster, cluster_id):
        newest = run.pieces[-1]
        saved = SavedLog(
            cluster=cluster,
            cluster_id=cluster_id,
            node=", ".join(dict.fromkeys(piece.node for piece in run.pieces)),
            app=newest.app,
            app_version=newest.app_version,
            saved_us=time.time_ns() // 1000,
            base=run.base,
            first_index=run.first_index,
            last_index=run.last_index,
        )
        save_log(file, saved, *run.contents(), force=force)
    return saved


def saved_base(log: StandingLog) -> SavedSnapshot | None:
    """The header of the snapshot that a log begins with, as a file holds it; None where it has its beginning."""
    from conflux.node.saving import saved_snapshot

    if log.base is None:
        return None
    body_bytes, checksum = log.base_checksum()
    return saved_snapshot(
        log.base,
        cluster=log.mine.cluster,
        cluster_id=log.cluster_id,
        body_bytes=body_bytes,
        checksum=checksum,
        saved_us=time.time_ns() // 1000,
    )


def _from_node(settings: Settings, file: Path, node: str | None, force: bool) -> SavedLog:
    from conflux.node.standing import StandingLog
    from conflux.storage.saved import SavedLog, save_log

    with closing(StandingLog(_longest(settings, node))) as log:
        mine, base = log.mine, saved_base(log)
        last_index = max(log.state.commit_index, log.first_index - 1)
        saved = SavedLog(
            cluster=mine.cluster,
            cluster_id=log.cluster_id,
            node=mine.label,
            app=mine.app,
            app_version=mine.app_version,
            saved_us=time.time_ns() // 1000,
            base=base,
            first_index=log.first_index,
            last_index=last_index,
        )
        chunks = log.chunks() if base is not None else iter(())
        save_log(file, saved, chunks, log.entries(last_index), force=force)
    return saved


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
