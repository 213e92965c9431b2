"""`conflux inspect-archive DIR`: what archives hold, and what is missing in them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conflux.cli import output
from conflux.cli.files import NamedPath
from conflux.cli.options import Settings, command
from conflux.errors import ConfluxError, Damaged

if TYPE_CHECKING:
    from conflux.storage.archived import Piece, ReadArchive


@command(
    "inspect-archive",
    examples=["conflux inspect-archive /mnt/archive", "conflux inspect-archive /mnt/archive/n1 --json | jq .gaps"],
)
@click.argument("place", metavar="DIR", type=NamedPath(file_okay=False, exists=True))
def inspect_archive(settings: Settings, place: Path) -> None:
    """Say what the archives in DIR, or the one that it is, hold of which logs, and where entries are missing.

    Reads all of it: exit status 1 where a file isn't what was written.
    """
    from conflux.storage.archived import look

    archives = look(place)
    problems: list[str] = []
    for archive in archives:
        found = _inspected(archive)
        if found["problem"]:
            problems.append(found["problem"])
        if settings.json:
            output.print_json(found)
        else:
            _print(found)
    if problems:
        raise Damaged(problems[0], hint="What it should hold may be in another node's archive.")


def _inspected(archive: ReadArchive) -> dict[str, Any]:
    from conflux.storage.archived import pieces_of, runs_of

    runs = runs_of(pieces_of(archive))
    headers = {header.first_index: header for _, header in archive.segments}
    problem: str | None = None
    try:
        for piece in pieces_of(archive):
            _read(piece)
    except ConfluxError as error:
        problem = str(error)
    return {
        "directory": str(archive.directory),
        "label": archive.owner.label,
        "id": archive.owner.identity,
        "cluster": archive.owner.cluster,
        "cluster_id": next(iter(sorted(archive.cluster_ids)), None),
        "runs": [
            {
                "first_index": run.first_index,
                "last_index": run.last_index,
                "first_revision": headers[run.first_index].first_revision,
                "last_revision": headers[run.pieces[-1].first_index].last_revision,
                "base_revision": run.base.revision if run.base is not None else None,
            }
            for run in runs
        ],
        "gaps": [
            {"first_index": before.last_index + 1, "last_index": run.first_index - 1} for before, run in pairwise(runs)
        ],
        "files": len(archive.segments),
        "bytes": sum(segment.path.stat().st_size for segment, _ in archive.segments),
        "problem": problem,
    }


def _read(piece: Piece) -> None:
    """Every byte of it: whoever comes to the end knows that it is what was written."""
    for part in piece.open():
        for _ in part:
            pass


def _print(found: dict[str, Any]) -> None:
    whose = f"{found['label']} ({found['id'][:8]}) of the cluster {found['cluster']!r}"
    if found["cluster_id"]:
        whose += f" ({found['cluster_id'][:8]})"
    holds = [_run_line(run) for run in found["runs"]] or ["nothing yet"]
    checks = found["problem"] or "all checksums right"
    output.print_line(f"{whose}: {found['files']} files, {found['bytes']:,} bytes, {checks}")
    gaps = [f"a gap: entries {gap['first_index']} to {gap['last_index']} are missing" for gap in found["gaps"]]
    for place, line in enumerate(holds):
        output.print_line(f"  {line}")
        if place < len(gaps):
            output.print_line(f"  {gaps[place]}")


def _run_line(run: dict[str, Any]) -> str:
    revisions = f"revisions {run['first_revision']} to {run['last_revision']}"
    if run["last_revision"] < run["first_revision"]:
        revisions = "no revision"
    entries = f"entries {run['first_index']} to {run['last_index']}, {revisions}"
    if run["base_revision"] is not None:
        return f"the state at revision {run['base_revision']}, then {entries}"
    return entries if run["first_index"] == 1 else f"{entries}, and no state to begin with"
