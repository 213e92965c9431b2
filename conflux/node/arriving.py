"""`conflux start --join`: a node of this machine that wants to belong to a cluster that was formed before.

Where nodes of that cluster are here already, the newcomer becomes one of their manifest, with their key and their
addresses to dial; else the manifest begins with it. Said again, the same line means the same node: a service file may
hold it.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from conflux.discovery.local import LocalNode, Manifest
from conflux.errors import OptionsError, WrongDirectory
from conflux.node import beginnings
from conflux.node.beginnings import Condition
from conflux.node.directory import new_identity

BY_HAND = "wait"  # what stands for a token where an operator lets the node in
TOKEN = re.compile(r"[0-9a-f]{32}")


def token_of(text: str) -> str:
    """What `--join` says, as a node takes it: a token, or nothing where an operator lets it in.

    Raises:
        OptionsError: it is neither.
    """
    if text == BY_HAND:
        return ""
    if not TOKEN.fullmatch(text):
        raise OptionsError(
            f"{text!r} is no token",
            hint="Get one with `conflux members add`, or say --join wait and let the node in with "
            "`conflux members add LABEL`.",
        )
    return text


def with_arrival(
    manifest: Manifest | None,
    cluster_dir: Path,
    token: str,
    *,
    cluster: str,
    label: str | None,
    app: str | None,
    app_dir: Path,
    insecure: bool,
) -> tuple[Manifest, LocalNode]:
    """The manifest with the node that joins, and that node.

    Raises:
        OptionsError, WrongDirectory: the label is that of another node here.
    """
    if manifest is None:
        manifest = Manifest(
            cluster=cluster, size=0, app=app or beginnings.DEFAULT_APP, app_dir=str(app_dir), insecure=insecure, local=0
        )
    known = _known(manifest, token, label)
    if known is None or _is_lost(manifest, known, cluster_dir):
        identity = new_identity()
        name = label or (known.label if known else _label(manifest, cluster_dir, identity))
        newcomer = LocalNode(label=name, identity=identity, join=token)
        return manifest.with_node(newcomer), newcomer
    directory = cluster_dir / known.label
    if beginnings.is_removed(directory):
        raise WrongDirectory(
            f"{known.label} was removed from the cluster for good",
            hint=f"Delete its directory first: conflux destroy --node {known.label} --yes",
        )
    if known.join is None:
        raise OptionsError(
            f"{known.label} is a node of this cluster already",
            hint="Start it without --join, or give the new one another --id.",
        )
    again = known if beginnings.is_formed(directory) else replace(known, join=token)
    return manifest.with_node(again), again


def _known(manifest: Manifest, token: str, label: str | None) -> LocalNode | None:
    """The node here that is meant."""
    if label is not None:
        return next((node for node in manifest.nodes if node.label == label), None)
    if token:
        return next((node for node in manifest.nodes if node.join == token), None)
    return manifest.nodes[0] if manifest.founders_here == 0 and len(manifest.nodes) == 1 else None


def _is_lost(manifest: Manifest, node: LocalNode, cluster_dir: Path) -> bool:
    """True where nothing is left of it: a new one may have its label."""
    condition = beginnings.condition_of(cluster_dir / node.label)
    return condition in (Condition.MISSING, Condition.EMPTY) and (node.join is None or node.made)


def _label(manifest: Manifest, cluster_dir: Path, identity: str) -> str:
    """One that no node has here: the next number, where the cluster's nodes are numbered."""
    if not manifest.is_whole:
        return beginnings.label_of_host(identity)
    taken = {node.label for node in manifest.nodes} | {path.name for path in cluster_dir.glob("*/")}
    return next(f"n{number}" for number in range(1, len(taken) + 2) if f"n{number}" not in taken)
