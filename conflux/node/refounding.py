"""A new cluster out of an old one's state: what `snapshot restore` and `recover` do.

It has identities, a key and an id of its own: no node of the old one takes it for its cluster, and no client of the
old one reaches it with a number that now means something else. Revisions and sessions go on where the old state ends.
The directories are made beside their place, and moved there when all of them are complete.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from conflux import limits
from conflux.app import App
from conflux.discovery.local import KEY, LocalNode, Manifest
from conflux.errors import WrongDirectory
from conflux.node import directory as directories
from conflux.node.directory import new_identity
from conflux.node.options import NodeOptions
from conflux.raft.entry import Entry, Kind
from conflux.storage.environment import sync_directory
from conflux.storage.interface import SnapshotHeader, Storage
from conflux.storage.lmdb_storage import LmdbStorage
from conflux.store import image
from conflux.store.membership import Member, Membership
from conflux.store.records import Header, encode_payload, header_of, members_changed
from conflux.transport.keys import ClusterKey, KeyPair
from conflux.wire.peers import Founder, Proposal

BATCH_BYTES = 4 * limits.MIB
UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The cluster that shall be."""

    cluster: str
    cluster_dir: Path
    size: int
    app: str  # MODULE:ATTR
    app_dir: str
    app_name: str
    app_version: int
    key: ClusterKey | None  # None: insecure, by wish
    term: int  # no lower than any that the old cluster's state is of


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """A snapshot to begin with."""

    header: SnapshotHeader
    chunks: Iterable[bytes]  # raise at their end where they are not whole


@dataclass(slots=True)
class NewNode:
    """One new node. Who makes clusters that are the same each time gives it identity and keys."""

    label: str
    identity: str = field(default_factory=new_identity)
    pair: KeyPair = field(default_factory=KeyPair.generate)

    @property
    def founder(self) -> Founder:
        return Founder(self.identity, self.label, self.pair.public.decode())


def refound(
    plan: Plan,
    base: Base | None,
    entries: Iterable[Entry] = (),
    *,
    aside: Path | None = None,
    make_node: Callable[[str], NewNode] = NewNode,
) -> Manifest:
    """Make the cluster's directories.

    Args:
        base: None: the log goes back to the beginning.
        entries: the log behind it, all taken for committed.
        aside: where a directory that stands in the cluster's place is moved, whole, at the last moment.
        make_node: gives each node what makes it one, by the label that it has by default.

    Raises:
        DirectoryError: something stands there, or the system refuses; then nothing was changed.
        Damaged: what was given isn't what was written.
    """
    if aside is None:
        refuse_existing(plan.cluster, plan.cluster_dir)
    unfinished = plan.cluster_dir.with_name(f"{plan.cluster_dir.name}.{UNFINISHED}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True, mode=0o700)
    try:
        nodes = [make_node(f"n{number}") for number in range(1, plan.size + 1)]
        manifest = _make_all(plan, nodes, unfinished, base, entries)
        if aside is not None and plan.cluster_dir.exists():
            os.rename(plan.cluster_dir, aside)
        os.rename(unfinished, plan.cluster_dir)
        sync_directory(plan.cluster_dir.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return manifest


def refuse_existing(cluster: str, cluster_dir: Path) -> None:
    """Raise WrongDirectory where something stands in the place of a new cluster."""
    if cluster_dir.exists() and any(cluster_dir.iterdir()):
        raise WrongDirectory(
            f"there is a cluster {cluster!r} in {cluster_dir} already",
            hint="Give the new one another name with --cluster, or another place with --data-dir.",
        )


def _make_all(
    plan: Plan, nodes: Sequence[NewNode], place: Path, base: Base | None, entries: Iterable[Entry]
) -> Manifest:
    proposal = Proposal(plan.cluster, plan.app_name, plan.app_version, tuple(sorted(node.founder for node in nodes)))
    with ExitStack() as stack:
        storages = []
        for node in nodes:
            storage = LmdbStorage.open(place / node.label, create=True)
            stack.callback(storage.close)
            storages.append(storage)
            _identify(storage, plan, node, proposal)
        members = Membership.made_of(Member(node.identity, node.label, node.founder.public_key) for node in nodes)
        if base is not None:
            _write_base(storages, plan, base, members)
        _write_log(storages, plan, base, entries, members)
    if plan.key is not None:
        plan.key.save(place / KEY)
    here = tuple(LocalNode(label=node.label, identity=node.identity, made=True) for node in nodes)
    manifest = Manifest(
        cluster=plan.cluster,
        size=plan.size,
        app=plan.app,
        app_dir=plan.app_dir,
        insecure=plan.key is None,
        nodes=here,
    )
    manifest.save(place)
    return manifest


def _identify(storage: Storage, plan: Plan, node: NewNode, proposal: Proposal) -> None:
    """Make a storage a member's, of a cluster that has formed."""
    app: App[Any, Any] = App(name=plan.app_name, version=plan.app_version)
    directories.create(
        storage,
        NodeOptions(cluster=plan.cluster, label=node.label, size=plan.size),
        app,
        identity=node.identity,
        public_key=node.pair.public.decode(),
        secret_key=node.pair.secret.decode(),
    )
    directories.record_joined(storage, proposal)
    storage.persist(term=plan.term, vote=None, entries=(), commit_index=0)


def _write_base(storages: list[LmdbStorage], plan: Plan, base: Base, members: Membership) -> None:
    """The snapshot, with the new members in the place of the old ones, in every directory."""
    old = base.header
    fields = image.with_members(old.fields, members)
    header = SnapshotHeader(index=old.index, term=old.term, revision=old.revision, fields=fields)
    writers = [storage.snapshots.begin(header) for storage in storages]
    try:
        for chunk in base.chunks:
            for writer in writers:
                writer.write(chunk)
        for writer in writers:
            writer.start_finish()
        for writer in writers:
            writer.finish().close()
    except BaseException:
        for writer in writers:
            writer.abandon()
        raise
    for storage in storages:
        storage.install_base(header.index, header.term, keep_log=False)


def _write_log(
    storages: list[LmdbStorage], plan: Plan, base: Base | None, entries: Iterable[Entry], members: Membership
) -> None:
    """The log, and behind it the new members, whatever it says of the old ones."""

    def write(batch: list[Entry]) -> None:
        for storage in storages:
            storage.persist(term=plan.term, vote=None, entries=batch, commit_index=batch[-1].index)

    last: Entry | None = None
    for batch in _batches(entries):
        write(batch)
        last = batch[-1]
    if last is not None:
        header = header_of(last.payload)
        payload = encode_payload(
            Header(
                app_version=plan.app_version,
                actions=0,
                first_revision=header.next_revision,
                log_time_us=header.log_time_us,
                wall_time_us=header.wall_time_us,
            ),
            [members_changed(members)],
        )
        write([Entry(last.index + 1, plan.term, Kind.MEMBERSHIP, payload)])


def _batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += len(entry.payload)
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
