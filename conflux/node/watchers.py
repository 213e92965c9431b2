"""Watchers: each is told every committed action once, in order, from the revision it asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from conflux import limits
from conflux.node.origin import Origin
from conflux.raft.entry import Entry
from conflux.raft.log import Log
from conflux.store.history import entry_of_revision, events_of
from conflux.store.records import header_of
from conflux.wire.clients import Event, Events, Gap, Watch

RECENT_EVENTS_MAX = 8192
HISTORY_BYTES_MAX = 256 * limits.KIB
TELL_EVERY_SECONDS = 1.0  # a watcher is told that its watch lives


@dataclass(slots=True)
class _Watcher:
    origin: Origin
    watch: int
    next_revision: int
    lapses_s: float
    told_s: float


class Watchers:
    """All watchers of one node.

    Args:
        reply: hands a message to a watcher. False: it can't take more now, or is gone.
    """

    def __init__(self, log: Log, label: str, reply: Callable[[Origin, Events | Gap], bool]) -> None:
        self._log = log
        self._label = label
        self._reply = reply
        self._watchers: dict[tuple[Origin, int], _Watcher] = {}
        self._recent: deque[Event] = deque(maxlen=RECENT_EVENTS_MAX)  # without a gap, up to the folded revision
        self._revision = 0
        self._index = 0
        self._first_known = (0, 0)  # (index, first revision) of the log's first entry, when it was looked at last

    @property
    def is_empty(self) -> bool:
        return not self._watchers

    def watch(self, origin: Origin, request: Watch, now_s: float) -> None:
        """Begin a watch, or renew it."""
        lapses_s = now_s + limits.WATCH_LEASE_SECONDS
        known = self._watchers.get((origin, request.watch))
        if known is not None:
            known.lapses_s = lapses_s
            if request.from_revision:
                known.next_revision = request.from_revision  # it knows best what it has seen
        elif len(self._watchers) < limits.WATCHERS_MAX:
            first = request.from_revision or self._revision + 1
            self._watchers[origin, request.watch] = _Watcher(origin, request.watch, first, lapses_s, 0.0)

    def unwatch(self, origin: Origin, watch: int) -> None:
        """End a watch."""
        self._watchers.pop((origin, watch), None)

    def applied(self, entry: Entry, revision: int) -> None:
        """An entry was folded."""
        self._index, self._revision = entry.index, revision
        if self._watchers:
            self._recent.extend(events_of(entry))
        elif self._recent:
            self._recent.clear()  # nobody looks: don't decode every entry for nothing

    def installed(self, index: int, revision: int) -> None:
        """A snapshot that ends there took the place of what was folded: the events in between are nowhere here."""
        self._index, self._revision = index, revision
        self._recent.clear()

    def turn(self, now_s: float) -> bool:
        """Tell each watcher what it can take. True where there is more to tell at once."""
        more = False
        for key, watcher in list(self._watchers.items()):
            if now_s >= watcher.lapses_s:
                del self._watchers[key]
            elif watcher.next_revision < self._first_revision():
                if self._reply(watcher.origin, Gap(watcher.watch, self._first_revision())):
                    del self._watchers[key]  # it reads the state, and comes again
            elif watcher.next_revision <= self._revision:
                more = self._tell(watcher, self._events_from(watcher.next_revision), now_s) or more
            elif now_s - watcher.told_s >= TELL_EVERY_SECONDS:
                self._tell(watcher, [], now_s)
        return more

    def _tell(self, watcher: _Watcher, events: list[Event], now_s: float) -> bool:
        if not self._reply(watcher.origin, Events(watcher.watch, events, self._revision, self._label)):
            return False
        watcher.told_s = now_s
        if events:
            watcher.next_revision = events[-1].revision + 1
        return watcher.next_revision <= self._revision

    def _first_revision(self) -> int:
        """The first revision whose action is still held."""
        if self._log.first_index > self._index:
            return self._revision + 1
        if self._first_known[0] != self._log.first_index:
            (first,) = self._log.entries(self._log.first_index, self._log.first_index, 1)
            self._first_known = (first.index, header_of(first.payload).first_revision)
        return self._first_known[1]

    def _events_from(self, revision: int) -> list[Event]:
        """The next events from `revision` on, as many as fit into a frame."""
        if self._recent and self._recent[0].revision <= revision:
            start = revision - self._recent[0].revision
            found = [self._recent[place] for place in range(start, min(len(self._recent), start + 256))]
        else:
            found = self._from_log(revision)
        size = 0
        events: list[Event] = []
        for event in found:
            size += len(event.action) + len(event.method) + 64
            if events and size > limits.TURN_BYTES_MAX:
                break
            events.append(event)
        return events

    def _from_log(self, revision: int) -> list[Event]:
        def read(first: int, last: int, bytes_max: int) -> tuple[Entry, ...]:
            return self._log.entries(first, last, bytes_max)

        first = entry_of_revision(read, self._log.first_index, self._index, revision)
        found: list[Event] = []
        if first <= self._index:
            for entry in read(first, self._index, HISTORY_BYTES_MAX):
                found += [event for event in events_of(entry) if event.revision >= revision]
        return found[: limits.WATCH_EVENTS_PER_FRAME_MAX]
