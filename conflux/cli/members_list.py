"""`conflux members list`"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from conflux.cli import output
from conflux.cli.identify import shortened
from conflux.cli.options import Settings, command

TITLES = ("member", "id", "standing", "role", "endpoint", "progress", "health")


@command("list", examples=["conflux members list", "conflux members list --json"])
def members_list(settings: Settings) -> None:
    """Show the members, and who waits to join.

    A voter decides; a learner receives the log and doesn't; one that is joining becomes a voter once it has caught up.
    """
    from conflux.cli.status import look
    from conflux.cli.table import waiting_lines

    with settings.client() as client:
        found = look(settings, client, settings.timeout())
    if settings.json:
        rows = [{name: row[name] for name in FIELDS} for row in found["nodes"]]
        output.print_json({"members": rows, "candidates": found["candidates"], "replacing": found["replacing"]})
        return
    identities = [row["id"] for row in [*found["nodes"], *found["candidates"]]]
    for line in _aligned([TITLES, *(_cells(row, identities) for row in found["nodes"])]):
        output.print_line(line)
    labels = {row["id"]: row["label"] for row in found["nodes"]}
    if found["replacing"]:
        old, new = (labels.get(found["replacing"][end], "a node") for end in ("old", "new"))
        output.print_line(f"{new} is about to take the place of {old}")
    for each, line in zip(found["candidates"], waiting_lines(found), strict=True):
        output.print_line(f"{line}   ({shortened(each['id'], identities)}, at {each['endpoint']})")


FIELDS = ("id", "label", "standing", "role", "endpoint", "lag", "installing", "healthy", "problem")


def _cells(row: dict[str, Any], identities: Sequence[str]) -> tuple[str, ...]:
    from conflux.cli.members_view import progress_of
    from conflux.cli.table import health

    words = [row["standing"], row["role"], row["endpoint"]]
    name = (row["label"], shortened(row["id"], identities))
    return (*name, *(word or "-" for word in words), progress_of(row) if row["healthy"] else "-", health(row))


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(TITLES))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
