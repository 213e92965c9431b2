"""What threads of one process hand each other frames through: bounded queues, and the bell that the owner waits at."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from conflux import limits

# What a sender's and a receiver's queue hold together on a real link.
INBOX_FRAMES_MAX = limits.SEND_HIGH_WATER_MARK + limits.RECEIVE_HIGH_WATER_MARK

_Item = TypeVar("_Item")


class Bell:
    """What the owner of one or more inboxes waits at. Re-entrant, so that a signal handler may `wake`."""

    def __init__(self) -> None:
        self.condition = threading.Condition(threading.RLock())
        self.closed = False
        self._rung = False

    def wait(self, timeout_s: float, waiting: Callable[[], bool]) -> None:
        with self.condition:
            timeout_s = min(max(timeout_s, 0.0), threading.TIMEOUT_MAX)
            self.condition.wait_for(lambda: self._rung or self.closed or waiting(), timeout_s)
            self._rung = False

    def ring(self) -> None:
        with self.condition:
            self._rung = True
            self.condition.notify_all()

    def close(self) -> bool:
        """True the first time."""
        with self.condition:
            first, self.closed = not self.closed, True
            self.condition.notify_all()
            return first


class Inbox(Generic[_Item]):
    """A bounded queue that many threads fill and its owner empties."""

    def __init__(self, bell: Bell) -> None:
        self._bell = bell
        self._items: deque[_Item] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: _Item) -> bool:
        """False: full, or its owner is closed."""
        with self._bell.condition:
            if self._bell.closed or len(self._items) >= INBOX_FRAMES_MAX:
                return False
            self._items.append(item)
            self._bell.condition.notify_all()
            return True

    def take(self, items_max: int) -> list[_Item]:
        with self._bell.condition:
            return [self._items.popleft() for _ in range(min(items_max, len(self._items)))]

    def clear(self) -> None:
        with self._bell.condition:
            self._items.clear()
