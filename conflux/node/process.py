"""A node as a process of its own, as the launcher starts it (`conflux/node/child.py`).

It reads what to be as JSON from its standard input, so that nothing of it shows in the process list, answers with one
line of JSON, and from then on speaks only through its log file.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from dataclasses import asdict, dataclass
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from setproctitle import setproctitle

from conflux.app import load_app
from conflux.discovery.interface import Discovery, StaticPeers
from conflux.discovery.local import NODE_LOG, Runtime
from conflux.errors import ConfluxError
from conflux.node import collector
from conflux.node.addresses import dialled_here
from conflux.node.child import Answer, said_of, said_so_far
from conflux.node.loop import Loop
from conflux.node.node import Node
from conflux.node.opening import forget, open_archive, open_directory, open_node
from conflux.node.options import NodeOptions
from conflux.raft.effects import RoleChanged
from conflux.storage.filesystem import networked
from conflux.transport.keys import ClusterKey
from conflux.transport.zeromq import ZeroMQChannel

LOG_BYTES_MAX = 4 * 1024 * 1024
LOG_FILES_KEPT = 3

_log = logging.getLogger("conflux.node")


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeSpec:
    """What the launcher tells a node to be."""

    cluster: str
    label: str
    identity: str
    size: int
    directory: str
    bind: str
    advertise: str
    key_file: str | None  # None: insecure, by wish
    peers: tuple[str, ...]
    mdns: bool
    settle_s: float
    join: str | None  # its token, where it joins a cluster that was formed before
    archive: str | None  # what is cut of its log is kept below this directory
    archive_is_new: bool  # it may be made there
    forget: str | None  # id of a proposal that the operator gives up
    app: str
    app_dir: str
    election_timeout_ms: tuple[int, int]
    heartbeat_interval_ms: int

    def to_json(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> NodeSpec:
        fields: dict[str, Any] = json.loads(data)
        shortest, longest = fields.pop("election_timeout_ms")
        return cls(**fields | {"peers": tuple(fields["peers"])}, election_timeout_ms=(shortest, longest))


def main() -> int:
    """Run one node until SIGTERM or SIGINT; the exit status is 0 for that, 1 for anything else."""
    answer = Answer()
    spec = NodeSpec.from_json(sys.stdin.buffer.read())
    _be_called(f"conflux node {spec.cluster}/{spec.label}")
    try:
        node = _open(spec)
    except ConfluxError as error:
        answer.give(said_of(error))
        return 1
    loop = Loop(node)
    # SIGINT is for whoever stops all nodes at once: then there is nobody to hand over to.
    signal.signal(signal.SIGTERM, lambda _number, _frame: loop.stop(hand_over=True))
    signal.signal(signal.SIGINT, lambda _number, _frame: loop.stop())
    directory = Path(spec.directory)
    runtime = Runtime(
        pid=os.getpid(),
        endpoint=node.channel.address,
        label=spec.label,
        identity=node.directory.self.identity,
        local=dialled_here(spec.bind),
    )
    runtime.save(directory)
    answer.give({"pid": runtime.pid, "endpoint": runtime.endpoint, "identity": runtime.identity})
    _speak_through(directory / NODE_LOG)
    collector.calm_for_good()
    _log.info("node %s (%s) listens on %s", spec.label, runtime.identity[:8], runtime.endpoint)
    if spec.archive is not None:
        _log.info("what is cut of the log is kept in %s", Path(spec.archive) / spec.label)
    if kind := networked(directory):
        _log.warning("%s lies on %s, over the network: locks and syncs can't be trusted there", directory, kind)
    loop.run()
    _log.info("node %s stopped", spec.label)
    return 0 if loop.error is None else 1


def _be_called(title: str) -> None:
    """What `ps` shows. The environment's memory, by which processes are found again, is not used for a longer one."""
    os.environ["SPT_NOENV"] = "1"
    setproctitle(title)
    del os.environ["SPT_NOENV"]


def _open(spec: NodeSpec) -> Node:
    app = load_app(spec.app, spec.app_dir)
    options = NodeOptions(
        cluster=spec.cluster,
        label=spec.label,
        size=spec.size,
        election_timeout_ms=spec.election_timeout_ms,
        heartbeat_interval_ms=spec.heartbeat_interval_ms,
        settle_s=spec.settle_s,
        join=spec.join,
    )
    path = Path(spec.directory)
    key = ClusterKey.load(spec.key_file) if spec.key_file else None
    channel = ZeroMQChannel(spec.bind, advertise=spec.advertise, key=key, insecure=key is None)
    try:
        directory = open_directory(path, options, app, identity=spec.identity)
        if spec.forget is not None:
            directory = forget(directory, spec.forget)
        archive = None
        if spec.archive is not None:
            archive = open_archive(Path(spec.archive), directory, create=spec.archive_is_new)
    except BaseException:
        channel.close()
        raise
    discovery = _discovery(spec, key, channel.address)
    node = open_node(
        options, app, directory, channel, discovery, data_dir=path, log_file=path / NODE_LOG, archive=archive
    )
    node.on_role_changed = _tell_role
    return node


def _discovery(spec: NodeSpec, key: ClusterKey | None, address: str) -> Discovery:
    static = StaticPeers(spec.peers)
    if not spec.mdns:
        return static
    from conflux.discovery.combined import CombinedDiscovery
    from conflux.discovery.mdns import MdnsDiscovery

    fingerprint = key.fingerprint if key else None
    mdns = MdnsDiscovery(
        cluster=spec.cluster, fingerprint=fingerprint, identity=spec.identity, address=address, label=spec.label
    )
    return CombinedDiscovery(static, mdns)


def _tell_role(change: RoleChanged) -> None:
    leader = "none" if change.leader is None else change.leader[:8]
    _log.info("%s in term %d, leader %s", change.role.value, change.term, leader)


def _speak_through(log_file: Path) -> None:
    """From now on the log file is all there is: the terminal and the launcher's pipes belong to others."""
    handler = RotatingFileHandler(log_file, maxBytes=LOG_BYTES_MAX, backupCount=LOG_FILES_KEPT, encoding="utf-8")
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time_in_utc
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    null = os.open(os.devnull, os.O_RDONLY)
    words = os.open(log_file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    sys.stdout.flush()
    os.write(words, said_so_far())
    os.dup2(null, 0)
    os.dup2(words, 1)  # what a user's app prints, and the interpreter's last words
    os.dup2(words, 2)
    os.close(null)
    os.close(words)


def time_in_utc(seconds: float | None) -> Any:
    """The log's times are UTC, as all times of Conflux are."""
    import time

    return time.gmtime(seconds)
