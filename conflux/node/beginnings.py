"""How a cluster on this machine begins, again or for the first time: what each directory is, and what is done with it.

The rules, a row each, are in `docs/reference/beginnings.md`. The one that matters most: a directory that is missing or
empty, of a cluster that has formed, is never made again. The node may have voted, and a new one under its name would
vote twice.
"""

from __future__ import annotations

from dataclasses import replace
from enum import Enum
from pathlib import Path

from conflux.discovery.local import KEY, LocalNode, Manifest, Runtime
from conflux.errors import AlreadyOpen, ConfluxError, OptionsError, WrongDirectory
from conflux.node.directory import FORMED, new_identity
from conflux.node.opening import has_data
from conflux.storage.lock import lock_holder
from conflux.storage.reader import LogReader
from conflux.transport.keys import ClusterKey

DEFAULT_APP = "conflux.apps.list:app"


class Condition(Enum):
    """What a member's directory is when the launcher looks."""

    RUNNING = "running"
    STOPPED = "stopped"  # it holds data
    MISSING = "missing"
    EMPTY = "empty"


def condition_of(directory: Path) -> Condition:
    """What a node's directory is now."""
    if not directory.exists():
        return Condition.MISSING
    if lock_holder(directory) is not None:
        return Condition.RUNNING
    return Condition.STOPPED if has_data(directory) else Condition.EMPTY


def first_manifest(cluster: str, size: int | None, app: str | None, app_dir: Path, label: str | None) -> Manifest:
    """The manifest of a cluster that begins now.

    Raises:
        OptionsError: its size isn't said.
    """
    if size is None:
        raise OptionsError("there is no cluster here yet, and its size is not given", hint="Say it: --cluster-size 5")
    labels = [label] if label is not None and size == 1 else [f"n{number}" for number in range(1, size + 1)]
    if label is not None and label not in labels:
        raise OptionsError(f"a new cluster of {size} has the nodes {', '.join(labels)}, not {label}")
    nodes = tuple(LocalNode(label=each, identity=new_identity()) for each in labels)
    return Manifest(cluster=cluster, size=size, app=app or DEFAULT_APP, app_dir=str(app_dir), nodes=nodes)


def check_again(manifest: Manifest, size: int | None, app: str | None) -> None:
    """Refuse to start what is there as something else.

    Raises:
        WrongDirectory: another size or app was asked for.
    """
    if size is not None and size != manifest.size:
        raise WrongDirectory(
            f"the cluster {manifest.cluster!r} was formed with {manifest.size} nodes, not {size}",
            hint=f"Leave --cluster-size out or give {manifest.size}; for another cluster name it: --cluster NAME",
        )
    if app is not None and app != manifest.app:
        raise WrongDirectory(
            f"the cluster {manifest.cluster!r} was formed with the app {manifest.app}, not {app}",
            hint=f"Leave --app out or give {manifest.app}; for another cluster name it: --cluster NAME",
        )


def to_start(manifest: Manifest, cluster_dir: Path, label: str | None) -> tuple[list[LocalNode], list[str]]:
    """The nodes to start now, and a line for each that is left alone though it doesn't run.

    Raises:
        AlreadyOpen: all of them run.
        ConfluxError: none can be started.
    """
    wanted = [node for node in manifest.nodes if label in (None, node.label)]
    if not wanted:
        labels = ", ".join(node.label for node in manifest.nodes)
        raise OptionsError(f"there is no node {label} here", hint=f"The nodes are {labels}.")
    conditions = {node.label: condition_of(cluster_dir / node.label) for node in wanted}
    if all(condition is Condition.RUNNING for condition in conditions.values()):
        what = f"node {label}" if label else "all its nodes"
        raise AlreadyOpen(
            f"the cluster {manifest.cluster!r} is already running: {what}",
            hint="See `conflux status`; stop it with `conflux stop`.",
        )
    formed = any(is_formed(cluster_dir / node.label) for node in manifest.nodes)
    start, left = [], []
    for node in wanted:
        condition = conditions[node.label]
        if condition is Condition.STOPPED or (condition is not Condition.RUNNING and not formed):
            start.append(node)
        elif condition is not Condition.RUNNING:
            left.append(
                f"{node.label} is not started: its directory {cluster_dir / node.label} is {condition.value}. "
                "It is not made anew, since the node may have voted: put the directory back, or go on without it."
            )
    if not start:
        raise ConfluxError("no node can be started: " + " ".join(left))
    return start, left


def is_formed(directory: Path) -> bool:
    """True where the directory says that its cluster has formed, or can't be asked: then nothing is made anew."""
    if not has_data(directory):
        return False
    try:
        reader = LogReader.open(directory)
    except ConfluxError:
        return True
    try:
        return FORMED in reader.facts()
    except ConfluxError:
        return True
    finally:
        reader.close()


def make_key(cluster_dir: Path) -> Path:
    """The cluster's key file, made where there is none."""
    key_file = cluster_dir / KEY
    if not key_file.exists():
        ClusterKey.generate().save(key_file)
    return key_file


def with_addresses(manifest: Manifest, addresses: dict[str, str]) -> Manifest:
    """The manifest with these addresses, by label."""
    nodes = tuple(replace(node, address=addresses.get(node.label, node.address)) for node in manifest.nodes)
    return replace(manifest, nodes=nodes)


def running_address(directory: Path) -> str | None:
    """Where the node that runs in this directory listens."""
    runtime = Runtime.load(directory)
    return runtime.endpoint if runtime else None
