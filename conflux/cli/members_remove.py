"""`conflux members remove`"""

from __future__ import annotations

import click

from conflux.cli import output
from conflux.cli.options import Settings, command


@command("remove", examples=["conflux members remove n4", "conflux members remove n4 --force"])
@click.argument("member", metavar="ID")
@click.option("--force", is_flag=True, help="Also where the voters that are left have no healthy majority.")
def members_remove(settings: Settings, member: str, force: bool) -> None:
    """Remove the member ID for good: its label, or the beginning of its id. A leader hands over first.

    What it holds on its disk is of no use any more: as a new node, with a new directory, it may join again.
    """
    from conflux.cli.members_view import changing, named, tell

    with settings.client() as client:
        chosen = named(client.members(), member)
        with changing():
            changed = client.change_members("remove", chosen.identity, force=force, timeout=settings.timeout())
    fields = {"index": changed.index, "id": chosen.identity, "label": chosen.label}
    tell(settings, f"{chosen.label} is no member any more.", fields)
    if (settings.cluster_dir / chosen.label).exists() and not settings.json:
        label = chosen.label
        follows = f"Its directory is of no use now: conflux stop --id {label} && conflux destroy --node {label} --yes"
        output.note(follows, verbosity=settings.verbosity)
