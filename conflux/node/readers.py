"""Reads: from which index on they may be answered, and a state's encoding in slices and parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from conflux import limits
from conflux.app import App
from conflux.errors import Busy, MalformedValue
from conflux.node.clock import Clock
from conflux.node.origin import Origin
from conflux.node.past import Found, Past
from conflux.node.replica import Replica
from conflux.store.dumps import encoder_of
from conflux.store.past import PastState
from conflux.wire.clients import Code, Consistency, Read, ReadAt, ReadMore, Refused, StatePart, Working
from conflux.wire.peers import AskReadIndex, ReadIndex

PART_BYTES = 512 * limits.KIB
SLICE_SECONDS = 0.002
KEPT_SECONDS = 10.0  # an encoding that is read in parts, since it was last asked for
KEPT_ENCODINGS = 4
WORKING_SECONDS = 0.1
ASK_AGAIN_SECONDS_MIN = 0.1
ASK_AGAIN_SECONDS_MAX = 2.0
LEADERLESS_SECONDS = 0.1  # without a leader for so long, a read is refused: its client asks elsewhere
QUESTIONS_MAX = 16


@dataclass(slots=True)
class _Waiting:
    """A read that can't be answered yet."""

    origin: Origin
    request: int
    since_s: float
    index: int | None  # known once confirmed: answered when that much is folded
    then: Callable[[], None] | None = None  # what is done then, if that is something else than to send the state


@dataclass(slots=True)
class _Encoding:
    """A state's encoding, being made or ready."""

    revision: int
    index: int
    slices: Iterator[bytes] | None
    used_s: float
    told_s: float = 0.0  # when who waits was told that it is being made
    parts: list[bytes] = field(default_factory=list)  # of `PART_BYTES`, but the last; a whole would be one long copy
    rest: bytearray = field(default_factory=bytearray)
    bytes_total: int = 0
    waiting: list[tuple[Origin, int, int]] = field(default_factory=list)  # (who, request, offset)

    def take(self, piece: bytes) -> None:
        """The next bytes."""
        self.rest += piece
        self.bytes_total += len(piece)
        while len(self.rest) >= PART_BYTES:
            self.parts.append(bytes(self.rest[:PART_BYTES]))
            del self.rest[:PART_BYTES]

    def finish(self) -> None:
        """All is encoded."""
        if self.rest:
            self.parts.append(bytes(self.rest))
            self.rest.clear()
        self.slices = None


class Readers:
    """The reads of one node.

    Args:
        random: numbers its questions.
        reply: hands an answer to whoever asked.
        ask: sends a message to a member. False: it could not be sent.
        past: works out the states of revisions that are over.
    """

    def __init__(
        self,
        replica: Replica,
        app: App[Any, Any],
        clock: Clock,
        random: Random,
        reply: Callable[[Origin, Any], object],
        ask: Callable[[str, Any], bool],
        past: Past,
    ) -> None:
        self._replica = replica
        self._encode_state = encoder_of(app)
        self._clock = clock
        self._reply = reply
        self._ask = ask
        self._past = past
        # From anywhere: an answer to a question from before a restart must not pass for one to a question of now.
        self._contexts = count(random.getrandbits(61))
        self._waiting: list[_Waiting] = []
        self._questions: dict[int, list[_Waiting]] = {}  # context → the reads that had arrived before it was asked
        self._ask_again_s = 0.0
        self._patience_s = ASK_AGAIN_SECONDS_MIN
        self._for_peers: dict[int, tuple[str, int]] = {}  # our context → (follower, its context)
        self._encodings: dict[int, _Encoding] = {}  # by revision, least recently used first

    @property
    def has_work(self) -> bool:
        """True while an encoding is being made."""
        return bool(self._encodings) and any(encoding.slices is not None for encoding in self._encodings.values())

    @property
    def waits(self) -> bool:
        return bool(self._waiting)

    def read(self, origin: Origin, request: Read) -> None:
        """Answer a read, or begin to find out when it may be answered."""
        is_local = request.consistency is Consistency.LOCAL
        then = (lambda: self._tell_revision(origin, request.request)) if request.revision_only else None
        if is_local and not self._replica.is_recovering:
            return then() if then is not None else self._answer(origin, request.request)
        if len(self._waiting) >= limits.WAITING_REQUESTS_MAX:
            self._reply(origin, Refused(request.request, Code.BUSY, "too many reads are waiting"))
            return None
        index = self._replica.recovered_index if is_local else None
        self._waiting.append(_Waiting(origin, request.request, self._clock.monotonic_s(), index, then))
        return self._ask_when_due(self._clock.monotonic_s())

    def read_at(self, origin: Origin, request: ReadAt) -> None:
        """Work out a state of the past, which needs no majority; one that isn't there yet may be elsewhere."""
        number, revision = request.request, request.revision
        if revision in self._encodings:
            self._answer_with(origin, number, revision, 0, None)
        elif revision <= self._replica.machine.revision:
            self._past.ask((origin, number), revision, lambda found: self._past_found(origin, number, found))
        else:
            self.when_confirmed(origin, number, lambda: self._read_once_confirmed(origin, request))

    def when_confirmed(self, origin: Origin, request: int, then: Callable[[], None]) -> None:
        """Call `then` once all is folded that was committed when this was asked; refuse where that fails."""
        if len(self._waiting) >= limits.WAITING_REQUESTS_MAX:
            self._reply(origin, Refused(request, Code.BUSY, "too many reads are waiting"))
            return
        self._waiting.append(_Waiting(origin, request, self._clock.monotonic_s(), None, then))
        self._ask_when_due(self._clock.monotonic_s())

    def read_more(self, origin: Origin, request: ReadMore) -> None:
        """Send a later part of a state."""
        encoding = self._encodings.get(request.revision)
        if encoding is None or encoding.slices is not None or request.offset >= encoding.bytes_total:
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
        self._answered(message.context, message.index)

    def ready(self, contexts: tuple[int, ...], index: int) -> None:
        """The core confirmed these reads."""
        for context in contexts:
            if peer := self._for_peers.pop(context, None):
                self._ask(peer[0], ReadIndex(peer[1], index))
            else:
                self._answered(context, index)

    def failed(self, contexts: tuple[int, ...]) -> None:
        """Leadership ended first: followers are told, own reads ask again."""
        for context in contexts:
            if peer := self._for_peers.pop(context, None):
                self._ask(peer[0], ReadIndex(peer[1], None))
            else:
                self._answered(context, None)

    def refuse_all(self, why: str) -> None:
        """No read that waits will be answered here."""
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            self._reply(each.origin, Refused(each.request, Code.NOT_READY, why))

    def turn(self) -> None:
        """Answer what can be answered, ask for the rest when it is time, and encode a slice."""
        if not self._waiting and not self._encodings:
            return
        now_s = self._clock.monotonic_s()
        if self._waiting:
            self._answer_those_ready(now_s)
            self._ask_when_due(now_s)
        self._encode(now_s)

    def _answer_those_ready(self, now_s: float) -> None:
        replica, left = self._replica, []
        for waiting in self._waiting:
            if replica.refusal is not None or (waiting.index is not None and replica.machine.index >= waiting.index):
                self._answer_waiting(waiting)
            elif waiting.index is None and replica.raft.leader is None and now_s - waiting.since_s > LEADERLESS_SECONDS:
                self._reply(waiting.origin, Refused(waiting.request, Code.NO_LEADER, "no leader confirmed the read"))
            else:
                left.append(waiting)
        self._waiting = left

    def _ask_when_due(self, now_s: float) -> None:
        """One question for all reads that have arrived, and one on its way at a time.

        Where no answer comes another one is asked, under a fresh context (F5), but the older ones stay good for the
        reads that had arrived before them: on a slow network the answer may just take longer than our patience.
        """
        if self._questions and now_s < self._ask_again_s:
            return
        unconfirmed = [waiting for waiting in self._waiting if waiting.index is None]
        raft = self._replica.raft
        if not unconfirmed or raft.leader is None or now_s < self._ask_again_s:
            return
        if self._questions:
            self._patience_s = min(2 * self._patience_s, ASK_AGAIN_SECONDS_MAX)
        context = next(self._contexts)
        self._questions[context] = unconfirmed
        while len(self._questions) > QUESTIONS_MAX:
            del self._questions[next(iter(self._questions))]
        self._ask_again_s = now_s + self._patience_s
        if raft.leader == raft.identity:
            raft.read_index(context)
        else:
            self._ask(raft.leader, AskReadIndex(context))

    def _answered(self, context: int, index: int | None) -> None:
        reads = self._questions.pop(context, None)
        if reads is None:
            return
        if index is None:  # whoever was asked does not lead
            self._ask_again_s = self._clock.monotonic_s() + ASK_AGAIN_SECONDS_MIN
            return
        self._patience_s = ASK_AGAIN_SECONDS_MIN
        self._ask_again_s = 0.0
        for older in [each for each in self._questions if each < context]:
            del self._questions[older]  # their reads are among these
        for waiting in reads:
            if waiting.index is None:
                waiting.index = index

    def _answer_waiting(self, waiting: _Waiting) -> None:
        if waiting.then is None or self._replica.refusal is not None:
            self._answer(waiting.origin, waiting.request)
        else:
            waiting.then()

    def _answer(self, origin: Origin, request: int) -> None:
        """Answer with the state that is folded now."""
        if self._replica.refusal is not None:
            self._reply(origin, Refused(request, Code.NOT_READY, str(self._replica.refusal)))
            return
        machine = self._replica.machine
        self._answer_with(origin, request, machine.revision, machine.index, machine.state)

    def _tell_revision(self, origin: Origin, request: int) -> None:
        """Say how far the state is, without the state."""
        if self._replica.refusal is not None:
            self._reply(origin, Refused(request, Code.NOT_READY, str(self._replica.refusal)))
            return
        machine = self._replica.machine
        self._reply(origin, StatePart(request, machine.revision, machine.index, 0, 0, b""))

    def _answer_with(self, origin: Origin, request: int, revision: int, index: int, state: Any) -> None:
        encoding = self._encodings.get(revision)
        if encoding is None:
            encoding = _Encoding(revision, index, self._encode_state(state), self._clock.monotonic_s())
            self._encodings[revision] = encoding
        if encoding.slices is None:
            self._send_part(encoding, origin, request, 0)
        else:
            encoding.waiting.append((origin, request, 0))

    def _read_once_confirmed(self, origin: Origin, request: ReadAt) -> None:
        number = request.request
        self._past.ask((origin, number), request.revision, lambda found: self._past_found(origin, number, found))

    def _past_found(self, origin: Origin, request: int, found: Found | None) -> None:
        if found is None:
            self._reply(origin, Working(request))
        elif isinstance(found, PastState):
            self._answer_with(origin, request, found.revision, found.index, found.state)
        else:
            code = Code.BUSY if isinstance(found, Busy) else Code.GONE
            self._reply(origin, Refused(request, code, str(found), hint=found.hint))

    def _encode(self, now_s: float) -> None:
        for revision, encoding in list(self._encodings.items()):
            if encoding.slices is not None:
                self._encode_some(encoding, now_s + SLICE_SECONDS)
                self._tell_who_waits(encoding, now_s)
            elif now_s - encoding.used_s > KEPT_SECONDS or len(self._encodings) > KEPT_ENCODINGS:
                del self._encodings[revision]

    def _tell_who_waits(self, encoding: _Encoding, now_s: float) -> None:
        """Say from time to time that an answer is being made: whoever hears nothing asks elsewhere."""
        if encoding.slices is not None and now_s - encoding.told_s >= WORKING_SECONDS:
            encoding.told_s = now_s
            for origin, request, _ in encoding.waiting:
                self._reply(origin, Working(request))

    def _encode_some(self, encoding: _Encoding, deadline_s: float) -> None:
        assert encoding.slices is not None
        try:
            for part in encoding.slices:
                encoding.take(part)
                if self._clock.monotonic_s() >= deadline_s:
                    return
        except (MalformedValue, RuntimeError) as error:  # the latter: a reducer changed it under the encoder
            self._give_up_encoding(encoding, error)
            return
        encoding.finish()
        waiting, encoding.waiting = encoding.waiting, []
        for origin, request, offset in waiting:
            self._send_part(encoding, origin, request, offset)

    def _give_up_encoding(self, encoding: _Encoding, error: Exception) -> None:
        """The reducer made a state that has no encoding: nobody can read it, and the node goes on."""
        del self._encodings[encoding.revision]
        for origin, request, _ in encoding.waiting:
            self._reply(origin, Refused(request, Code.NO_ENCODING, str(error)))

    def _send_part(self, encoding: _Encoding, origin: Origin, request: int, offset: int) -> None:
        if self._replica.refusal is not None:  # found wrong while it was encoded or read
            self._reply(origin, Refused(request, Code.NOT_READY, str(self._replica.refusal)))
            return
        encoding.used_s = self._clock.monotonic_s()
        part = encoding.parts[offset // PART_BYTES][offset % PART_BYTES :]
        self._reply(origin, StatePart(request, encoding.revision, encoding.index, offset, encoding.bytes_total, part))
