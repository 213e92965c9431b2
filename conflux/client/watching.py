"""`Watching`: what a client's `watch` gives, an iterator that has begun before anybody asks it for anything."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator

from conflux.client.committed import Committed
from conflux.client.engine import WatchFeed
from conflux.errors import ConfluxError


class Watching(Iterator[Committed | int]):
    """The revision that it begins with, then each committed action.

    Args:
        timeout: seconds until the first of all; None waits for ever.
        nothing_came: makes the error where that is too short.
        end: ends the watch; called once.
    """

    def __init__(
        self,
        feed: WatchFeed,
        *,
        timeout: float | None,
        nothing_came: Callable[[], ConfluxError],
        end: Callable[[WatchFeed], None],
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
        if isinstance(item, ConfluxError):  # the client is closed
            self.close()
            raise StopIteration
        self._timeout = None
        return item

    def close(self) -> None:
        """End the watch. Calling twice is harmless."""
        if not self._is_over:
            self._is_over = True
            self._end(self._feed)

    def __del__(self) -> None:
        self.close()
