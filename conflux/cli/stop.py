"""`conflux stop`: stops what runs here."""

from __future__ import annotations

import click

from conflux.cli.options import Settings, command


@command("stop", examples=["conflux stop", "conflux stop --id n2"])
@click.option("--id", "label", metavar="LABEL", help="Only this node.")
def stop(settings: Settings, label: str | None) -> None:
    """Stop the nodes of the cluster that run on this machine.

    Returns once their processes are gone and their directories are free. Nothing running is no error.
    """
    from conflux.node.launcher import stop_nodes

    stopped = stop_nodes(settings.cluster_dir, label)
    if not settings.json:
        what = (
            f"Stopped {', '.join(stopped)}." if stopped else f"Nothing of the cluster {settings.cluster!r} runs here."
        )
        click.echo(what, err=not stopped)
