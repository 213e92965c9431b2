"""`LocalCaller`: the program that embeds a node, as one of its clients. Its calls need no socket, only the loop."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeVar

from conflux import limits
from conflux.client.asked import unreadable
from conflux.client.call import Call
from conflux.client.requester import Requester
from conflux.client.watching import WATCH_RENEW_SECONDS, WatchFeed
from conflux.errors import ConfluxError, MalformedValue, NotReady
from conflux.node.clock import Clock
from conflux.node.node import Node
from conflux.node.origin import HERE
from conflux.wire.clients import (
    Code,
    Consistency,
    Events,
    Gap,
    LeaderIs,
    Read,
    ReadMore,
    Refused,
    StatePart,
    Unwatch,
    Watch,
)
from conflux.wire.state_decoder import decode_state

StateDone = Callable[[Any], None]  # takes the state, or the error
T = TypeVar("T")

ASK_AGAIN_SECONDS = 0.05
READ_NUMBERS_FROM = 2**60  # apart from the requester's numbers


@dataclass(slots=True)
class _Read:
    """A read on its way."""

    done: StateDone
    is_given_up: Callable[[], bool]
    revision_only: bool = False
    parts: bytearray = field(default_factory=bytearray)


class LocalCaller:
    """Used by the loop's thread, but for `submit`, `run_soon`, `watch` and `unwatch`, which any thread may call."""

    def __init__(self, node: Node, clock: Clock) -> None:
        self._node = node
        self._clock = clock
        self._inbox: deque[Call] = deque()
        self._jobs: deque[Callable[[], None]] = deque()
        # From anywhere: a refusal from before a restart must not pass for one of now.
        self._requester = Requester(first_number=node.draw_number())
        self._reads: dict[int, _Read] = {}
        self._again: list[tuple[float, _Read]] = []  # reads that no leader confirmed, and when to ask again
        self._numbers = count(READ_NUMBERS_FROM)
        self._watches: dict[int, WatchFeed] = {}
        self._woken = False
        self._thread = 0  # the loop's, once it turns
        self._over: ConfluxError | None = None  # what everybody is told from now on: the loop has ended
        node.on_local_message = self._receive

    def submit(self, call: Call) -> None:
        """Take a call, from any thread."""
        self._hand_over(self._inbox, call)

    def run_soon(self, job: Callable[[], None]) -> None:
        """Run a job in the loop's thread, from any thread."""
        self._hand_over(self._jobs, job)

    def watch(self, from_revision: int) -> WatchFeed:
        """Begin a watch, from any thread: from a revision on, or with 0 from now on."""
        feed = WatchFeed(next(self._numbers), from_revision)

        def job() -> None:
            if self._over is None:
                self._watches[feed.number] = feed
            else:
                feed.committed.put(self._over)

        self.run_soon(job)
        return feed

    def unwatch(self, feed: WatchFeed) -> None:
        """End a watch, from any thread."""

        def job() -> None:
            if self._watches.pop(feed.number, None) is not None:
                self._node.handle(HERE, Unwatch(feed.number))

        self.run_soon(job)

    def turn(self) -> None:
        """Hand what came in to the node; called before the node's turn."""
        self._thread = threading.get_ident()
        self._woken = False
        requester, now_s = self._requester, self._clock.monotonic_s()
        requester.submit(*[self._inbox.popleft() for _ in range(len(self._inbox))])
        if self._node.directory.removed:
            self._tell_all(NotReady("this node was removed from the cluster", hint="Ask another node, or by a Client."))
        for message in requester.pump(now_s):
            self._node.handle(HERE, message)
        while self._jobs:
            self._jobs.popleft()()
        due = [read for when_s, read in self._again if when_s <= now_s]
        self._again = [(when_s, read) for when_s, read in self._again if when_s > now_s]
        for read in due:
            self._ask(read)
        for feed in self._watches.values():
            if feed.renew_s <= now_s:
                feed.renew_s = now_s + WATCH_RENEW_SECONDS
                self._node.handle(HERE, Watch(feed.number, feed.next_revision))

    def wait_s(self) -> float:
        """How long until there is something to do by itself."""
        if self._inbox or self._jobs:
            return 0.0
        now_s = self._clock.monotonic_s()
        waits = [limits.WATCH_LEASE_SECONDS, self._requester.wait_s(now_s)]
        waits += [max(0.0, when_s - now_s) for when_s, _ in self._again]
        waits += [max(0.0, feed.renew_s - now_s) for feed in self._watches.values()]
        return min(wait for wait in waits if wait is not None)

    def close(self, error: ConfluxError) -> None:
        """Tell all who wait, and all who come from now on."""
        self._over = error
        self._tell_the_late(error)
        self._tell_all(error)

    def _tell_the_late(self, error: ConfluxError) -> None:
        """What was handed over and not taken yet is told: from any thread, and each by one of them."""
        for call in _drained(self._inbox):
            call.tell(error)
        for job in _drained(self._jobs):
            job()  # whoever waits for one gets an answer, if an old one

    def _tell_all(self, error: ConfluxError) -> None:
        """Nothing more comes of what was begun: the loop ends, or the node is no member any more."""
        self._requester.close(error)
        for read in [*self._reads.values(), *(read for _, read in self._again)]:
            read.done(error)
        self._reads.clear()
        self._again.clear()
        for feed in self._watches.values():
            feed.committed.put(error)
        self._watches.clear()

    def _hand_over(self, queue: deque[T], item: T) -> None:
        """End the loop's wait: not where it is the loop's own thread that has something new, since it looks first.

        The loop may have ended just before: then nobody else would answer.
        """
        queue.append(item)
        if self._over is not None:
            self._tell_the_late(self._over)
        elif not self._woken and threading.get_ident() != self._thread:
            self._woken = True
            self._node.channel.wake()

    def read(
        self, done: StateDone, is_given_up: Callable[[], bool] = lambda: False, *, revision_only: bool = False
    ) -> None:
        """Ask for a linearizable state, until it is there or `is_given_up`; `done` takes it, or the error.

        Args:
            revision_only: `done` takes None, once this node has folded all that was committed before.
        """
        self._ask(_Read(done, is_given_up, revision_only))

    def _ask(self, read: _Read) -> None:
        if self._over is not None:
            read.done(self._over)
            return
        if read.is_given_up():
            return
        request = next(self._numbers)
        read.parts.clear()
        self._reads[request] = read
        self._node.handle(HERE, Read(request, Consistency.LINEARIZABLE, read.revision_only))

    def _receive(self, message: Any) -> None:
        now_s = self._clock.monotonic_s()
        match message:
            case StatePart() if message.request in self._reads:
                self._state_part(message)
            case Refused(code=Code.NO_ENCODING) if message.request in self._reads:
                self._reads.pop(message.request).done(unreadable(message.message))
            case Refused() if message.request in self._reads:
                self._again.append((now_s + ASK_AGAIN_SECONDS, self._reads.pop(message.request)))
            case Events() if message.watch in self._watches:
                self._watches[message.watch].take(message)
            case Gap() if message.watch in self._watches:
                feed, machine = self._watches[message.watch], self._node.machine
                feed.take_gap(machine.revision, machine.state)
                feed.renew_s = now_s  # go on behind it
            case Refused() if message.request in self._watches:
                self._watches[message.request].renew_s = now_s + ASK_AGAIN_SECONDS
            case LeaderIs(resend=True):
                self._requester.restart(now_s)
            case _:
                self._requester.receive(message, now_s)

    def _state_part(self, message: StatePart) -> None:
        read = self._reads[message.request]
        read.parts += message.part
        if len(read.parts) < message.bytes_total:
            more = ReadMore(message.request, message.revision, len(read.parts))
            self.run_soon(lambda: self._node.handle(HERE, more))  # not from in here: parts would nest in parts
            return
        del self._reads[message.request]
        if read.revision_only:
            read.done(None)
            return
        try:
            read.done(decode_state(bytes(read.parts)))
        except MalformedValue as error:
            read.done(error)


def _drained(queue: deque[T]) -> Iterator[T]:
    """What is in it, and out of it then; others may take from it, too."""
    while True:
        try:
            item = queue.popleft()
        except IndexError:
            return
        yield item
