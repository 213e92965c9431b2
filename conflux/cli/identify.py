"""From what a person typed - a label, or the beginning of an id - to the node that is meant."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from conflux.errors import OptionsError

ID_LETTERS_MIN = 8


class Named(Protocol):
    """A node, as far as it can be named."""

    @property
    def identity(self) -> str: ...

    @property
    def label(self) -> str: ...


Node = TypeVar("Node", bound=Named)


def pick(nodes: Sequence[Node], text: str) -> Node:
    """The node with this label, or else the only one whose id begins so.

    Raises:
        OptionsError: there is none, or more than one; the message names the candidates.
    """
    found = [node for node in nodes if node.label == text]
    if not found:
        found = [node for node in nodes if text and node.identity.startswith(text.lower())]
    if len(found) == 1:
        return found[0]
    if found:
        raise OptionsError(f"{text!r} is ambiguous: {_names(found, nodes)}", hint="Give more letters of the id.")
    if not nodes:
        raise OptionsError(f"there is no node {text!r}", hint="No node is known here.")
    raise OptionsError(f"there is no node {text!r}: there are {_names(nodes, nodes)}", hint="Name one of them.")


def shortened(identity: str, all_identities: Sequence[str] = ()) -> str:
    """The shortest prefix, of at least eight letters, that names this id alone."""
    for letters in range(ID_LETTERS_MIN, len(identity)):
        prefix = identity[:letters]
        if sum(other.startswith(prefix) for other in all_identities) <= 1:
            return prefix
    return identity


def _names(nodes: Sequence[Named], among: Sequence[Named]) -> str:
    identities = [node.identity for node in among]
    return ", ".join(f"{node.label} ({shortened(node.identity, identities)})" for node in nodes)
