"""`conflux destroy`: deletes directories, and nothing that isn't Conflux's."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import click

from conflux.cli import ending, output
from conflux.cli.identify import pick
from conflux.cli.local_nodes import LocalNode, local_nodes
from conflux.cli.options import Settings, command
from conflux.discovery.local import KEY, MANIFEST, Manifest
from conflux.errors import AlreadyOpen, ConfluxError, OptionsError

LAUNCH_LOCK = "start.lock"  # of `conflux.node.launcher`, which is too heavy to import for a name


@command(
    "destroy",
    examples=[
        "conflux destroy                # says what would go",
        "conflux stop && conflux destroy --yes",
        "conflux destroy --node n2 --yes",
        "conflux destroy --with-archive --yes",
    ],
)
@click.option("--node", metavar="ID", help="Only this node's directory: its label, or the beginning of its id.")
@click.option("--with-archive", is_flag=True, help="Also what `start --archive` kept of their logs.")
@click.option("--yes", is_flag=True, help="Do it. What is deleted is gone for good.")
def destroy(settings: Settings, node: str | None, with_archive: bool, yes: bool) -> None:
    """Delete the directories of a cluster's nodes on this machine, with its key; refused while a node runs.

    Prints each path. Without --yes it deletes nothing and says what would go. Archives stay unless --with-archive is
    given.
    """
    nodes = local_nodes(settings.cluster_dir)
    chosen = [pick(nodes, node)] if node is not None else nodes
    paths = [each.directory for each in chosen if each.directory.exists()]
    if node is None:
        paths += [path for name in (MANIFEST, KEY, LAUNCH_LOCK) if (path := settings.cluster_dir / name).exists()]
    archives = _archives(settings, chosen)
    if with_archive:
        paths += archives
    if not paths:
        hint = "Name the place with --data-dir and --cluster."
        raise ConfluxError(f"there is nothing to delete in {settings.cluster_dir}", hint=hint)
    _refuse_running(chosen)
    if not yes:
        _print(settings, "would_remove", paths)
        raise OptionsError("nothing was deleted", hint="Say --yes to delete this for good.")
    with _locked(chosen):
        ending.hear()
        _forget_gone(settings, chosen if node is not None else [])
        for path in paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if node is None:
        with contextlib.suppress(OSError):  # somebody keeps a file of their own there
            settings.cluster_dir.rmdir()
            paths.append(settings.cluster_dir)
    _print(settings, "removed", paths)
    if archives and not with_archive:
        kept = ", ".join(str(path) for path in archives)
        output.note(f"What was archived stays: {kept}.", verbosity=settings.verbosity)


def _archives(settings: Settings, nodes: list[LocalNode]) -> list[Path]:
    """The archives of these nodes, and of nobody else, where the last start kept them."""
    manifest = Manifest.load(settings.cluster_dir)
    if manifest is None or manifest.archive is None:
        return []
    from conflux.storage.archive import Owner, owner_of

    found = []
    for node in nodes:
        directory = Path(manifest.archive) / node.label
        owner = Owner(cluster=manifest.cluster, label=node.label, identity=node.identity)
        with contextlib.suppress(ConfluxError):
            if owner_of(directory) == owner:
                found.append(directory)
    return found


def _forget_gone(settings: Settings, nodes: list[LocalNode]) -> None:
    """The manifest forgets who was removed from the cluster, or had only joined it; of a founder it is to be missed."""
    from conflux.node.beginnings import is_removed, is_removed_by_others

    manifest = Manifest.load(settings.cluster_dir)
    for node in nodes if manifest is not None else []:
        assert manifest is not None
        named = next((each for each in manifest.nodes if each.label == node.label), None)
        if named is None:
            continue
        is_gone = named.join is not None or is_removed(node.directory)
        if is_gone or is_removed_by_others(manifest, settings.cluster_dir, named):
            manifest = manifest.without(node.label)
            manifest.save(settings.cluster_dir)


def _refuse_running(nodes: list[LocalNode]) -> None:
    from conflux.storage.lock import lock_holder

    running = {node.label: pid for node in nodes if (pid := lock_holder(node.directory)) is not None}
    if running:
        named = ", ".join(f"{label} (process {pid})" for label, pid in running.items())
        raise AlreadyOpen(f"still running: {named}", hint="Stop it first: conflux stop.")


@contextlib.contextmanager
def _locked(nodes: list[LocalNode]) -> Iterator[None]:
    """Nobody starts one of these while it is deleted."""
    from conflux.storage.lock import DirectoryLock

    with contextlib.ExitStack() as stack:
        for node in nodes:
            if node.directory.is_dir():
                stack.callback(DirectoryLock.acquire(node.directory).release)
        yield


def _print(settings: Settings, what: str, paths: list[Path]) -> None:
    if settings.json:
        output.print_json({what: [str(path) for path in paths]})
        return
    for path in paths:
        output.print_line(f"{what.replace('_', ' ')} {path}")
