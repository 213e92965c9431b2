"""`conflux recover`: a cluster that lost its majority for good, made anew from what is left."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conflux.cli import output
from conflux.cli.files import NamedPath
from conflux.cli.options import Settings, command
from conflux.errors import ConfluxError, OptionsError

if TYPE_CHECKING:
    from conflux.discovery.local import Manifest
    from conflux.node.survivors import Findings, Survivor


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the new cluster shall be, as far as it was said."""

    size: int | None
    app: str | None
    app_dir: str | None


@command(
    "recover",
    examples=[
        "conflux recover                       # says what is left, and what may be missing",
        "conflux stop; conflux recover --yes && conflux start",
        "conflux recover --from /backup/n2 --from /mnt/n4 --cluster-size 3",
    ],
)
@click.option(
    "--from",
    "places",
    multiple=True,
    metavar="DIR",
    type=NamedPath(file_okay=False, exists=True),
    help="A surviving node's directory; may be repeated.  [default: all of the cluster's here]",
)
@click.option(
    "--cluster-size",
    "size",
    type=click.IntRange(1, 9),
    metavar="N",
    help="How many nodes the new cluster has, all here.  [default: as many as voted here]",
)
@click.option("--app", envvar="CONFLUX_APP", show_envvar=True, metavar="MODULE:ATTR", help="The app, with --from.")
@click.option(
    "--app-dir", type=click.Path(file_okay=False, exists=True), help="Where the app's module is; default: here."
)
@click.option("--yes", is_flag=True, help="Do it. The old directories are moved aside, as they are.")
def recover(
    settings: Settings, places: Sequence[Path], size: int | None, app: str | None, app_dir: str | None, yes: bool
) -> None:
    """Make a new cluster out of what is left of one that lost a majority of its nodes for good.

    Looks at the surviving directories and says which of them is most advanced, and what may be missing. Without --yes
    it changes nothing. With it, the most advanced one's snapshot and whole log become a new cluster, with identities,
    an id and a key of its own: no old node takes it for its cluster. The old directories are set aside, never deleted.
    """
    from conflux.discovery.local import Manifest
    from conflux.node.survivors import find

    _refuse_half_done(settings, places)
    manifest = Manifest.load(settings.cluster_dir)
    findings = find(places or [path.parent for path in sorted(settings.cluster_dir.glob("*/data.mdb"))])
    if not yes or not settings.json:
        _print(settings, findings)
    if findings.has_majority:
        left = len(findings.voters) - len(findings.lost)
        raise ConfluxError(
            f"{left} of {len(findings.voters)} voters are left, which is a majority",
            hint="Nothing needs to be recovered: start them with `conflux start`.",
        )
    here = {node.label for node in manifest.nodes} if manifest is not None else set()
    count = size or max(1, sum(member.label in here for member in findings.voters))
    if not yes:
        raise OptionsError(
            "nothing was changed",
            hint=f"With --yes a new cluster of {count} is made here from {findings.best.label}; another size: "
            "--cluster-size.",
        )
    _recover(settings, findings, manifest, _Asked(count, app, app_dir))


def _refuse_half_done(settings: Settings, places: Sequence[Path]) -> None:
    """Say what to do where an earlier attempt died between its last two steps."""
    place = settings.cluster_dir
    aside = sorted(place.parent.glob(f"{place.name}.before-*")) if not place.exists() and not places else []
    if aside:
        raise ConfluxError(
            f"{place} is not there, but {aside[-1].name} is: an earlier recovery was cut short",
            hint=f"Move it back and try again: mv {aside[-1]} {place}",
        )


def _recover(settings: Settings, findings: Findings, manifest: Manifest | None, asked: _Asked) -> None:
    from conflux.cli.new_cluster import app_of, key_of, tell
    from conflux.node.refounding import Base, Plan, refound
    from conflux.node.standing import StandingLog

    best, place = findings.best, settings.cluster_dir.absolute()
    app_dir = Path(asked.app_dir or (manifest.app_dir if manifest is not None else ".")).absolute()
    spec = asked.app or (manifest.app if manifest is not None else None)
    plan = Plan(
        cluster=settings.cluster,
        cluster_dir=place,
        size=asked.size or 1,
        app=app_of(best.app, best.app_version, spec, app_dir),
        app_dir=str(app_dir),
        app_name=best.app,
        app_version=best.app_version,
        key=None if manifest is not None and manifest.insecure else key_of(settings),
        term=1 + max(each.term for each in findings.survivors),
    )
    aside = place.with_name(f"{place.name}.before-{datetime.now(UTC):%Y%m%dT%H%M%SZ}") if place.exists() else None
    with _locked([each.path for each in findings.survivors], place), closing(StandingLog(best.path)) as log:
        base = Base(header=log.base, chunks=log.chunks()) if log.base is not None else None
        made = refound(plan, base, log.entries(best.last_index), aside=aside)
    tell(settings, made, revision=best.revision, aside=aside)


@contextlib.contextmanager
def _locked(paths: Sequence[Path], cluster_dir: Path) -> Iterator[None]:
    """No node runs in one of these, and none is started while they are read and moved."""
    from conflux.storage.lock import DirectoryLock

    here = [path.parent for path in cluster_dir.glob("*/data.mdb")]
    with contextlib.ExitStack() as stack:
        for path in {each.resolve() for each in (*paths, *here)}:
            stack.callback(DirectoryLock.acquire(path).release)
        yield


def _print(settings: Settings, findings: Findings) -> None:
    if settings.json:
        output.print_json(_fields(findings))
        return
    rows: list[tuple[str, ...]] = [("node", "term", "last", "of term", "commit", "revision", "log", "directory")]
    rows += [_row(each) for each in findings.survivors]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]) - 1)]
    for row in rows:
        output.print_line("  ".join([*map(str.ljust, row, widths), row[-1]]))
    for path, problem in findings.problems.items():
        output.print_line(f"{path.name} can't be read: {problem}")
    for each in findings.survivors:
        if (standing := findings.standing_of[each.identity]) != "voter":
            output.print_line(f"{each.label} is no voter: {standing}")
    for member in findings.lost:
        output.print_line(f"{member.label} ({member.identity[:8]}) is lost")
    for sentence in findings.sentences():
        output.print_line(sentence)


def _row(each: Survivor) -> tuple[str, ...]:
    numbers = (each.term, each.last_index, each.last_term, each.commit_index, each.revision)
    return (each.label, *map(str, numbers), f"{each.first_index}..{each.last_index}", str(each.path))


def _fields(findings: Findings) -> dict[str, Any]:
    return {
        "cluster_id": findings.best.cluster_id,
        "survivors": [
            {
                "id": each.identity,
                "label": each.label,
                "standing": findings.standing_of[each.identity],
                "directory": str(each.path),
                "term": each.term,
                "last_index": each.last_index,
                "last_term": each.last_term,
                "commit_index": each.commit_index,
                "revision": each.revision,
                "damage": each.damage,
            }
            for each in findings.survivors
        ],
        "unreadable": {str(path): problem for path, problem in findings.problems.items()},
        "lost": [{"id": each.identity, "label": each.label} for each in findings.lost],
        "most_advanced": findings.best.label,
        "complete": findings.is_complete,
        "missing_behind": findings.missing_behind,
        "notes": findings.sentences(),
    }
