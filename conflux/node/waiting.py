"""`Waiting`: requests on their way to a turn, bounded in calls and bytes. What does not fit is refused as busy."""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

from conflux import limits
from conflux.node.origin import Origin
from conflux.wire.clients import CloseSession, OpenSession, Perform

Request: TypeAlias = OpenSession | Perform | CloseSession


class Waiting:
    """First in, first out."""

    def __init__(self) -> None:
        self._requests: deque[tuple[Origin, Request, int, int]] = deque()
        self._calls = 0
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._requests)

    def add(self, origin: Origin, request: Request) -> bool:
        """Let a request wait. False: as much is waiting as this node takes."""
        calls, size = _weight(request)
        if self._calls + calls > limits.WAITING_REQUESTS_MAX or self._bytes + size > limits.WAITING_BYTES_MAX:
            return False
        self._requests.append((origin, request, calls, size))
        self._count(calls, size)
        return True

    def put_back(self, origin: Origin, request: Request) -> None:
        """The rest of a request that was taken: it is next again, and always has room."""
        calls, size = _weight(request)
        self._requests.appendleft((origin, request, calls, size))
        self._count(calls, size)

    def take(self) -> tuple[Origin, Request]:
        """The next request."""
        origin, request, calls, size = self._requests.popleft()
        self._count(-calls, -size)
        return origin, request

    def _count(self, calls: int, size: int) -> None:
        self._calls += calls
        self._bytes += size


def _weight(request: Request) -> tuple[int, int]:
    """(calls, bytes of their arguments); a request without calls counts as one."""
    if not isinstance(request, Perform):
        return 1, 0
    return len(request.calls), sum([len(arguments) for _, arguments in request.calls])
