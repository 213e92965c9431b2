"""`Installer`: a follower fetches its leader's snapshot, and puts it in the place of what it lacks.

It asks for a few chunks at a time: more while they come quickly, fewer where they take long, so that heartbeats never
wait behind them. What has come stays when the leader changes: who has the same snapshot, by its checksum, goes on with
it. Only the whole, with its checksum, is ever installed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from conflux.app import App
from conflux.errors import ConfluxError, Damaged, DiskFull, StorageFailed
from conflux.node.clock import Clock
from conflux.node.replica import Replica
from conflux.node.restoring import read_machine
from conflux.raft.effects import SnapshotOffered
from conflux.storage.interface import Snapshot, SnapshotHeader, SnapshotWriter, Storage
from conflux.store.machine import Machine
from conflux.wire.peers import AskSnapshot, SnapshotGone, SnapshotPart

WINDOW_CHUNKS_MAX = 16
QUICK_SECONDS = 0.05  # a window that takes less is doubled
LONG_SECONDS = 0.2  # one that takes more is halved
PATIENCE_SECONDS = 1.0  # without a chunk for so long, it is asked again
AGAIN_SECONDS = 1.0  # after a failure, the next offer is taken up no sooner
SLICE_SECONDS = 0.002


@dataclass(slots=True)
class _Fetch:
    """What has come of one snapshot."""

    leader: str
    index: int
    asked_s: float
    window: int = 1
    asked_end: int = 1  # the chunk after the last one that was asked for
    writer: SnapshotWriter | None = None
    checksum: bytes = b""
    chunk_count: int = 0
    bytes_total: int = 0


@dataclass(slots=True)
class _Decoding:
    """A whole snapshot on this disk, on its way to become the machine."""

    snapshot: Snapshot
    steps: Iterator[Machine | None] = field(repr=False)
    machine: Machine | None = None  # once it is there
    waits_for_archive: bool = False


class Installer:
    """At most one fetch at a time.

    Args:
        ask: sends a message to a member. False: it could not be sent.
        is_archived: True once the archive holds all up to an index, or where there is none; else that is begun, and
            `archived` is called in the end.
    """

    def __init__(
        self,
        replica: Replica,
        storage: Storage,
        app: App[object, object],
        clock: Clock,
        ask: Callable[[str, Any], bool],
        is_archived: Callable[[int], bool] = lambda index: True,
    ) -> None:
        self.problem: str | None = None
        self.installs = 0
        self._replica = replica
        self._storage = storage
        self._app = app
        self._clock = clock
        self._ask = ask
        self._is_archived = is_archived
        self._fetch: _Fetch | None = None
        self._decoding: _Decoding | None = None
        self._not_before_s = 0.0

    @property
    def has_work(self) -> bool:
        """True where `work` would do something now."""
        fetch = self._fetch
        return (self._decoding is not None and not self._decoding.waits_for_archive) or (
            fetch is not None and fetch.writer is not None and self._is_whole(fetch) and fetch.writer.is_finished
        )

    @property
    def waits(self) -> bool:
        """True while chunks are on their way, or the disk takes them in."""
        return self._fetch is not None

    @property
    def sender(self) -> str | None:
        """The member that is asked for the next chunks; None where nothing is fetched."""
        return self._fetch.leader if self._fetch is not None else None

    def progress(self) -> dict[str, int] | None:
        """How far a fetch is: index, bytes, bytes_total."""
        fetch = self._fetch
        if fetch is None or fetch.writer is None:
            return None
        return {"index": fetch.index, "bytes": fetch.writer.body_bytes, "bytes_total": fetch.bytes_total}

    def offered(self, offer: SnapshotOffered) -> None:
        """The leader has a snapshot that this node needs. It says so again and again."""
        now_s = self._clock.monotonic_s()
        fetch = self._fetch
        if self._decoding is not None or now_s < self._not_before_s:
            return
        if fetch is not None and (fetch.index == offer.index or now_s - fetch.asked_s < PATIENCE_SECONDS):
            fetch.leader = offer.leader
            return
        self._drop()
        if any((header.index, header.term) == (offer.index, offer.term) for header in self._storage.snapshots.all()):
            self._finished(self._storage.snapshots.open(offer.index))  # whole, but the disk had no room to install it
            return
        self._fetch = _Fetch(leader=offer.leader, index=offer.index, asked_s=now_s)
        self._ask_for(self._fetch, now_s)

    def take(self, part: SnapshotPart) -> None:
        """A chunk has come."""
        fetch = self._fetch
        if fetch is None or part.index != fetch.index or self._is_whole(fetch):
            return
        now_s = self._clock.monotonic_s()
        try:
            if fetch.writer is None or part.checksum != fetch.checksum:
                self._begin(fetch, part)
            assert fetch.writer is not None
            if part.number != fetch.writer.chunk_count:
                return  # twice, or after one that was lost
            fetch.writer.write(part.chunk)
            if fetch.writer.chunk_count >= fetch.asked_end:
                self._next_window(fetch, now_s)
            if self._is_whole(fetch):
                self._check_whole(fetch)
        except (DiskFull, StorageFailed, Damaged) as error:
            self._fail(str(error))

    def archived(self) -> None:
        """The archive holds what an install waited for."""
        if self._decoding is not None:
            self._decoding.waits_for_archive = False

    def gone(self, message: SnapshotGone) -> None:
        """Whoever was asked does not have it: another one will be offered."""
        if self._fetch is not None and self._fetch.index == message.index and not self._is_whole(self._fetch):
            self._drop()

    def work(self) -> None:
        """Ask again where nothing came, and put in place what is whole."""
        fetch, now_s = self._fetch, self._clock.monotonic_s()
        if self._replica.is_stuck:
            return
        if fetch is not None and fetch.index <= self._replica.raft.commit_index:
            self._drop()  # the log brought it here first
            return
        try:
            if self._decoding is not None:
                self._decode(self._decoding)
            elif fetch is not None and not self._is_whole(fetch):
                if now_s - fetch.asked_s > PATIENCE_SECONDS:
                    fetch.window = 1
                    self._ask_for(fetch, now_s)
            elif fetch is not None and fetch.writer is not None and fetch.writer.is_finished:
                self._finished(fetch.writer.finish())
        except DiskFull as error:
            self._fail(str(error))
        except StorageFailed as error:
            if self._decoding is not None:
                raise  # it is the log that can't begin elsewhere: this disk is not to be trusted any more
            self._fail(str(error))
        except ConfluxError as error:
            self._fail(f"the leader's snapshot can't be used: {error}")

    def close(self) -> None:
        """Give everything back."""
        self._drop()

    # -- inside --------------------------------------------------------------------------------------------------

    def _is_whole(self, fetch: _Fetch) -> bool:
        return fetch.writer is not None and fetch.writer.chunk_count == fetch.chunk_count

    def _begin(self, fetch: _Fetch, part: SnapshotPart) -> None:
        """Begin to write; from the beginning, should another leader's snapshot of that index not be the same."""
        if fetch.writer is not None:
            fetch.writer.abandon()
        header = SnapshotHeader(index=part.index, term=part.term, revision=part.revision, fields=part.fields)
        fetch.writer = self._storage.snapshots.begin(header, received=True)
        fetch.checksum, fetch.chunk_count, fetch.bytes_total = part.checksum, part.chunk_count, part.bytes_total
        if part.number:
            self._ask_for(fetch, self._clock.monotonic_s())

    def _next_window(self, fetch: _Fetch, now_s: float) -> None:
        took_s = now_s - fetch.asked_s
        if took_s < QUICK_SECONDS:
            fetch.window = min(2 * fetch.window, WINDOW_CHUNKS_MAX)
        elif took_s > LONG_SECONDS:
            fetch.window = max(1, fetch.window // 2)
        if not self._is_whole(fetch):
            self._ask_for(fetch, now_s)

    def _ask_for(self, fetch: _Fetch, now_s: float) -> None:
        first = fetch.writer.chunk_count if fetch.writer is not None else 0
        fetch.asked_s, fetch.asked_end = now_s, first + fetch.window
        self._ask(fetch.leader, AskSnapshot(fetch.index, first, fetch.window))

    def _check_whole(self, fetch: _Fetch) -> None:
        assert fetch.writer is not None
        if fetch.writer.checksum() != fetch.checksum or fetch.writer.body_bytes != fetch.bytes_total:
            raise Damaged("the leader's snapshot arrived damaged")
        fetch.writer.start_finish()

    def _finished(self, snapshot: Snapshot) -> None:
        self._fetch = None
        self._decoding = _Decoding(snapshot, read_machine(snapshot, self._app))

    def _decode(self, decoding: _Decoding) -> None:
        deadline_s = self._clock.monotonic_s() + SLICE_SECONDS
        while decoding.machine is None:
            decoding.machine = next(decoding.steps)
            if decoding.machine is None and self._clock.monotonic_s() >= deadline_s:
                return
        if not decoding.waits_for_archive:
            self._install(decoding, decoding.machine)

    def _install(self, decoding: _Decoding, machine: Machine) -> None:
        header, raft = decoding.snapshot.header, self._replica.raft
        if header.index > raft.commit_index:
            is_in_log = raft.log.matches(header.index, header.term)
            if not self._is_archived(header.index if is_in_log else raft.commit_index):
                decoding.waits_for_archive = True
                return
            self._replica.install(machine, header.term)
            self._storage.snapshots.keep_only([header.index])
            self.installs += 1
            self.problem = None
        self._drop()

    def _fail(self, why: str) -> None:
        self.problem = why
        self._not_before_s = self._clock.monotonic_s() + AGAIN_SECONDS
        self._drop()

    def _drop(self) -> None:
        if self._fetch is not None and self._fetch.writer is not None:
            self._fetch.writer.abandon()
        if self._decoding is not None:
            self._decoding.snapshot.close()
        self._fetch, self._decoding = None, None
