"""A watch: `WatchFeed`, what has come of it so far, and `Watching`, the iterator that its owner gets.

It has begun before anybody asks the iterator for anything.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from typing import Any

from conflux.client.asked import Asked
from conflux.client.committed import Committed, from_event, gap_at
from conflux.errors import Closed, ConfluxError, NotReady
from conflux.wire.clients import Events

WATCH_RENEW_SECONDS = 2.0  # sooner than a node's lease of it ends


class WatchFeed:
    """One watch: committed actions as they arrive, without a repeat, and a gap only where it is told."""

    def __init__(self, number: int, from_revision: int) -> None:
        self.number = number
        self.next_revision = from_revision  # 0: wherever the node is when it answers first
        self.committed: queue.SimpleQueue[Committed | ConfluxError | int] = queue.SimpleQueue()
        self.address = ""
        self._is_answered = False
        self.renew_s = 0.0
        self.heard_s = 0.0
        self.over_gap: Asked | None = None  # the read of the state that stands for what is held nowhere

    def take(self, events: Events) -> None:
        """Take what a node tells, leaving out what was seen."""
        if not self.next_revision:
            self.next_revision = events.events[0].revision if events.events else events.revision + 1
        if not self._is_answered:
            self._is_answered = True
            self.committed.put(self.next_revision)
        for event in events.events:
            if event.revision == self.next_revision:
                self.committed.put(from_event(event))
                self.next_revision += 1

    def take_gap(self, revision: int, state: Any) -> None:
        """Go on behind a state that stands for all before it."""
        self.next_revision = revision + 1
        if not self._is_answered:
            self._is_answered = True
            self.committed.put(self.next_revision)
        self.committed.put(gap_at(revision, state))


class Watching(Iterator[Committed | int]):
    """The revision that it begins with, then each committed action; it ends where its client or node is closed.

    Args:
        end: ends the watch; called once.
        timeout: seconds until the first of all; None waits for ever.
        nothing_came: makes the error where that is too short.
    """

    def __init__(
        self,
        feed: WatchFeed,
        *,
        end: Callable[[WatchFeed], None],
        timeout: float | None = None,
        nothing_came: Callable[[], ConfluxError] = NotReady,
    ) -> None:
        self._feed = feed
        self._timeout = timeout
        self._nothing_came = nothing_came
        self._end = end
        self._is_over = False

    def __next__(self) -> Committed | int:
        if self._is_over:
            raise StopIteration
        try:
            item = self._feed.committed.get(timeout=self._timeout)
        except queue.Empty:
            self.close()
            raise self._nothing_came() from None
        if isinstance(item, ConfluxError):
            self.close()
            raise StopIteration if isinstance(item, Closed) else item
        self._timeout = None
        return item

    def close(self) -> None:
        """End the watch. Calling twice is harmless."""
        if not self._is_over:
            self._is_over = True
            self._end(self._feed)

    def __del__(self) -> None:
        self.close()

    def committed(self) -> Iterator[Committed]:
        """The actions alone."""
        return (item for item in self if isinstance(item, Committed))
