"""The nodes of a cluster that have their directories on this machine, running or not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from conflux.cli.identify import pick
from conflux.discovery.local import NODE_LOG, RUNTIME, Manifest, Runtime

DATA_FILE = "data.mdb"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalNode:
    """A node's place on this machine."""

    label: str
    identity: str  # empty where nothing but the log's own facts could tell
    directory: Path
    endpoint: str | None  # where others dial it, or did last
    dialled: str | None = None  # where it is dialled from this machine

    @property
    def log_file(self) -> Path:
        return self.directory / NODE_LOG

    @property
    def has_data(self) -> bool:
        """True where there is a log on disk."""
        return (self.directory / DATA_FILE).exists()


def local_nodes(cluster_dir: Path) -> list[LocalNode]:
    """All of them: those that the manifest names, and whatever other directory looks like a node's.

    Raises:
        Damaged: the manifest makes no sense.
    """
    manifest = Manifest.load(cluster_dir)
    named = {node.label: node for node in manifest.nodes} if manifest else {}
    seen = {directory.name for directory in cluster_dir.glob("*/") if _is_nodes(directory)}
    nodes = []
    for label in by_label(seen | set(named)):
        runtime = Runtime.load(cluster_dir / label)
        identity = named[label].identity if label in named else runtime.identity if runtime else ""
        endpoint = (runtime.endpoint if runtime else "") or (named[label].address if label in named else "")
        directory = cluster_dir / label
        dialled = runtime.dialled if runtime else endpoint
        nodes.append(
            LocalNode(
                label=label,
                identity=identity,
                directory=directory,
                endpoint=endpoint or None,
                dialled=dialled or None,
            )
        )
    return nodes


def label_of(cluster_dir: Path, named: str) -> str:
    """The label of the node here that is meant by a label or by the beginning of an id; as it is, where none is here.

    Raises:
        OptionsError: it is none of those that are here.
    """
    nodes = local_nodes(cluster_dir)
    return pick(nodes, named).label if nodes else named


def by_label(labels: Iterable[str]) -> list[str]:
    """In the order that people expect: n2 before n10."""
    return sorted(labels, key=label_order)


def label_order(label: str) -> tuple[list[tuple[int, str]], str]:
    """Sorts numbers within labels as numbers."""
    parts = re.split(r"(\d+)", label)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts], label


def _is_nodes(directory: Path) -> bool:
    return any((directory / name).exists() for name in (DATA_FILE, RUNTIME))
