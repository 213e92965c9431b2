"""`conflux transfer-leadership`"""

from __future__ import annotations

from typing import Any

import click

from conflux.cli import ending
from conflux.cli.options import Settings, command


@command("transfer-leadership", examples=["conflux transfer-leadership", "conflux transfer-leadership n2"])
@click.argument("member", metavar="[ID]", required=False)
def transfer_leadership(settings: Settings, member: str | None) -> None:
    """Hand leadership to the voter ID, or to whoever is most level, and wait until it leads.

    ID is its label, or the beginning of its id. Calls that are on their way are not lost.
    """
    from conflux.cli.members_view import await_members, named, tell
    from conflux.cli.status import look
    from conflux.errors import NoLeader, OptionsError

    with settings.client() as client:
        found = look(settings, client, settings.timeout())
        rows = {row["id"]: row for row in found["nodes"]}
        before = found["leader"]
        target = named(found["nodes"], member).identity if member is not None else ""
        if before is None:
            raise NoLeader("nobody leads now")
        if target and rows[target]["standing"] != "voter":
            raise OptionsError(f"{rows[target]['label']} is no voter", hint="See `conflux members list`.")

        def is_done(found: dict[str, Any]) -> bool:
            return found["leader"] == target if target else found["leader"] not in (None, before)

        def says(found: dict[str, Any]) -> str:
            leader = rows.get(found["leader"])
            return f"{leader['label']} leads" if leader else "nobody leads"

        with ending.begun("leadership may move all the same", hint="See `conflux status`."):
            if target != before:
                client.transfer_leadership(target, timeout=settings.timeout())
            after = await_members(settings, client, is_done, says, settings.timeout())
    label = next(row["label"] for row in after["nodes"] if row["id"] == after["leader"])
    tell(settings, f"{label} leads in term {after['term']}.", {"leader": after["leader"], "term": after["term"]})
