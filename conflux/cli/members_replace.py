"""`conflux members replace`"""

from __future__ import annotations

from typing import Any

import click

from conflux.cli.options import Settings, command


@command(
    "replace",
    examples=[
        "conflux members replace n2        # by a new node n2, which was started by conflux start --join wait --id n2",
        "conflux members replace n2 n6",
    ],
)
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="[NEW]", required=False, default="")
@click.option(
    "--no-wait", is_flag=True, help="Return once that is in the log: whoever leads then brings it to its end."
)
def members_replace(settings: Settings, old: str, new: str, no_wait: bool) -> None:
    """Let NEW take the place of the member OLD. Both are a label, or the beginning of an id.

    NEW waits to join, or is a learner; without it, it is whoever waits under OLD's label. It joins first, then OLD is
    removed for good.
    """
    from conflux.cli.members_view import (
        WAIT_SECONDS,
        await_candidate,
        await_members,
        changing,
        named,
        progress_of,
        tell,
    )

    timeout_s = settings.timeout(WAIT_SECONDS)
    with settings.client() as client:
        before = client.members()
        chosen = named(before, old)
        if not any(new and new in (member["label"], member["id"]) for member in before):
            await_candidate(settings, client, new or chosen.label)

        def is_done(found: dict[str, Any]) -> bool:
            return found["replacing"] is None and all(row["id"] != chosen.identity for row in found["nodes"])

        def says(found: dict[str, Any]) -> str:
            joining = [row for row in found["nodes"] if row["standing"] == "joining"]
            return ", ".join(f"{row['label']} is joining, {progress_of(row)}" for row in joining) or "almost done"

        with changing():
            changed = client.change_members("replace", chosen.identity, new, timeout=timeout_s)
            if not no_wait:
                await_members(settings, client, is_done, says, timeout_s)
    text = f"{chosen.label} is about to be replaced." if no_wait else f"{chosen.label} is replaced."
    tell(settings, text, {"index": changed.index, "old": chosen.identity, "label": chosen.label})
