"""Reads: from which index on they may be answered, and a state's encoding in slices and parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from conflux import limits
from conflux.errors import MalformedValue
from conflux.node.clock import Clock
from conflux.node.origin import Origin
from conflux.node.replica import Replica
from conflux.store.machine import Machine
from conflux.wire.clients import Code, Consistency, Read, ReadMore, Refused, StatePart
from conflux.wire.peers import AskReadIndex, ReadIndex
from conflux.wire.states import encode_slices

PART_BYTES = 512 * limits.KIB
SLICE_SECONDS = 0.002
KEPT_SECONDS = 10.0  # an encoding that is read in parts, since it was last asked for
KEPT_ENCODINGS = 4
ASK_AGAIN_SECONDS = 0.1


@dataclass(slots=True)
class _Waiting:
    """A linearizable read on its way."""

    origin: Origin
    request: int
    asked_s: float  # when the leader was last asked
    index: int | None = None  # known once confirmed: answered when that much is folded


@dataclass(slots=True)
class _Encoding:
    """A state's encoding, being made or ready."""

    machine: Machine
    slices: Iterator[bytes] | None
    used_s: float
    parts: list[bytes] = field(default_factory=list)
    whole: bytes = b""
    waiting: list[tuple[Origin, int, int]] = field(default_factory=list)  # (who, request, offset)


class Readers:
    """The reads of one node.

    Args:
        reply: hands an answer to whoever asked.
        ask: sends a message to a member. False: it could not be sent.
    """

    def __init__(
        self,
        replica: Replica,
        clock: Clock,
        reply: Callable[[Origin, Any], object],
        ask: Callable[[str, Any], bool],
    ) -> None:
        self._replica = replica
        self._clock = clock
        self._reply = reply
        self._ask = ask
        self._contexts = count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._for_peers: dict[int, tuple[str, int]] = {}  # our context → (follower, its context)
        self._encodings: dict[int, _Encoding] = {}  # by revision, least recently used first

    @property
    def has_work(self) -> bool:
        """True while an encoding is being made."""
        return any(encoding.slices is not None for encoding in self._encodings.values())

    @property
    def waits(self) -> bool:
        return bool(self._waiting)

    def read(self, origin: Origin, request: Read) -> None:
        """Answer a read, or begin to find out when it may be answered."""
        if request.consistency is Consistency.LOCAL and not self._replica.is_recovering:
            return self._answer(origin, request.request)
        if len(self._waiting) >= limits.WAITING_REQUESTS_MAX:
            self._reply(origin, Refused(request.request, Code.BUSY, "too many reads are waiting"))
            return None
        context = next(self._contexts)
        waiting = self._waiting[context] = _Waiting(origin, request.request, 0.0)
        if request.consistency is Consistency.LOCAL:
            waiting.index = self._replica.recovered_index
            return None
        return self._find_index(context)

    def read_more(self, origin: Origin, request: ReadMore) -> None:
        """Send a later part of a state."""
        encoding = self._encodings.get(request.revision)
        if encoding is None or encoding.slices is not None or request.offset >= len(encoding.whole):
            self._reply(
                origin, Refused(request.request, Code.GONE, "that revision's state is no longer held: ask anew")
            )
        else:
            self._send_part(encoding, origin, request.request, request.offset)

    def answer_peer(self, peer: str, message: AskReadIndex) -> None:
        """A follower asks from which index on it may answer a read."""
        context = next(self._contexts)
        self._for_peers[context] = (peer, message.context)
        self._replica.raft.read_index(context)

    def peer_answered(self, message: ReadIndex) -> None:
        """The leader answered what this follower asked."""
        waiting = self._waiting.get(message.context)
        if waiting is not None and waiting.index is None:
            waiting.index = message.index

    def ready(self, contexts: tuple[int, ...], index: int) -> None:
        """The core confirmed these reads."""
        for context in contexts:
            if peer := self._for_peers.pop(context, None):
                self._ask(peer[0], ReadIndex(peer[1], index))
            elif waiting := self._waiting.get(context):
                waiting.index = index

    def failed(self, contexts: tuple[int, ...]) -> None:
        """Leadership ended first: followers are told, own reads ask again."""
        for context in contexts:
            if peer := self._for_peers.pop(context, None):
                self._ask(peer[0], ReadIndex(peer[1], None))

    def turn(self) -> None:
        """Answer what can be answered, ask again for what can't, and encode a slice."""
        now_s = self._clock.monotonic_s()
        for context, waiting in list(self._waiting.items()):
            if self._replica.failure is not None or (
                waiting.index is not None and self._replica.machine.index >= waiting.index
            ):
                del self._waiting[context]
                self._answer(waiting.origin, waiting.request)
            elif waiting.index is None and now_s - waiting.asked_s > ASK_AGAIN_SECONDS:
                self._give_up_or_ask(context, waiting)
        self._encode(now_s)

    def _give_up_or_ask(self, context: int, waiting: _Waiting) -> None:
        """A fresh context for each attempt: a late answer to an older one must not confirm it (F5)."""
        del self._waiting[context]
        if waiting.asked_s and self._replica.raft.leader is None:
            self._reply(waiting.origin, Refused(waiting.request, Code.NO_LEADER, "no leader confirmed the read"))
            return
        again = next(self._contexts)
        self._waiting[again] = waiting
        self._find_index(again)

    def _find_index(self, context: int) -> None:
        raft = self._replica.raft
        self._waiting[context].asked_s = self._clock.monotonic_s()
        if raft.leader == raft.identity:
            raft.read_index(context)
        elif raft.leader is not None:
            self._ask(raft.leader, AskReadIndex(context))

    def _answer(self, origin: Origin, request: int) -> None:
        """Answer with the state that is folded now."""
        if self._replica.failure is not None:
            self._reply(origin, Refused(request, Code.NOT_READY, str(self._replica.failure)))
            return
        machine = self._replica.machine
        encoding = self._encodings.get(machine.revision)
        if encoding is None:
            encoding = _Encoding(machine, encode_slices(machine.state), self._clock.monotonic_s())
            self._encodings[machine.revision] = encoding
        if encoding.slices is None:
            self._send_part(encoding, origin, request, 0)
        else:
            encoding.waiting.append((origin, request, 0))
        return

    def _encode(self, now_s: float) -> None:
        for revision, encoding in list(self._encodings.items()):
            if encoding.slices is not None:
                self._encode_some(encoding, now_s + SLICE_SECONDS)
            elif now_s - encoding.used_s > KEPT_SECONDS or len(self._encodings) > KEPT_ENCODINGS:
                del self._encodings[revision]

    def _encode_some(self, encoding: _Encoding, deadline_s: float) -> None:
        assert encoding.slices is not None
        try:
            for part in encoding.slices:
                encoding.parts.append(part)
                if self._clock.monotonic_s() >= deadline_s:
                    return
        except MalformedValue as error:
            self._give_up_encoding(encoding, error)
            return
        encoding.slices = None
        encoding.whole = b"".join(encoding.parts)
        encoding.parts = []
        waiting, encoding.waiting = encoding.waiting, []
        for origin, request, offset in waiting:
            self._send_part(encoding, origin, request, offset)

    def _give_up_encoding(self, encoding: _Encoding, error: MalformedValue) -> None:
        """The reducer made a state that has no encoding: nobody can read it, and the node goes on."""
        del self._encodings[encoding.machine.revision]
        for origin, request, _ in encoding.waiting:
            self._reply(origin, Refused(request, Code.NOT_READY, str(error)))

    def _send_part(self, encoding: _Encoding, origin: Origin, request: int, offset: int) -> None:
        encoding.used_s = self._clock.monotonic_s()
        part = encoding.whole[offset : offset + PART_BYTES]
        machine = encoding.machine
        self._reply(origin, StatePart(request, machine.revision, machine.index, offset, len(encoding.whole), part))
