"""`conflux state`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from conflux.cli import output
from conflux.cli.options import Settings, command
from conflux.errors import Unreachable

if TYPE_CHECKING:
    from conflux.client.client import ReadConsistency

LINE_CHARACTERS_MAX = 80  # on a terminal a longer state is laid out over several lines


@command(
    "state",
    examples=[
        "conflux state",
        "conflux state --node n2                  # what n2 has, which may lag behind",
        "conflux state --json",
    ],
)
@click.option(
    "--consistency",
    type=click.Choice(["linearizable", "local"]),
    help="linearizable: confirmed by a majority, the default; local: what the node that answers has, the default "
    "with --node.",
)
@click.option("--node", metavar="ID", help="Ask this node: its label, or the beginning of its id.")
def state(settings: Settings, consistency: ReadConsistency | None, node: str | None) -> None:
    """Print the state."""
    from conflux.wire.states import to_plain

    endpoints = [endpoint_of(settings, node)] if node else []
    wanted: ReadConsistency = consistency or ("local" if node else "linearizable")
    with settings.client(endpoints) as client:
        revision, found = client.get_revision_and_state(wanted, timeout=settings.timeout())
    plain = to_plain(found)
    if settings.json:
        output.print_json({"revision": revision, "state": plain})
        return
    line = output.to_json(plain)
    if output.on_terminal() and len(line) > LINE_CHARACTERS_MAX:
        line = output.to_json(plain, indent=2)
    output.print_line(line)
    if settings.verbosity > 0:
        output.note(f"revision {revision}, {wanted}")


def endpoint_of(settings: Settings, text: str) -> str:
    """Where the node listens that was named.

    Raises:
        OptionsError: no such node.
        Unreachable: nobody knows where it listens.
    """
    from conflux.cli.identify import pick
    from conflux.cli.local_nodes import LocalNode, local_nodes
    from conflux.cli.status import look

    nodes = [node for node in local_nodes(settings.cluster_dir) if node.endpoint and node.identity]
    if settings.endpoints or not nodes:
        with settings.client() as client:
            rows = look(settings, client, settings.timeout())["nodes"]
        place = settings.cluster_dir
        nodes = [
            LocalNode(label=row["label"], identity=row["id"], directory=place / row["label"], endpoint=row["endpoint"])
            for row in rows
        ]
    found = pick(nodes, text)
    if not found.endpoint:
        raise Unreachable(f"nobody knows where {found.label} listens", hint="Name its address with --endpoint.")
    return found.endpoint
