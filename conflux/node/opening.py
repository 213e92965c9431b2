"""From options to a node: its storage, its directory, its channel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

from conflux.app import App
from conflux.discovery.interface import Discovery
from conflux.errors import ConfluxError, WrongDirectory
from conflux.node import directory as directories
from conflux.node.clock import SystemClock
from conflux.node.directory import Directory
from conflux.node.node import Node
from conflux.node.options import NodeOptions
from conflux.storage.archive import Archive, Owner
from conflux.storage.interface import Storage
from conflux.storage.memory import MemoryStorage
from conflux.transport.interface import Channel


def open_directory(path: Path, options: NodeOptions, app: App[Any, Any], *, identity: str | None = None) -> Directory:
    """Open a node's directory, or make it where there is none.

    Args:
        identity: what the directory is, or shall become; default: whatever it is, or a new one.

    Raises:
        DirectoryError: it is in use, damaged, of a newer format, or was made for something else.
    """
    from conflux.storage.lmdb_storage import LmdbStorage

    if has_data(path):
        storage = LmdbStorage.open(path, create=False)
        with _closed_on_error(storage):
            return _checked(storage, options, app, identity)
    storage = LmdbStorage.open(path, create=True)
    return new_directory(storage, options, app, identity=identity)


def forget(directory: Directory, proposal: str) -> Directory:
    """The operator's word that an accepted proposal will come to nothing: a founder of it is lost for good.

    Raises:
        ConfluxError: the node's cluster is formed, or this isn't what it accepted.
    """
    accepted = directory.accepted
    if directory.formed:
        raise ConfluxError(f"the cluster of {directory.self.label} is formed: there is nothing to forget")
    accepted_id = directories.cluster_id(accepted) if accepted else ""
    if not accepted_id or not accepted_id.startswith(proposal):
        what = f"has accepted {accepted_id[:8]}" if accepted_id else "has accepted no cluster"
        raise ConfluxError(f"{directory.self.label} {what}, not {proposal}", hint="`conflux status` names the one.")
    directories.record_never(directory.storage, directory.nevers | {accepted_id}, gives_up=True)
    return directories.read(directory.storage)


def open_archive(root: Path, directory: Directory, *, create: bool) -> Archive:
    """Open a node's archive below `root`; where that fails, the node's storage is closed.

    Args:
        create: make it where there is none.

    Raises:
        DirectoryError: it can't be that node's, or is not there: see `Archive.open`.
    """
    mine = directory.self
    with _closed_on_error(directory.storage):
        owner = Owner(cluster=mine.cluster, label=mine.label, identity=mine.identity)
        return Archive.open(root, owner, create=create)


def open_remembered_archive(root: Path | None, directory: Directory) -> Archive | None:
    """Open the archive of a node whose every start says where it lies, or that there is none.

    It is made at the first start that names this place. From then on it has to be there, until a start names another
    place, or none: its disk may just not be mounted.

    Raises:
        DirectoryError: as `open_archive`.
        StorageFailed: the place can't be remembered.
    """
    place = "" if root is None else os.path.abspath(root)
    archive = open_archive(Path(place), directory, create=place != directory.archive) if place else None
    if place != directory.archive:
        with _closed_on_error(directory.storage):
            directories.record_archive(directory.storage, place)
    return archive


def has_data(path: Path) -> bool:
    """True where a node's directory holds a log."""
    return (path / "data.mdb").exists()


def memory_directory(options: NodeOptions, app: App[Any, Any]) -> Directory:
    """A directory in memory: a new identity at each opening, since it remembers no vote."""
    return new_directory(MemoryStorage(), options, app)


def new_directory(
    storage: Storage, options: NodeOptions, app: App[Any, Any], *, identity: str | None = None
) -> Directory:
    """Make an empty storage this node's: identity and key pair of its own."""
    from conflux.transport.keys import KeyPair

    pair = KeyPair.generate()
    return directories.create(
        storage,
        options,
        app,
        identity=identity or directories.new_identity(),
        public_key=pair.public.decode(),
        secret_key=pair.secret.decode(),
    )


def open_node(
    options: NodeOptions,
    app: App[Any, Any],
    directory: Directory,
    channel: Channel,
    discovery: Discovery,
    *,
    data_dir: Path | None = None,
    log_file: Path | None = None,
    archive: Archive | None = None,
) -> Node:
    """A node on the machine's clocks; where it can't run, its storage is closed."""
    with _closed_on_error(directory.storage):
        return Node(
            options,
            app,
            directory,
            channel,
            SystemClock(),
            Random(),
            discovery=discovery,
            data_dir=str(data_dir) if data_dir else None,
            log_file=str(log_file) if log_file else None,
            archive=archive,
        )


@contextmanager
def _closed_on_error(storage: Storage) -> Iterator[None]:
    try:
        yield
    except BaseException:
        storage.close()
        raise


def _checked(storage: Storage, options: NodeOptions, app: App[Any, Any], identity: str | None) -> Directory:
    if not storage.facts() and storage.restored().last_index == 0:
        return new_directory(storage, options, app, identity=identity)  # a start was cut short before it said who it is
    directory = directories.read(storage)
    directories.check(directory.self, options, app)
    if identity is not None and directory.self.identity != identity:
        raise WrongDirectory(
            f"the directory holds another node than the {options.label} of this cluster",
            hint="Directories were mixed up: put each back in its place.",
        )
    return directory
