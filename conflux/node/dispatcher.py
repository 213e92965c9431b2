"""User callbacks run here, on one thread with a bounded queue, never in the node's loop."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from typing import Any

from conflux import limits
from conflux.client.committed import Committed, from_event, gap_at
from conflux.raft.entry import Entry
from conflux.store.history import events_of

_log = logging.getLogger("conflux.node")


class Dispatcher:
    """Callbacks by event; each is called with one argument, in the order in which things happened."""

    def __init__(self) -> None:
        self._callbacks: dict[str, list[list[Callable[[Any], None]]]] = {}
        self._queue: queue.Queue[tuple[str, Any] | None] = queue.Queue(limits.DISPATCH_QUEUE_EVENTS_MAX)
        self._gap: Committed | None = None  # what stands for events that nobody was told of, until it is told
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def on(self, event: str, callback: Callable[[Any], None]) -> Callable[[], None]:
        """Call `callback` at each such event, from now on; the returned function ends that."""
        subscription = [callback]  # one object a subscription: the same callback may have several
        with self._lock:
            self._callbacks.setdefault(event, []).append(subscription)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="conflux-callbacks", daemon=True)
                self._thread.start()

        def off() -> None:
            with self._lock:
                listeners = self._callbacks.get(event, [])
                self._callbacks[event] = [other for other in listeners if other is not subscription]

        return off

    def listens(self, event: str) -> bool:
        """True where somebody would be told."""
        return bool(self._callbacks.get(event))

    @property
    def is_mine(self) -> bool:
        """True in a callback."""
        return self._thread is threading.current_thread()

    def committed(self, entry: Entry, revision: int, state: Any) -> None:
        """Tell subscribers of an entry's actions. If they are too slow, they get one event with `gap` instead.

        Args:
            revision, state: after the entry.
        """
        if not self._callbacks.get("committed"):
            return
        if self._gap is not None and self._gap_grows(revision, state):
            return
        for event in events_of(entry):
            try:
                self._queue.put_nowait(("committed", from_event(event)))
            except queue.Full:
                self.missed(revision, state)
                return

    def missed(self, revision: int, state: Any) -> None:
        """Events up to this revision can't be told: one with `gap` is, as soon as those before it are."""
        if self._callbacks.get("committed"):
            with self._lock:
                self._gap = gap_at(revision, state)
            with contextlib.suppress(queue.Full):
                self._queue.put_nowait(("", None))  # wakes the thread, where nothing else does

    def tell(self, event: str, value: Any) -> None:
        """Tell of an event; dropped where callbacks are far behind."""
        if self._callbacks.get(event):
            try:
                self._queue.put_nowait((event, value))
            except queue.Full:
                pass

    def close(self, drain_s: float = 0.0) -> None:
        """Call nobody any more; what waits is told first, as far as `drain_s` allows."""
        if self._thread is not None and self._thread is not threading.current_thread():
            try:
                self._queue.put_nowait(None)
                self._thread.join(drain_s)
            except queue.Full:
                pass
        with self._lock:
            self._callbacks.clear()
        while self._thread is not None:
            try:
                self._queue.put_nowait(None)
                return
            except queue.Full:
                try:
                    self._queue.get_nowait()
                except queue.Empty:
                    pass

    def _gap_grows(self, revision: int, state: Any) -> bool:
        """Let the gap that still waits hold this, too. False: it was told just now."""
        with self._lock:
            if self._gap is None:
                return False
            self._gap = gap_at(revision, state)
            return True

    def _run(self) -> None:
        while (item := self._queue.get()) is not None:
            self._call(*item)
            if self._queue.empty():
                with self._lock:
                    gap, self._gap = self._gap, None
                if gap is not None:
                    self._call("committed", gap)

    def _call(self, event: str, value: Any) -> None:
        with self._lock:
            listeners = [*self._callbacks.get(event, [])]
        for (callback,) in listeners:
            try:
                callback(value)
            except BaseException:  # a user's callback must not end the callbacks of others
                _log.exception("a callback for %r raised", event)
