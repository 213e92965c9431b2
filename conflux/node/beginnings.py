"""How a cluster on this machine begins, again or for the first time: what each directory is, and what is done with it.

The rules, a row each, are in `docs/reference/beginnings.md`. The one that matters most: a directory that is missing or
empty, of a cluster that has formed, is never made again. The node may have voted, and a new one under its name would
vote twice.
"""

from __future__ import annotations

import contextlib
import re
import socket
from dataclasses import replace
from enum import Enum
from pathlib import Path

from conflux.discovery.local import KEY, LocalNode, Manifest, Runtime
from conflux.errors import AlreadyOpen, ConfluxError, OptionsError, WrongDirectory
from conflux.node.directory import FORMED, REMOVED, new_identity
from conflux.node.opening import has_data
from conflux.storage.archive import Owner, refuse_foreign, refuse_inside
from conflux.storage.lock import lock_holder
from conflux.storage.reader import LogReader
from conflux.transport.address import Address
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


def first_manifest(
    cluster: str,
    size: int | None,
    app: str | None,
    app_dir: Path,
    *,
    label: str | None,
    local: int | None,
    insecure: bool,
) -> Manifest:
    """The manifest of a cluster that begins now.

    Args:
        local: how many of its nodes run here; None: all.

    Raises:
        OptionsError: its size isn't said, or there are more nodes here than it has.
    """
    if size is None:
        raise OptionsError("there is no cluster here yet, and its size is not given", hint="Say it: --cluster-size 5")
    count = size if local is None else local
    if count > size:
        raise OptionsError(f"{count} nodes here are more than the {size} of the cluster", hint="Lower --local.")
    identities = [new_identity() for _ in range(count)]
    if count == size:
        labels = [f"n{number}" for number in range(1, count + 1)]
    else:
        labels = [label_of_host(identity) for identity in identities]
    if label is not None and count > 1 and label not in labels:
        raise OptionsError(f"a new cluster of {count} nodes names them itself, not {label}", hint="Leave --id out.")
    if label is not None and count == 1:
        labels = [label]
    nodes = tuple(LocalNode(label=each, identity=identity) for each, identity in zip(labels, identities, strict=True))
    return Manifest(
        cluster=cluster, size=size, app=app or DEFAULT_APP, app_dir=str(app_dir), insecure=insecure, nodes=nodes
    )


def label_of_host(identity: str) -> str:
    """A label that hardly any node of another machine has: this machine's name, as far as a label may hold it."""
    name = re.sub(r"[^A-Za-z0-9-]+", "-", socket.gethostname().partition(".")[0]).strip("-")
    return f"{name[:40] or 'node'}-{identity[:4]}"


def check_again(manifest: Manifest, size: int | None, app: str | None, local: int | None) -> None:
    """Refuse to start what is there as something else.

    Raises:
        WrongDirectory: another size, app or number of nodes here was asked for.
    """
    here = manifest.founders_here or len(manifest.nodes)
    if local is not None and local != here:
        raise WrongDirectory(
            f"{here} nodes of the cluster {manifest.cluster!r} are on this machine, not {local}",
            hint=f"Leave --local out or give {here}.",
        )
    if size is not None and manifest.size and size != manifest.size:
        raise WrongDirectory(
            f"the cluster {manifest.cluster!r} was formed with {manifest.size} nodes, not {size}",
            hint=f"Leave --cluster-size out or give {manifest.size}; for another cluster name it: --cluster NAME",
        )
    if app is not None and app != manifest.app:
        raise WrongDirectory(
            f"the cluster {manifest.cluster!r} was formed with the app {manifest.app}, not {app}",
            hint=f"Leave --app out or give {manifest.app}; for another cluster name it: --cluster NAME",
        )


def with_network(
    manifest: Manifest, *, peers: tuple[str, ...], mdns: bool | None, bind: str | None, advertise: str | None
) -> Manifest:
    """The manifest with what was said of the network now, and where nothing was said, what was said last.

    Where to listen and what to advertise go together: a new --bind without --advertise is all there is.

    Raises:
        OptionsError: a peer is no address that could be dialled.
    """
    for peer in peers:
        if not Address.parse(peer).is_dialable:
            raise OptionsError(f"nobody can dial {peer}: it only says where to listen", hint="Name a --peer HOST:PORT.")
    return replace(
        manifest,
        peers=peers or manifest.peers,
        mdns=manifest.mdns if mdns is None else mdns,
        advertise=advertise if bind is not None else advertise or manifest.advertise,
    )


def with_archive(
    manifest: Manifest, cluster_dir: Path, archive: Path | None, *, none: bool, start: list[LocalNode]
) -> Manifest:
    """The manifest with the place of the archives that was named now, or else at an earlier start.

    Raises:
        OptionsError: it is inside of the cluster's own directory.
        DirectoryError: it was named now, and a node to `start` can't have its archive there. At a later start it is
            that node alone that does not start.
    """
    if archive is not None:
        refuse_inside(archive, cluster_dir)
        for node in start:
            refuse_foreign(archive, Owner(cluster=manifest.cluster, label=node.label, identity=node.identity))
    named = str(archive) if archive is not None else manifest.archive
    return replace(manifest, archive=None if none else named)


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
    facts = {node.label: _facts_of(cluster_dir / node.label) for node in manifest.nodes}
    removed = {label for label, known in facts.items() if known is not None and REMOVED in known}
    left = [_why_removed(node, cluster_dir) for node in wanted if node.label in removed]
    wanted = [node for node in wanted if node.label not in removed]
    conditions = {node.label: condition_of(cluster_dir / node.label) for node in wanted}
    if wanted and all(condition is Condition.RUNNING for condition in conditions.values()):
        what = f"node {label}" if label else "all its nodes on this machine"
        raise AlreadyOpen(
            f"the cluster {manifest.cluster!r} is already running: {what}",
            hint=" ".join(["See `conflux status`; stop it with `conflux stop`.", *left]),
        )
    # With all nodes here, a formed cluster shows in the other directories; else only this one could have told.
    formed = any(known is None or FORMED in known for known in facts.values())
    start = []
    for node in wanted:
        condition = conditions[node.label]
        is_lost = node.made if node.join is not None else formed or (node.made and not manifest.is_whole)
        if condition is Condition.STOPPED or (condition is not Condition.RUNNING and not is_lost):
            start.append(node)
        elif condition is not Condition.RUNNING:
            left.append(
                f"{node.label} is not started: its directory {cluster_dir / node.label} is {condition.value}. "
                "It is not made anew, since the node may have voted: put that very directory back, not an older copy, "
                f"or go on without it, or let a new node take its place: conflux start --join wait --id {node.label}, "
                f"then conflux members replace {node.label}"
            )
    if not start:
        raise ConfluxError("no node can be started: " + " ".join(left))
    return start, left


def without_removed(manifest: Manifest, cluster_dir: Path) -> Manifest:
    """The manifest without those whose directories are gone and whom the cluster has removed for good."""
    for node in manifest.nodes:
        is_gone = not has_data(cluster_dir / node.label)
        if is_gone and node.made and is_removed_by_others(manifest, cluster_dir, node):
            manifest = manifest.without(node.label)
    return manifest


def is_removed_by_others(manifest: Manifest, cluster_dir: Path, node: LocalNode) -> bool:
    """True where another directory here says that this node was removed: it may have ended before it heard of that."""
    from conflux.node.survivors import find  # only where a directory is gone

    for other in manifest.nodes:
        if other.label != node.label and has_data(cluster_dir / other.label):
            with contextlib.suppress(ConfluxError):
                if node.identity in find([cluster_dir / other.label]).known.membership.removed:
                    return True
    return False


def is_formed(directory: Path) -> bool:
    """True where the directory says that its cluster has formed, or can't be asked: then nothing is made anew."""
    known = _facts_of(directory)
    return known is None or FORMED in known


def is_removed(directory: Path) -> bool:
    """True where the directory says that its node was removed from the cluster."""
    known = _facts_of(directory)
    return known is not None and REMOVED in known


def _facts_of(directory: Path) -> frozenset[str] | None:
    """Which facts a directory holds; none where there is no data yet, None where it can't be asked.

    Its file is looked through first, which takes a while: once each.
    """
    if not has_data(directory):
        return frozenset()
    try:
        with contextlib.closing(LogReader.open(directory)) as reader:
            return frozenset(reader.facts())
    except ConfluxError:
        return None


def _why_removed(node: LocalNode, cluster_dir: Path) -> str:
    return (
        f"{node.label} is not started: it was removed from the cluster for good, and {cluster_dir / node.label} is of "
        f"no use any more. Delete that: conflux destroy --node {node.label} --yes"
    )


def key_for(manifest: Manifest, cluster_dir: Path, key_file: Path | None) -> Path | None:
    """The cluster's key, kept in its directory from now on; None for a cluster that is insecure by wish.

    Raises:
        WrongDirectory: another key than the one that is there.
        OptionsError: the key file can't be used.
    """
    kept = cluster_dir / KEY
    if manifest.insecure:
        return None
    if key_file is None:
        if not kept.exists():
            ClusterKey.generate().save(kept)
        ClusterKey.load(kept)
        return kept
    given = ClusterKey.load(key_file)
    if not kept.exists():
        given.save(kept)
    elif ClusterKey.load(kept) != given:
        raise WrongDirectory(
            f"the cluster {manifest.cluster!r} here has another key than {key_file}",
            hint="Leave --key out, or name another cluster with --cluster.",
        )
    return kept


def with_made(manifest: Manifest, labels: set[str]) -> Manifest:
    """The manifest once these nodes' directories are made."""
    nodes = tuple(replace(node, made=node.made or node.label in labels) for node in manifest.nodes)
    return replace(manifest, nodes=nodes)


def running_address(directory: Path) -> str | None:
    """Where the node that runs in this directory listens."""
    runtime = Runtime.load(directory)
    return runtime.endpoint if runtime else None
