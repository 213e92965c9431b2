"""`conflux members promote`"""

from __future__ import annotations

import click

from conflux.cli.options import Settings, command


@command("promote", examples=["conflux members promote n4"])
@click.argument("member", metavar="ID")
@click.option("--no-wait", is_flag=True, help="Return before it has caught up.")
def members_promote(settings: Settings, member: str, no_wait: bool) -> None:
    """Let the learner ID become a voter, once it has caught up and a majority would be healthy.

    ID is its label, or the beginning of its id.
    """
    from conflux.cli.members_view import WAIT_SECONDS, await_voter, changing, named, tell

    timeout_s = settings.timeout(WAIT_SECONDS)
    with settings.client() as client:
        chosen = named(client.members(), member)
        with changing():
            changed = client.change_members("promote", chosen.identity, timeout=timeout_s)
            if not no_wait:
                await_voter(settings, client, chosen.identity, timeout_s)
    standing = "joining" if no_wait else "voter"
    text = f"{chosen.label} is joining." if no_wait else f"{chosen.label} is a voter."
    fields = {"index": changed.index, "id": chosen.identity, "label": chosen.label, "standing": standing}
    tell(settings, text, fields)
