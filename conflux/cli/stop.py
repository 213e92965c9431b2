"""`conflux stop`: stops what runs here."""

from __future__ import annotations

import click

from conflux.cli import output
from conflux.cli.options import Settings, command


@command("stop", examples=["conflux stop", "conflux stop --id n2"])
@click.option("--id", "named", metavar="LABEL", help="Only this node: its label, or the beginning of its id.")
def stop(settings: Settings, named: str | None) -> None:
    """Stop the nodes of the cluster that run on this machine.

    Returns once their processes are gone and their directories are free. Nothing running is no error.
    """
    from conflux.cli.local_nodes import label_of
    from conflux.node.launcher import stop_nodes

    label = None if named is None else label_of(settings.cluster_dir, named)
    stopped = stop_nodes(settings.cluster_dir, label)
    if settings.json:
        output.print_json({"stopped": stopped})
    elif stopped:
        output.print_line(f"Stopped {', '.join(stopped)}.")
    else:
        what = f"{label} of the cluster" if label else "Nothing of the cluster"
        output.note(
            f"{what} {settings.cluster!r} {'does not run' if label else 'runs'} here.", verbosity=settings.verbosity
        )
