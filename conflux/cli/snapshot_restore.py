"""`conflux snapshot restore FILE`"""

from __future__ import annotations

from pathlib import Path

import click

from conflux.cli.files import NamedPath
from conflux.cli.options import Settings, command


@command(
    "restore",
    examples=[
        "conflux snapshot restore backup.snapshot",
        "conflux --cluster copy snapshot restore backup.snapshot --cluster-size 5 && conflux --cluster copy start",
    ],
)
@click.argument("file", type=NamedPath(dir_okay=False, exists=True))
@click.option(
    "--cluster-size",
    "size",
    type=click.IntRange(1, 9),
    default=1,
    show_default=True,
    metavar="N",
    help="How many nodes, all on this machine.",
)
@click.option(
    "--app", envvar="CONFLUX_APP", show_envvar=True, metavar="MODULE:ATTR", help="The app that made the state."
)
@click.option(
    "--app-dir", type=click.Path(file_okay=False, exists=True), help="Where the app's module is; default: here."
)
def snapshot_restore(settings: Settings, file: Path, size: int, app: str | None, app_dir: str | None) -> None:
    """Make a new cluster on this machine from a FILE that `snapshot save` wrote.

    Its nodes, its id and its key are new (or the key that --key names), so it has nothing to do with the cluster that
    was saved. Revisions and open sessions go on where they were. Refused where a cluster of this name is here already.
    """
    from conflux.cli.new_cluster import app_of, key_of, tell
    from conflux.node.refounding import Base, Plan, refound, refuse_existing
    from conflux.storage.saved import load_snapshot

    refuse_existing(settings.cluster, settings.cluster_dir)
    saved, chunks = load_snapshot(file)
    place = Path(app_dir or ".").absolute()
    plan = Plan(
        cluster=settings.cluster,
        cluster_dir=settings.cluster_dir.absolute(),
        size=size,
        app=app_of(saved.app, saved.app_version, app, place),
        app_dir=str(place),
        app_name=saved.app,
        app_version=saved.app_version,
        key=key_of(settings),
        term=saved.term,
    )
    manifest = refound(plan, Base(header=saved.header, chunks=chunks))
    tell(settings, manifest, revision=saved.revision, aside=None)
