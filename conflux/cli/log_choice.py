"""Which of the logs on this machine `conflux inspect-log` reads."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from conflux.cli import output
from conflux.cli.identify import pick, shortened
from conflux.cli.local_nodes import LocalNode, local_nodes
from conflux.cli.options import Settings
from conflux.errors import ConfluxError, Damaged, WrongDirectory
from conflux.node.directory import SELF, Self
from conflux.storage.reader import LogReader


def choose(settings: Settings, text: str | None) -> tuple[LocalNode, LogReader]:
    """The node that was named, else the only one, else the one whose log is newest, which is then said on stderr.

    Raises:
        OptionsError: there is no such node.
        DirectoryError: there is no directory, or it can't be read.
    """
    here = local_nodes(settings.cluster_dir)
    nodes = [node for node in here if node.has_data]
    if not nodes:
        hint = "Name the place with --data-dir and --cluster, or start a cluster: conflux start --cluster-size 3."
        raise WrongDirectory(f"no node's log is in {settings.cluster_dir}", hint=hint)
    if text is not None:
        node = pick([node if node.identity else known(node) for node in here], text)
        return _opened(node)
    if len(nodes) == 1:
        return _opened(nodes[0])
    node = _newest(nodes, settings)
    return _opened(node)


def known(node: LocalNode) -> LocalNode:
    """The node with its identity, which where there is no manifest only its own log can tell."""
    try:
        found, reader = _opened(node)
        reader.close()
        return found
    except ConfluxError:
        return node


def _opened(node: LocalNode) -> tuple[LocalNode, LogReader]:
    reader = LogReader.open(node.directory)
    try:
        if not node.identity:
            node = replace(node, identity=_identity(reader))
    except BaseException:
        reader.close()
        raise
    return node, reader


def _identity(reader: LogReader) -> str:
    """Who the directory says that it is; empty where it does not know yet."""
    fact = reader.facts().get(SELF)
    try:
        return msgspec.msgpack.decode(fact, type=Self).identity if fact else ""
    except msgspec.MsgspecError as error:
        raise Damaged(f"the directory does not say which node it is: {error}") from error


def _newest(nodes: list[LocalNode], settings: Settings) -> LocalNode:
    """The node with the highest last term and index; one that can't be read is said and left out."""
    best: tuple[int, int, LocalNode] | None = None
    for node in nodes:
        try:
            reader = LogReader.open(node.directory)
        except ConfluxError as error:
            if node is nodes[-1] and best is None:
                raise
            output.note(f"{node.label} is left out: {error}", verbosity=settings.verbosity)
            continue
        state = reader.hard_state()
        reader.close()
        if best is None or (state.last_term, state.last_index) > best[:2]:
            best = state.last_term, state.last_index, node
    assert best is not None
    term, index, node = best
    short = f" ({shortened(node.identity)})" if node.identity else ""
    text = f"the log of {node.label}{short}, the newest here: it ends at index {index}, term {term}; another: --node ID"
    output.note(text, verbosity=settings.verbosity)
    return node
