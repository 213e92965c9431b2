"""Starts the nodes of a cluster on this machine, a process each, and stops them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from conflux.discovery.local import NODE_LOG, LocalNode, Manifest
from conflux.errors import AlreadyOpen, ConfluxError, OptionsError
from conflux.node import app_check, beginnings, child, process
from conflux.node.addresses import with_addresses
from conflux.node.arriving import with_arrival
from conflux.node.child import Child
from conflux.node.formation import settle_seconds
from conflux.node.options import NodeOptions
from conflux.node.process import NodeSpec
from conflux.storage import processes
from conflux.storage.lock import LOCK_FILE, lock_holder
from conflux.transport.address import Address

START_SECONDS_MAX = 30.0
STOP_SECONDS_MAX = 5.0  # then a node that doesn't end by itself is killed
LAUNCH_LOCK = "start.lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchOptions:
    """What `start` was asked for."""

    cluster: str
    cluster_dir: Path
    size: int | None = None
    label: str | None = None
    app: str | None = None
    app_dir: Path = field(default_factory=Path.cwd)
    local: int | None = None  # how many of the cluster's nodes run here; None: all
    key_file: Path | None = None
    insecure: bool = False
    peers: tuple[str, ...] = ()
    bind: str | None = None
    advertise: str | None = None
    mdns: bool | None = None  # None: as at the last start
    forget: str | None = None
    archive: Path | None = None  # None: as at the last start
    no_archive: bool = False
    join: str | None = None  # a node here that joins the cluster: by this token, or by an operator's hand ("")
    election_timeout_ms: tuple[int, int] = (300, 500)
    heartbeat_interval_ms: int = 50


@dataclass(slots=True)
class Launched:
    """A node that this launcher started."""

    label: str
    spec: NodeSpec
    child: Child
    identity: str = ""
    endpoint: str = ""

    @property
    def process(self) -> subprocess.Popen[bytes]:
        return self.child.process

    def row(self) -> dict[str, Any]:
        """What `start --detach` prints of it."""
        return {
            "id": self.identity,
            "label": self.label,
            "endpoint": self.endpoint,
            "pid": self.process.pid,
            "data_dir": self.spec.directory,
            "log_file": str(Path(self.spec.directory) / NODE_LOG),
        }


class Launcher:
    """Starts what is to be started, once.

    Args:
        options: see `LaunchOptions`.
    """

    def __init__(self, options: LaunchOptions) -> None:
        self.nodes: list[Launched] = []
        self.left: list[str] = []  # a line for each member that was not started
        self.manifest: Manifest | None = None
        self._options = options
        self._look: Child | None = None  # at the app

    def start(self, check: Callable[[], None]) -> None:
        """Start every member that isn't running.

        Args:
            check: called now and then; what it raises ends the start, and what was begun is for `stop`.

        Raises:
            ConfluxError: nothing could be started; then nothing was changed on disk.
        """
        options = self._options
        with _launching(options.cluster_dir):
            manifest, label = self._manifest()
            manifest = beginnings.without_removed(manifest, options.cluster_dir)
            self._try_out(manifest, check)
            start, self.left = beginnings.to_start(manifest, options.cluster_dir, label)
            manifest = beginnings.with_network(
                manifest, peers=options.peers, mdns=options.mdns, bind=options.bind, advertise=options.advertise
            )
            manifest = with_addresses(
                manifest,
                self._running(manifest, start),
                bind=options.bind,
                advertise=manifest.advertise,
                only=label if options.join is not None else None,
            )
            manifest = beginnings.with_archive(
                manifest, options.cluster_dir, options.archive, none=options.no_archive, start=start
            )
            _refuse_lonely_loopback(manifest)
            key_file = beginnings.key_for(manifest, options.cluster_dir, options.key_file)
            manifest.save(options.cluster_dir)
            self._spawn_all(manifest, {node.label for node in start}, key_file)
            self._await_listening(check)
            self.manifest = beginnings.with_made(manifest, {node.label for node in self.nodes})
            self.manifest.save(options.cluster_dir)

    def respawn(self, node: Launched, check: Callable[[], None]) -> None:
        """Start a node again that died. Should it die at that, its process says so, as it did before.

        Args:
            check: as for `start`.

        Raises:
            ConfluxError: it answers with that.
        """
        node.child = self._begin(replace(node.spec, archive_is_new=False), fresh=True)  # by now there are threads here
        answer = node.child.answer(time.monotonic() + START_SECONDS_MAX, check)
        if node.process.returncode is not None:  # no answer, and it was waited for
            return
        if "error" in answer:
            node.child.await_end(time.monotonic() + STOP_SECONDS_MAX)
            raise child.raised(answer)
        node.endpoint = answer["endpoint"]

    def stop(self) -> None:
        """Stop what this launcher started. Where those are all, there is nobody to hand leadership to."""
        manifest = self.manifest
        are_all = manifest is not None and manifest.is_whole and len(self.nodes) == len(manifest.nodes)
        for started in self._children():
            started.process.send_signal(signal.SIGINT if are_all else signal.SIGTERM)
        deadline_s = time.monotonic() + STOP_SECONDS_MAX
        for started in self._children():
            started.await_end(deadline_s)

    def kill(self) -> None:
        """Kill whatever this launcher started, at once."""
        for started in self._children():
            started.process.kill()

    def let_go(self) -> None:
        """What this launcher started goes on without it."""
        for started in self._children():
            started.let_go()

    def _children(self) -> list[Child]:
        nodes = [node.child for node in self.nodes]
        return nodes if self._look is None else [self._look, *nodes]

    def _manifest(self) -> tuple[Manifest, str | None]:
        """What is here, or shall be; and the label of the one node to start, where not all are."""
        options = self._options
        manifest = Manifest.load(options.cluster_dir)
        if manifest is None:
            _refuse_orphans(options.cluster_dir)
        else:
            beginnings.check_again(manifest, options.size, options.app, options.local)
        if options.join is not None:
            manifest, newcomer = with_arrival(
                manifest,
                options.cluster_dir,
                options.join,
                cluster=options.cluster,
                label=options.label,
                app=options.app,
                app_dir=options.app_dir,
                insecure=options.insecure,
            )
            return manifest, newcomer.label
        if manifest is None:
            manifest = beginnings.first_manifest(
                options.cluster,
                options.size,
                options.app,
                options.app_dir,
                label=options.label,
                local=options.local,
                insecure=options.insecure,
            )
        return manifest, options.label

    def _try_out(self, manifest: Manifest, check: Callable[[], None]) -> None:
        """Find what would keep every node from starting before anything is written."""
        options = self._options
        what, job = f"a look at the app {manifest.app}", app_check.job(manifest.app, manifest.app_dir)
        self._look = child.begin(what, app_check.main, job, fresh=False, words_in=None)
        answer = self._look.answer(time.monotonic() + START_SECONDS_MAX, check)
        self._look.await_end(time.monotonic() + STOP_SECONDS_MAX)
        if "error" in answer:
            raise child.raised(answer)
        NodeOptions(
            cluster=options.cluster,
            label=manifest.nodes[-1].label,
            size=manifest.size,
            join=manifest.nodes[-1].join,
            election_timeout_ms=options.election_timeout_ms,
            heartbeat_interval_ms=options.heartbeat_interval_ms,
        )

    def _running(self, manifest: Manifest, start: list[LocalNode]) -> dict[str, str]:
        """Where the nodes listen that are not to be started."""
        others = [node for node in manifest.nodes if node not in start]
        found = {node.label: beginnings.running_address(self._options.cluster_dir / node.label) for node in others}
        return {label: address for label, address in found.items() if address is not None}

    def _spawn_all(self, manifest: Manifest, labels: set[str], key_file: Path | None) -> None:
        for node in manifest.nodes:
            if node.label in labels:
                spec = self._spec(manifest, node, key_file)
                self.nodes.append(Launched(node.label, spec, self._begin(spec, fresh=not self.nodes)))

    def _begin(self, spec: NodeSpec, *, fresh: bool) -> Child:
        """A node's process."""
        place = self._options.cluster_dir
        return child.begin("the node's process", process.main, spec.to_json(), fresh=fresh, words_in=place)

    def _spec(self, manifest: Manifest, node: LocalNode, key_file: Path | None) -> NodeSpec:
        options = self._options
        here = tuple(other.address for other in manifest.nodes if other is not node and other.address)
        peers = (*here, *manifest.peers)
        mdns = manifest.mdns and not manifest.is_whole and not Address.parse(node.address).is_loopback
        return NodeSpec(
            cluster=manifest.cluster,
            label=node.label,
            identity=node.identity,
            size=manifest.size if node.join is None else 0,
            join=node.join,
            directory=str(options.cluster_dir / node.label),
            bind=node.bind or node.address,
            advertise=node.address,
            key_file=str(key_file) if key_file else None,
            peers=peers,
            mdns=mdns,
            settle_s=settle_seconds(manifest.size, peers, mdns=mdns),
            archive=manifest.archive,
            archive_is_new=options.archive is not None or not node.made,
            forget=options.forget,
            app=manifest.app,
            app_dir=manifest.app_dir,
            election_timeout_ms=options.election_timeout_ms,
            heartbeat_interval_ms=options.heartbeat_interval_ms,
        )

    def _await_listening(self, check: Callable[[], None]) -> None:
        """Wait until each node listens. One that can't is left out and said; if none can, that is the error."""
        deadline_s = time.monotonic() + START_SECONDS_MAX
        errors: dict[str, dict[str, Any]] = {}
        for node in [*self.nodes]:
            answer = node.child.answer(deadline_s, check)
            if "error" in answer:
                errors[node.label] = answer
                node.process.wait()
                self.nodes.remove(node)
            else:
                node.identity, node.endpoint = answer["identity"], answer["endpoint"]
        lines = [
            f"{label} is not started: {e['message'].rstrip('.')}. {e['hint']}".rstrip() for label, e in errors.items()
        ]
        if errors and not self.nodes:
            messages = {error["message"] for error in errors.values()}
            first = next(iter(errors.values()))
            text = first["message"] if len(messages) == 1 else " ".join(lines)
            raise ConfluxError(text, hint=first["hint"] if len(messages) == 1 else "")
        self.left += lines


def stop_nodes(cluster_dir: Path, label: str | None = None) -> list[str]:
    """Stop the nodes that run in a cluster's directory; gives the labels of those that did.

    Returns once their processes are gone and their locks are free.

    Raises:
        OSError: a directory can't be looked into: whether a node runs there, nobody can tell. None is stopped then.
    """
    places = sorted(cluster_dir.iterdir()) if cluster_dir.exists() else []
    directories = [path for path in places if label in (None, path.name) and _holds_lock(path)]
    holders = {directory: pid for directory in directories if (pid := lock_holder(directory)) is not None}
    number = signal.SIGINT if label is None and _is_whole(cluster_dir) else signal.SIGTERM
    for directory, pid in holders.items():
        _signal(directory, pid, number)
    deadline_s = time.monotonic() + STOP_SECONDS_MAX
    for directory, pid in holders.items():
        while lock_holder(directory) == pid or (processes.exists(pid) and not processes.is_zombie(pid)):
            if time.monotonic() > deadline_s:
                _signal(directory, pid, signal.SIGKILL)
            time.sleep(0.01)
    return [directory.name for directory in holders]


def _holds_lock(directory: Path) -> bool:
    """Whether a node was ever started there; `Path.exists` would not tell "no" from "not for you"."""
    try:
        os.stat(directory / LOCK_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _is_whole(cluster_dir: Path) -> bool:
    """True where all nodes of the cluster are here: who stops them all leaves nobody to hand leadership to."""
    try:
        manifest = Manifest.load(cluster_dir)
    except ConfluxError:
        return False
    return manifest is not None and manifest.is_whole


@contextlib.contextmanager
def _launching(cluster_dir: Path) -> Iterator[None]:
    """One launcher at a time. On an error, directories that were made for it alone go again."""
    made = [path for path in (cluster_dir, cluster_dir.parent) if not path.exists()]
    cluster_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = cluster_dir / LAUNCH_LOCK
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyOpen(
                f"another `conflux start` is at work in {cluster_dir}", hint="Wait for it, then see `conflux status`."
            ) from None
        yield
        made = []
    finally:
        if made and [path.name for path in cluster_dir.iterdir()] == [LAUNCH_LOCK]:
            lock.unlink()
            for path in made:
                with contextlib.suppress(OSError):
                    path.rmdir()
        os.close(descriptor)


def _refuse_orphans(cluster_dir: Path) -> None:
    """Directories of nodes without the manifest that says which belong together are left alone."""
    orphans = [path.parent for path in sorted(cluster_dir.glob("*/data.mdb"))]
    if orphans:
        names = ", ".join(path.name for path in orphans)
        raise ConfluxError(
            f"{cluster_dir} holds nodes ({names}) but no cluster.json, which says how they belong together",
            hint="Put cluster.json back from a copy, or name another place with --data-dir.",
        )


def _refuse_lonely_loopback(manifest: Manifest) -> None:
    """Nodes that listen on loopback alone can't be found from elsewhere, and are not announced."""
    node = manifest.nodes[0]
    if not manifest.is_whole and not manifest.peers and Address.parse(node.address).is_loopback:
        raise OptionsError(
            f"{node.address} is this machine's own loopback, where no node of another machine can come",
            hint="Leave --bind out, or name an address on the network; on one machine, name the others with --peer.",
        )


def _signal(directory: Path, pid: int, number: int) -> None:
    """Signal a node's process, if it still is one: the lock says so."""
    with contextlib.suppress(ProcessLookupError):
        if lock_holder(directory) == pid:
            os.kill(pid, number)
