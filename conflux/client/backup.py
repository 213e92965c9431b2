"""`Backup`: a snapshot that a node took for this client, fetched chunk by chunk."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from conflux.client.asked import Asked
from conflux.client.engine import Engine
from conflux.errors import NoLeader, SnapshotDamaged, Unreachable
from conflux.wire.clients import AskChunk, BackupReady, SnapshotChunk

ASKED_AHEAD = 8  # chunks that are on their way at once


class Backup:
    """What a snapshot is, and its body.

    Args:
        address: of the node that holds it.
        wait: waits for an answer; raises where none comes in time.
    """

    def __init__(
        self,
        ready: BackupReady,
        address: str,
        cluster_id: str,
        engine: Engine,
        wait: Callable[[Asked, float | None], Any],
    ) -> None:
        self.ready = ready
        self.cluster_id = cluster_id
        self._address = address
        self._engine = engine
        self._wait = wait

    def chunks(self, *, timeout: float | None = None) -> Iterator[bytes]:
        """The body, in order.

        Args:
            timeout: seconds, for each chunk.

        Raises:
            NotRetained: the node holds it no longer.
            Unreachable: the node doesn't answer in time.
        """
        asked: deque[Asked] = deque()
        try:
            for number in range(self.ready.chunk_count):
                asked.append(self._ask(number))
                if len(asked) >= ASKED_AHEAD:
                    yield self._take(asked.popleft(), timeout)
            while asked:
                yield self._take(asked.popleft(), timeout)
        finally:
            for each in asked:
                each.future.cancel()

    def _ask(self, number: int) -> Asked:
        return self._engine.ask(lambda request: AskChunk(request, self.ready.index, number), self._address)

    def _take(self, asked: Asked, timeout: float | None) -> bytes:
        try:
            answer: SnapshotChunk = self._wait(asked, timeout)
        except NoLeader:  # what is said of a question that any node may answer
            raise Unreachable(f"the node at {self._address} answers no longer", hint="Save it again.") from None
        if answer.number != asked.message.number:
            raise SnapshotDamaged(f"chunk {answer.number} came in place of chunk {asked.message.number}")
        return answer.chunk
