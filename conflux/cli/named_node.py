"""The node that a person named, wherever it runs: on this machine, else as the cluster knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conflux.cli.identify import pick
from conflux.cli.local_nodes import LocalNode, local_nodes
from conflux.cli.options import Settings
from conflux.cli.status import look
from conflux.errors import Unreachable

if TYPE_CHECKING:
    from conflux.client.client import Client


def named_here(settings: Settings, text: str) -> LocalNode | None:
    """The node of this machine that is meant; None where it is none of them, or other addresses were given.

    Raises:
        OptionsError: more than one is meant.
    """
    nodes = local_nodes(settings.cluster_dir)
    matching = [node for node in nodes if node.label == text or (text and node.identity.startswith(text.lower()))]
    return pick(nodes, text) if matching and not settings.endpoints else None


def named_anywhere(settings: Settings, client: Client, text: str) -> LocalNode:
    """The node that is meant, with the address where others dial it.

    Raises:
        OptionsError: there is none, or more than one.
        Unreachable: nobody knows where it listens, or nobody answers.
    """
    found = pick(nodes_of_rows(settings, look(settings, client, settings.timeout())["nodes"]), text)
    if not found.endpoint:
        raise Unreachable(f"nobody knows where {found.label} listens", hint="Name its address with --endpoint.")
    return found


def nodes_of_rows(settings: Settings, rows: list[dict[str, Any]]) -> list[LocalNode]:
    """The rows of `status` as nodes."""
    place = settings.cluster_dir
    return [
        LocalNode(label=row["label"], identity=row["id"], directory=place / row["label"], endpoint=row["endpoint"])
        for row in rows
    ]
