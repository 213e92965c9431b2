"""`snapshot save` and `snapshot restore` in simulated weather: a client saves a running cluster, another one begins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from conflux.client.committed import Committed
from conflux.node.refounding import Base
from conflux.node.saving import saved_snapshot
from conflux.storage.interface import SnapshotHeader
from conflux.storage.saved import load_snapshot, save_snapshot
from conflux.testing.checkers import CommitsAgree
from conflux.testing.clients import SimulatedClient
from conflux.testing.cluster import SimulatedCluster
from conflux.testing.refounded import RefoundedCluster, found
from conflux.testing.violation import require
from conflux.testing.weather import CLUSTER
from conflux.wire.clients import AskChunk, BackUp, BackupReady, Refused, SnapshotChunk

BACKUP, CHUNK = 1 << 51, 1 << 52  # numbers of requests: those of the engine are smaller
PATIENCE_S = 5.0  # then it is given up


class SavingClient(SimulatedClient):
    """Asks a node for a snapshot and fetches it. Nothing is asked twice: what is lost on the way ends it.

    Args:
        saved: told once all of it is here.
    """

    def __init__(self, cluster: SimulatedCluster, name: str, saved: Callable[[BackupReady, list[bytes]], None]) -> None:
        super().__init__(cluster, name, watches=False)
        self._saved = saved
        self._ready: BackupReady | None = None
        self._chunks: list[bytes] = []
        self._gives_up_s = cluster.schedule.now_s + PATIENCE_S
        self.link.send(BackUp(BACKUP))

    def _receive(self, address: str, message: Any, now_s: float) -> None:
        match message:
            case _ if now_s > self._gives_up_s:
                return
            case BackupReady(request=request) if request == BACKUP and self._ready is None:
                self._ready = message
            case SnapshotChunk(request=request, number=number) if request == CHUNK and number == len(self._chunks):
                self._chunks.append(message.chunk)
            case Refused(request=request) if request in (BACKUP, CHUNK):
                self._gives_up_s = 0.0
                return
            case _:
                return
        if self._ready is None:
            return
        if len(self._chunks) < self._ready.chunk_count:
            self.link.send_to(address, AskChunk(CHUNK, self._ready.index, len(self._chunks)))
        else:
            self._gives_up_s = 0.0
            self._saved(self._ready, self._chunks)


def begin_backup(old: SimulatedCluster, name: str, saved: Callable[[BackupReady, list[bytes]], None]) -> None:
    """Save a running cluster; nobody waits for that, and it may come to nothing."""
    told = [call.result.index for call in old.history.calls if isinstance(call.result, Committed) and not call.appended]
    acknowledged = max(told, default=0)

    def complete(ready: BackupReady, chunks: list[bytes]) -> None:
        sentence = "a backup holds what was acknowledged before it was asked for: it ends at {}, not {}"
        require(ready.index >= acknowledged, sentence, ready.index, acknowledged)
        old.counts["backups saved"] += 1
        saved(ready, chunks)

    SavingClient(old, name, complete)


def restore(
    old: SimulatedCluster, commits: CommitsAgree, suffix: str, ready: BackupReady, chunks: list[bytes]
) -> RefoundedCluster:
    """Make a cluster of what was saved, by way of a file."""
    header = saved_snapshot(
        SnapshotHeader(index=ready.index, term=ready.term, revision=ready.revision, fields=ready.fields),
        cluster=CLUSTER,
        cluster_id="",
        body_bytes=ready.bytes_total,
        checksum=ready.checksum,
        saved_us=0,
    )
    with TemporaryDirectory() as place:
        file = Path(place) / "backup"
        save_snapshot(file, header, chunks, force=False)
        saved, loaded = load_snapshot(file)
        base = Base(header=saved.header, chunks=loaded)
        new = found(old, commits, suffix, base=base, entries=(), term=saved.term)
    old.counts["clusters restored from a backup"] += 1
    return new
