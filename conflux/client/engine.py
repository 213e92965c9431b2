"""`Engine`: the thread behind a client. It owns the channel; callers hand it work and wait on futures or queues."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from typing import Any

from conflux import limits
from conflux.client.asked import ASK_AGAIN_SECONDS, PAUSE_SECONDS, Asked
from conflux.client.call import Call, halves
from conflux.client.link import Link
from conflux.client.requester import Requester
from conflux.client.watching import WATCH_RENEW_SECONDS, WatchFeed
from conflux.errors import ConfluxError, MalformedValue, NoLeader, Unreachable
from conflux.transport.interface import ClientChannel
from conflux.wire.clients import (
    Answers,
    AskLog,
    AskMembers,
    AskStatus,
    BackupReady,
    Changed,
    CloseSession,
    Consistency,
    Done,
    Events,
    Gap,
    LeaderIs,
    LogText,
    Members,
    Read,
    ReadMore,
    Refused,
    SnapshotChunk,
    SnapshotTaken,
    StatePart,
    Status,
    Unwatch,
    Watch,
    Working,
)
from conflux.wire.state_decoder import decode_state

_log = logging.getLogger("conflux.client")

FRAMES_MAX = 1024
HALVED_OUTCOMES = 192  # fewer are told sooner than the leader has judged a half of them
MEMBERS_FIRST_SECONDS = 0.5  # a client that lives so long asks who else there is
MEMBERS_SECONDS = 1.0  # and again, while it has something to do: the only one that it knows may be gone then
WAIT_SECONDS_MAX = 0.5
NOBODY_LEADS_SECONDS = 0.05  # then what was lost with the leader goes out again
WATCH_SILENT_SECONDS = 3.0  # a node that told nothing for so long is left for another


class Engine:
    """Everything but the methods called by other threads (`run_soon`, `close`) belongs to its thread."""

    def __init__(self, channel: ClientChannel, endpoints: tuple[str, ...]) -> None:
        self.link = Link(channel, endpoints)
        self._channel = channel
        self._requester = Requester(self._give_up, no_answer=self._no_answer)
        self._requested_of = ""  # the node that the last request of the requester went to
        self._submitted: deque[Call] = deque()
        self._jobs: deque[Callable[[float], None]] = deque()
        self._numbers = count(1 << 40)  # apart from the requester's own
        self._asked: dict[int, Asked] = {}
        self._statuses: dict[int, queue.SimpleQueue[bytes]] = {}
        self._unsent_questions: dict[str, AskStatus] = {}  # by address: their links are still being made
        self._watches: dict[int, WatchFeed] = {}
        self._ask_members_s = time.monotonic() + MEMBERS_FIRST_SECONDS
        self._awake = True  # it looks at what is handed over before it waits: nobody has to wake it
        self._over: ConfluxError | None = None  # what everybody is told from now on: the thread ends, or has ended
        self._thread = threading.Thread(target=self._run, name="conflux-client", daemon=True)
        self._thread.start()

    # -- from any thread -----------------------------------------------------------------------------------------

    def run_soon(self, job: Callable[[float], None]) -> None:
        """Run a job in the engine's thread; it gets the time."""
        self._hand_over(self._jobs, job)

    def submit(self, call: Call) -> None:
        """Perform a call."""
        self._hand_over(self._submitted, call)

    def ask(self, make: Callable[[int], Any], address: str | None = None) -> Asked:
        """Ask until it is answered, or its future is cancelled."""
        number = next(self._numbers)
        asked = Asked(make(number), address)
        self.run_soon(lambda now_s: self._asked.__setitem__(number, asked))
        return asked

    def begin_status(self, answers: queue.SimpleQueue[bytes]) -> int:
        """Begin a round of questions, whose answers arrive in the queue; gives its number."""
        number = next(self._numbers)
        self.run_soon(lambda now_s: self._statuses.__setitem__(number, answers))
        return number

    def ask_status(self, number: int, addresses: list[str]) -> None:
        """Ask these nodes how they are, each as soon as its link is up."""

        def job(now_s: float) -> None:
            self.link.learn(addresses)
            self._unsent_questions |= dict.fromkeys(addresses, AskStatus(number))

        self.run_soon(job)

    def end_status(self, number: int) -> None:
        """End a round: later answers are dropped."""

        def job(now_s: float) -> None:
            self._statuses.pop(number, None)
            self._unsent_questions = {a: q for a, q in self._unsent_questions.items() if q.request != number}

        self.run_soon(job)

    def ask_log(self, address: str) -> Asked:
        """Ask one node for the end of its log file."""
        number = next(self._numbers)
        asked = Asked(AskLog(number), address)
        self.run_soon(lambda now_s: self._asked.__setitem__(number, asked))
        return asked

    def watch(self, from_revision: int) -> WatchFeed:
        """Begin a watch."""
        feed = WatchFeed(next(self._numbers), from_revision)
        self.run_soon(lambda now_s: self._watches.__setitem__(feed.number, feed))
        return feed

    def unwatch(self, feed: WatchFeed) -> None:
        """End a watch."""

        def job(now_s: float) -> None:
            if self._watches.pop(feed.number, None) and self._over is None:
                if feed.over_gap is not None:
                    feed.over_gap.future.cancel()
                self.link.send_to(feed.address, Unwatch(feed.number))

        if self._over is None:
            self.run_soon(job)

    def close(self, error: ConfluxError) -> None:
        """End: whoever still waits is told."""

        def job(now_s: float) -> None:
            if self._requester.session is not None and self._requester.idle:
                self.link.send(CloseSession(self._requester.session))
            self._end(error)

        if self._over is None:
            self.run_soon(job)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    # -- the thread ----------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._turns()
        except BaseException as error:  # a bug: nobody must wait for a thread that is gone
            _log.critical("the client stops", exc_info=True)
            self._end(ConfluxError(f"the client stopped: {type(error).__name__}: {error}"))
        finally:
            self._channel.close()

    def _end(self, error: ConfluxError) -> None:
        """Tell all who wait, and whoever comes from now on."""
        self._over = error
        self._requester.close(error)
        self._tell_the_late(error)

    def _tell_the_late(self, error: ConfluxError) -> None:
        """Who came in while the thread was ending waits for nobody else."""
        with contextlib.suppress(IndexError):  # another thread was quicker
            while self._submitted:
                self._submitted.popleft().tell(error)
            while self._jobs:
                self._jobs.popleft()(time.monotonic())
        for asked in [*self._asked.values()]:
            _fail(asked.future, error)
        for feed in [*self._watches.values()]:
            feed.committed.put(error)

    def _hand_over(self, queue_: deque[Any], item: Any) -> None:
        if self._over is not None:
            raise self._over
        queue_.append(item)
        if not self._awake:
            self._awake = True
            self._channel.wake()
        if self._over is not None:
            self._tell_the_late(self._over)

    def _turns(self) -> None:
        while self._over is None:
            now_s = time.monotonic()
            for address, message in self.link.receive(FRAMES_MAX):
                self._receive(address, message, now_s)
            self._take_in(now_s)  # what callbacks of these answers began, too: it leaves in the same round
            self._send(now_s)
            self._awake = False  # before the last look: whoever hands something over is seen, or sees that
            if not self._submitted and not self._jobs and self._over is None:
                self._channel.poll(self._wait_s(now_s))
            self._awake = True

    def _take_in(self, now_s: float) -> None:
        calls = len(self._submitted)  # those of now: a watch that was begun before one of them is among the jobs
        while self._jobs and self._over is None:
            self._jobs.popleft()(now_s)
        if self._over is None:  # else a job has ended it all, and all who came have been told
            self._requester.submit(*[self._submitted.popleft() for _ in range(calls)])

    def _send(self, now_s: float) -> None:
        for feed in self._watches.values():
            self._renew_when_due(feed, now_s)
        self._send_requests(now_s)
        for asked in [*self._asked.values()]:
            self._ask_when_due(asked, now_s)
        for address, question in [*self._unsent_questions.items()]:
            if self.link.send_to(address, question):
                del self._unsent_questions[address]
        if now_s >= self._ask_members_s and (self._watches or not self._requester.idle):
            self._ask_members_s = now_s + MEMBERS_SECONDS
            self.link.send(AskMembers(next(self._numbers)))

    def _send_requests(self, now_s: float) -> None:
        for request in self._requester.pump(now_s):
            if self.link.send(request):
                self._requested_of = self.link.target
            else:
                self._requester.unsent(request, now_s)

    def _answers(self, answers: Answers, now_s: float) -> None:
        """Where many calls are answered at once, what callbacks of the first half begin leaves before the rest is told.

        The leader judges it meanwhile. Where more calls are on their way it has something to do already.
        """
        if HALVED_OUTCOMES <= len(answers.outcomes) == self._requester.unfinished:
            first, answers = halves(answers)
            self._requester.receive(first, now_s)
            self._take_in(now_s)
            self._send_requests(now_s)
        self._requester.receive(answers, now_s)

    def _give_up(self) -> None:
        """Whom the requests went to is silent: leave it, unless that was done already, for a watch or a read."""
        self.link.move_on_from(self._requested_of)

    def _no_answer(self) -> ConfluxError:
        return NoLeader("no leader answered in time") if self.link.ever_heard else unreachable(self.link)

    def _wait_s(self, now_s: float) -> float:
        waits = [WAIT_SECONDS_MAX, self._requester.wait_s(now_s)]
        waits += [max(0.01, each.asked_s + ASK_AGAIN_SECONDS - now_s) for each in self._asked.values() if each.asked_s]
        waits += [max(0.05, feed.renew_s - now_s) for feed in self._watches.values()]
        return min(wait for wait in waits if wait is not None)

    def _receive(self, address: str, message: Any, now_s: float) -> None:
        match message:
            case Answers():
                self._answers(message, now_s)
            case LeaderIs(address=leader, resend=resend):
                if leader:
                    self.link.aim(leader)
                if resend:
                    self._requester.restart(now_s if leader else now_s + NOBODY_LEADS_SECONDS)
                    for asked in self._asked.values():
                        asked.leader_changed()
            case StatePart() if message.request in self._asked:
                self._state_part(self._asked[message.request], address, message)
            case Working() if message.request in self._asked:
                self._asked[message.request].is_being_answered(now_s)
            case Refused() if message.request in self._asked:
                self._refused(self._asked[message.request], message, now_s)
            case Refused() if message.request in self._watches:
                self._watch_refused(self._watches[message.request], address, now_s)
            case LogText() if message.request in self._asked:
                _resolve(self._asked.pop(message.request).future, message.text)
            case Done() if message.request in self._asked:
                _resolve(self._asked.pop(message.request).future, None)
            case Changed() | SnapshotTaken() | BackupReady() | SnapshotChunk() if message.request in self._asked:
                _resolve(self._asked.pop(message.request).future, message)
            case Gap() if message.watch in self._watches:
                if address == self._watches[message.watch].address:
                    self._read_over_gap(self._watches[message.watch], now_s)
            case Events() if message.watch in self._watches:
                feed = self._watches[message.watch]
                if address == feed.address:
                    feed.heard_s = now_s
                    feed.take(message)
            case Members():
                self.link.learn(message.addresses[: limits.PEERS_MAX])
            case Status() if message.request in self._statuses:
                self._statuses[message.request].put(message.report)
            case _:
                self._requester.receive(message, now_s)

    def _ask_when_due(self, asked: Asked, now_s: float) -> None:
        if asked.future.cancelled():
            self._asked.pop(asked.message.request, None)
        elif now_s - asked.asked_s >= asked.again_s:
            if asked.asked_s and asked.address is None:
                self.link.move_on_from(asked.asked_of)
            asked.give_up_attempt()
            address, message = asked.address, asked.message
            if (
                self.link.send(message) if address is None else self.link.send_to(address, message)
            ):  # else again as soon as a link takes a frame: `poll` ends then
                asked.sent(now_s, self.link.target)

    def _refused(self, asked: Asked, refused: Refused, now_s: float) -> None:
        error = asked.refused(refused, now_s)
        if error is not None:
            self._asked.pop(refused.request)
            _fail(asked.future, error)

    def _state_part(self, asked: Asked, address: str, part: StatePart) -> None:
        if part.offset != len(asked.parts) or (part.offset and part.revision != asked.revision):
            return  # of an attempt that was given up
        asked.parts += part.part
        asked.revision, asked.index = part.revision, part.index
        asked.asked_s = asked.heard_s = time.monotonic()
        if len(asked.parts) < part.bytes_total:
            self.link.send_to(address, ReadMore(part.request, part.revision, len(asked.parts)))
            return
        self._asked.pop(part.request)
        try:
            state = decode_state(bytes(asked.parts)) if part.bytes_total else None
            _resolve(asked.future, (part.revision, state))
        except MalformedValue as error:
            _fail(asked.future, error)

    def _read_over_gap(self, feed: WatchFeed, now_s: float) -> None:
        """What a watch wants next is cut away on its node: read the state there, which stands for it, and go on."""
        if feed.over_gap is not None:
            return
        number = next(self._numbers)
        asked = Asked(Read(number, Consistency.LOCAL), feed.address)
        asked.heard_s = now_s
        self._asked[number] = feed.over_gap = asked

        def done(future: Future[Any]) -> None:
            feed.over_gap = None
            if not future.cancelled() and future.exception() is None:
                feed.take_gap(*future.result())
                feed.renew_s = time.monotonic()  # of the same node

        asked.future.add_done_callback(done)

    def _watch_refused(self, feed: WatchFeed, address: str, now_s: float) -> None:
        """A node that can't tell of anything now: another one may."""
        if address == feed.address:
            self.link.move_on_from(address)
            feed.address, feed.renew_s = "", now_s + PAUSE_SECONDS

    def _renew_when_due(self, feed: WatchFeed, now_s: float) -> None:
        if feed.over_gap is not None:
            if now_s - feed.over_gap.heard_s <= WATCH_SILENT_SECONDS:
                return
            feed.over_gap.future.cancel()
        if feed.address and now_s - feed.heard_s > WATCH_SILENT_SECONDS:
            if feed.address == self.link.target:
                self.link.move_on()
            feed.renew_s = 0.0
        if now_s < feed.renew_s:
            return
        if not feed.address or not feed.renew_s:
            feed.address = self.link.target
            feed.heard_s = now_s
        feed.renew_s = now_s + WATCH_RENEW_SECONDS
        if not self.link.send_to(feed.address, Watch(feed.number, feed.next_revision)):
            self.link.move_on()
            feed.address = ""
            feed.renew_s = now_s + 0.05


def unreachable(link: Link) -> Unreachable:
    """The error where no node ever answered."""
    if refusing := link.refusing():
        hint = "Name the cluster's key with --key. To compare two keys: the fingerprint in their first line."
        verbs = "refuses our key, or isn't a Conflux node"
        if len(refusing) > 1:
            verbs = "refuse our key, or aren't Conflux nodes"
        return Unreachable(f"{', '.join(refusing)} {verbs}", hint=hint)
    return Unreachable(f"no node answers at {', '.join(link.addresses)}")


def _resolve(future: Future[Any], result: Any) -> None:
    if future.set_running_or_notify_cancel():
        future.set_result(result)


def _fail(future: Future[Any], error: ConfluxError) -> None:
    if not future.done() and future.set_running_or_notify_cancel():
        future.set_exception(error)
