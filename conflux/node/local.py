"""`LocalCaller`: the program that embeds a node, as one of its clients. Its calls need no socket, only the loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any

from conflux import limits
from conflux.client.requester import Call, Requester
from conflux.errors import ConfluxError, MalformedValue, NotApplied
from conflux.node.clock import Clock
from conflux.node.node import Node
from conflux.node.origin import HERE
from conflux.wire.clients import Consistency, LeaderIs, Read, ReadMore, Refused, StatePart
from conflux.wire.states import decode_state

StateDone = Callable[[Any], None]  # takes the state, or the error


class LocalCaller:
    """Used by the loop's thread, but for `submit` and `run_soon`, which any thread may call."""

    def __init__(self, node: Node, clock: Clock) -> None:
        self._node = node
        self._clock = clock
        self._inbox: deque[Call] = deque()
        self._jobs: deque[Callable[[], None]] = deque()
        self._requester = Requester()
        self._reads: dict[int, tuple[StateDone, bytearray]] = {}
        self._numbers = count(1)
        self._woken = False
        node.on_local_message = self._receive

    def submit(self, call: Call) -> None:
        """Take a call, from any thread."""
        self._inbox.append(call)
        self._wake()

    def run_soon(self, job: Callable[[], None]) -> None:
        """Run a job in the loop's thread, from any thread."""
        self._jobs.append(job)
        self._wake()

    def turn(self) -> None:
        """Hand what came in to the node; called before the node's turn."""
        self._woken = False
        requester, now_s = self._requester, self._clock.monotonic_s()
        while self._inbox:
            requester.submit(self._inbox.popleft())
        for message in requester.pump(now_s):
            self._node.handle(HERE, message)
        while self._jobs:
            self._jobs.popleft()()

    def wait_s(self) -> float:
        """How long until there is something to do by itself."""
        wait_s = self._requester.wait_s(self._clock.monotonic_s())
        return limits.WATCH_LEASE_SECONDS if wait_s is None else wait_s

    def close(self, error: ConfluxError) -> None:
        """Tell all who wait."""
        for call in self._inbox:
            call.tell(error)
        self._inbox.clear()
        self._requester.close(error)
        for done, _ in self._reads.values():
            done(error)
        self._reads.clear()
        while self._jobs:
            self._jobs.popleft()()  # those that wait for one get an answer, if an old one

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            self._node.channel.wake()

    def read(self, done: StateDone) -> None:
        """Ask for a linearizable state; `done` takes it, or the error."""
        request = next(self._numbers) << 32  # apart from the requester's numbers
        self._reads[request] = (done, bytearray())
        self._node.handle(HERE, Read(request, Consistency.LINEARIZABLE))

    def _receive(self, message: Any) -> None:
        match message:
            case StatePart() if message.request in self._reads:
                self._state_part(message)
            case Refused() if message.request in self._reads:
                done, _ = self._reads.pop(message.request)
                done(NotApplied(message.message))
            case LeaderIs(resend=True):
                self._requester.restart(self._clock.monotonic_s())
            case _:
                self._requester.receive(message, self._clock.monotonic_s())

    def _state_part(self, message: StatePart) -> None:
        done, parts = self._reads[message.request]
        parts += message.part
        if len(parts) < message.bytes_total:
            self._node.handle(HERE, ReadMore(message.request, message.revision, len(parts)))
            return
        del self._reads[message.request]
        try:
            done(decode_state(bytes(parts)))
        except MalformedValue as error:
            done(error)
