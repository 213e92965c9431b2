"""Simulated clients, built on the real `Requester`, `Link` and `WatchFeed`: the client's engine without its thread."""

from __future__ import annotations

from itertools import count
from math import inf
from queue import Empty
from typing import TYPE_CHECKING, Any

from conflux.client.asked import ASK_AGAIN_SECONDS
from conflux.client.call import Call as Submitted
from conflux.client.committed import Committed
from conflux.client.engine import WATCH_SILENT_SECONDS
from conflux.client.link import Link
from conflux.client.requester import Requester
from conflux.client.watching import WATCH_RENEW_SECONDS, WatchFeed
from conflux.errors import Closed
from conflux.testing.clock import SimulatedClock
from conflux.testing.history import Call, Read, Watched
from conflux.testing.told import Told
from conflux.wire import clients as wire
from conflux.wire.state_decoder import decode_state

if TYPE_CHECKING:
    from conflux.testing.cluster import SimulatedCluster

FRAMES_MAX = 1024
REQUESTS_MAX = 1 << 20  # more than a client makes before it begins anew


class _Asked:
    """A read on its way."""

    def __init__(self, message: wire.Read, now_s: float) -> None:
        self.message = message
        self.invoked_s = now_s
        self.asked_s = 0.0
        self.asked_of = ""
        self.parts = bytearray()
        self.revision = 0


class SimulatedClient:
    """One client over the network: calls, reads, perhaps a watch."""

    def __init__(self, cluster: SimulatedCluster, name: str, *, watches: bool) -> None:
        self.name = name
        self.reads: dict[int, _Asked] = {}
        self.watched = Watched(name)
        self.feed: WatchFeed | None = None
        self._cluster = cluster
        self._clock = SimulatedClock(cluster.schedule)
        self._end = cluster.network.open_client(name, self._clock, self.wake)
        self._end.key = cluster.suffix
        addresses = cluster.addresses()
        cluster.random.shuffle(addresses)
        self.link = Link(self._end, tuple(addresses))
        self._numbers = count(1 << 40)
        self._generation = 0
        self._requested_of = ""
        self._turn_s = 0.0
        self._requester = Requester(self._give_up)
        if watches:
            self.feed = WatchFeed(next(self._numbers), 0)
            cluster.history.watches.append(self.watched)

    # -- what it may be asked ------------------------------------------------------------------------------------

    @property
    def unfinished(self) -> int:
        """Calls and reads that wait."""
        return self._requester.unfinished + len(self.reads)

    @property
    def requester_name(self) -> str:
        """Names this client's Requester: a client that begins anew has another."""
        return f"{self.name}.{self._generation}"

    def perform(self, method: str, args: list[Any], deadline_s: float | None, *, appended: bool = False) -> Call:
        """Submit a call."""
        history = self._cluster.history
        call = history.begin(self.requester_name, method, args, appended=appended)
        limit_s = None if deadline_s is None else self._cluster.schedule.now_s + deadline_s
        caller = Told(history, call)
        self._requester.submit(Submitted(method, call.arguments, limit_s, caller, when_appended=appended))
        return call

    def read(self, *, linearizable: bool) -> None:
        """Ask for the state."""
        number = next(self._numbers)
        wanted = wire.Consistency.LINEARIZABLE if linearizable else wire.Consistency.LOCAL
        self.reads[number] = _Asked(wire.Read(number, wanted), self._cluster.schedule.now_s)

    def transfer_leadership(self) -> None:
        """Ask the leader to hand over to whoever is most level."""
        self.link.send(wire.TransferLeadership(next(self._numbers), ""))

    def begin_anew(self) -> None:
        """Close, as a program does that ends, and begin again with a session of its own."""
        if self._requester.session is not None and self._requester.idle:
            self.link.send(wire.CloseSession(self._requester.session))
        self._requester.close(Closed("the client is closed"))
        self._generation += 1
        # Another program has links of its own: what is late for the one before must not be taken for its own.
        self._requester = Requester(self._give_up, first_number=1 + self._generation * REQUESTS_MAX)
        self.reads.clear()

    # -- turns ---------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Turn now."""
        self._plan(self._cluster.schedule.now_s)

    def _plan(self, time_s: float) -> None:
        if not self._turn_s or time_s < self._turn_s:
            self._turn_s = time_s
            self._cluster.schedule.at(time_s, self._turn, time_s)

    def _turn(self, planned_s: float) -> None:
        if planned_s != self._turn_s:
            return
        self._turn_s = 0.0
        now_s = self._cluster.schedule.now_s
        for address, message in self.link.receive(FRAMES_MAX):
            self._receive(address, message, now_s)
        for request in self._requester.pump(now_s):
            self._send(request, now_s)
        for asked in [*self.reads.values()]:
            self._ask_when_due(asked, now_s)
        if self.feed is not None:
            self._renew_when_due(self.feed, now_s)
        wait_s = self._wait_s(now_s)
        if wait_s < inf:
            self._plan(now_s + max(wait_s, 0.0001))

    def _wait_s(self, now_s: float) -> float:
        own_s = self._requester.wait_s(now_s)
        waits = [inf if own_s is None else own_s]
        waits += [max(0.01, asked.asked_s + ASK_AGAIN_SECONDS - now_s) for asked in self.reads.values()]
        if self.feed is not None:
            waits.append(max(0.05, self.feed.renew_s - now_s))
        return min(waits)

    def _send(self, request: wire.OpenSession | wire.Perform, now_s: float) -> None:
        if isinstance(request, wire.Perform):
            self._cluster.history.was_sent(request)
        if not self.link.send(request):
            self._requester.unsent(request, now_s)
            return
        self._requested_of = self.link.target
        if self._cluster.repeats_request():
            self._cluster.counts["requests sent twice"] += 1
            self.link.send(request)

    def _give_up(self) -> None:
        self.link.move_on_from(self._requested_of)

    def _receive(self, address: str, message: Any, now_s: float) -> None:
        match message:
            case wire.LeaderIs(address=leader, resend=resend):
                if leader:
                    self.link.aim(leader)
                if resend:
                    self._requester.restart(now_s if leader else now_s + 0.05)
            case wire.StatePart() if message.request in self.reads:
                self._state_part(self.reads[message.request], address, message, now_s)
            case wire.Working() if message.request in self.reads:
                self.reads[message.request].asked_s = now_s
            case wire.Refused() if message.request in self.reads:
                asked = self.reads[message.request]
                asked.parts.clear()
                asked.asked_s = now_s - ASK_AGAIN_SECONDS + 0.05
            case wire.Events() if self.feed is not None and message.watch == self.feed.number:
                if address == self.feed.address:
                    self.feed.heard_s = now_s
                    self.feed.take(message)
                    self._drain(self.feed)
            case wire.Refused() if self.feed is not None and message.request == self.feed.number:
                if address == self.feed.address:
                    self.link.move_on_from(address)
                    self.feed.address, self.feed.renew_s = "", now_s + 0.05
            case wire.Gap() if self.feed is not None and message.watch == self.feed.number:
                self._begin_watch_anew()
            case wire.Members():
                self.link.learn(message.addresses)
            case wire.Changed() | wire.SnapshotTaken():
                self._cluster.counts[f"operators: {type(message).__name__}"] += 1
            case _:
                self._requester.receive(message, now_s)

    # -- reads ---------------------------------------------------------------------------------------------------

    def _ask_when_due(self, asked: _Asked, now_s: float) -> None:
        if now_s - asked.asked_s >= ASK_AGAIN_SECONDS:
            if asked.asked_s:
                self.link.move_on_from(asked.asked_of)
            asked.parts.clear()
            self.link.send(asked.message)
            asked.asked_s, asked.asked_of = now_s, self.link.target

    def _state_part(self, asked: _Asked, address: str, part: wire.StatePart, now_s: float) -> None:
        if part.offset != len(asked.parts) or (part.offset and part.revision != asked.revision):
            return  # of an attempt that was given up
        asked.parts += part.part
        asked.revision = part.revision
        asked.asked_s = now_s
        if len(asked.parts) < part.bytes_total:
            self.link.send_to(address, wire.ReadMore(part.request, part.revision, len(asked.parts)))
            return
        del self.reads[part.request]
        linearizable = asked.message.consistency is wire.Consistency.LINEARIZABLE
        state = decode_state(bytes(asked.parts))
        read = Read(self.name, linearizable, address, asked.invoked_s, now_s, part.revision, part.index, state)
        self._cluster.history.reads.append(read)

    # -- watches -------------------------------------------------------------------------------------------------

    def _renew_when_due(self, feed: WatchFeed, now_s: float) -> None:
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
        if not self.link.send_to(feed.address, wire.Watch(feed.number, feed.next_revision)):
            self.link.move_on()
            feed.address = ""
            feed.renew_s = now_s + 0.05

    def _begin_watch_anew(self) -> None:
        """What the watch wanted next is no longer held anywhere: as a program that reads the state, and goes on."""
        self._cluster.counts["watches with a gap"] += 1
        self.watched.is_over = True
        self.watched = Watched(self.name)
        self._cluster.history.watches.append(self.watched)
        self.feed = WatchFeed(next(self._numbers), 0)

    def _drain(self, feed: WatchFeed) -> None:
        while True:
            try:
                item = feed.committed.get_nowait()
            except Empty:
                return
            if isinstance(item, Committed):
                self.watched.events.append(item)
            elif isinstance(item, int):
                self.watched.first_revision = item
