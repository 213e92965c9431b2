"""`conflux state`"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from conflux.cli import output
from conflux.cli.options import Settings, command
from conflux.errors import OptionsError

if TYPE_CHECKING:
    from conflux.client.client import ReadConsistency

LINE_CHARACTERS_MAX = 80  # on a terminal a longer state is laid out over several lines


@command(
    "state",
    examples=[
        "conflux state",
        "conflux state --node n2                  # what n2 has, which may lag behind",
        "conflux state --json",
        "conflux state --at 100                   # as it was at revision 100",
        "conflux state --diff 100:120             # what the revisions behind 100 changed",
    ],
)
@click.option(
    "--consistency",
    type=click.Choice(["linearizable", "local"]),
    help="linearizable: confirmed by a majority, the default; local: what the node that answers has, the default "
    "with --node.",
)
@click.option("--at", type=click.IntRange(min=0), metavar="REVISION", help="The state as it was at a revision.")
@click.option("--diff", metavar="A:B", help="What differs between the states at two revisions.")
@click.option("--node", metavar="ID", help="Ask this node: its label, or the beginning of its id.")
def state(
    settings: Settings, consistency: ReadConsistency | None, node: str | None, at: int | None, diff: str | None
) -> None:
    """Print the state: now, at a revision of the past, or the difference between two.

    A node looks back as far as its snapshots and its log do. It folds the past beside the live state.
    """
    from conflux.wire.states import to_plain

    if (at is not None) + (diff is not None) + (consistency is not None) > 1:
        raise OptionsError("--at, --diff and --consistency exclude each other", hint="The past is the same everywhere.")
    endpoints = [endpoint_of(settings, node)] if node else []
    if diff is not None:
        _print_differences(settings, endpoints, *_two_revisions(diff))
        return
    if at is not None:
        with settings.client(endpoints) as client:
            _print_state(settings, at, to_plain(client.get_state_at(at, timeout=settings.timeout())))
        return
    wanted: ReadConsistency = consistency or ("local" if node else "linearizable")
    with settings.client(endpoints) as client:
        revision, found = client.get_revision_and_state(wanted, timeout=settings.timeout())
    _print_state(settings, revision, to_plain(found))
    if settings.verbosity > 0 and not settings.json:
        output.note(f"revision {revision}, {wanted}")


def _print_state(settings: Settings, revision: int, plain: Any) -> None:
    if settings.json:
        output.print_json({"revision": revision, "state": plain})
        return
    line = output.to_json(plain)
    if output.on_terminal() and len(line) > LINE_CHARACTERS_MAX:
        line = output.to_json(plain, indent=2)
    output.print_line(line)


def _two_revisions(text: str) -> tuple[int, int]:
    first, colon, last = text.partition(":")
    if not (colon and first.isascii() and first.isdigit() and last.isascii() and last.isdigit()):
        raise OptionsError(f"{text!r} does not name two revisions", hint="Write A:B, as in --diff 100:120.")
    return int(first), int(last)


def _print_differences(settings: Settings, endpoints: list[str], first: int, last: int) -> None:
    from conflux.cli.differences import as_fields, differences, path_text
    from conflux.wire.states import to_plain

    with settings.client(endpoints) as client:
        before, after = (to_plain(client.get_state_at(each, timeout=settings.timeout())) for each in (first, last))
    found = [*differences(before, after)]
    if settings.json:
        output.print_json({"from_revision": first, "to_revision": last} | as_fields(found))
        return
    for each in found:
        path = path_text(each.path)
        if each.what == "added":
            output.print_line(output.styled(f"+ {path} {output.to_json(each.after)}", fg="green"))
        elif each.what == "removed":
            output.print_line(output.styled(f"- {path} {output.to_json(each.before)}", fg="red"))
        else:
            output.print_line(f"~ {path} {output.to_json(each.before)} -> {output.to_json(each.after)}")
    if not found:
        output.note(f"the states at {first} and {last} are the same", verbosity=settings.verbosity)


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
