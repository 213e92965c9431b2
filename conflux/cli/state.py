"""`conflux state`"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from conflux.cli import output
from conflux.cli.options import Settings, command

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
    from conflux.cli.named_node import named_anywhere, named_here

    here = named_here(settings, text)
    if here is not None and here.dialled:
        return here.dialled
    with settings.client() as client:
        return str(named_anywhere(settings, client, text).endpoint)
