"""A file descriptor that any thread can make readable: how `wake` ends a `poll`."""

from __future__ import annotations

import socket
import threading


class Waker:
    """Wakes until the next `clear` are one wake, and one byte in a socket pair.

    The lock is re-entrant because a signal handler may call `wake` while its own thread is in `clear`.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._pending = False
        self._closed = False
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def fileno(self) -> int:
        return self._reader.fileno()

    def wake(self) -> None:
        with self._lock:
            if self._pending or self._closed:
                return
            self._pending = True
            self._writer.send(b"\0")  # at most one byte is on its way: there is always room

    def clear(self) -> None:
        """Take the byte, then the flag: who finds the flag up needs no byte, since `poll` is about to return."""
        with self._lock:
            if self._pending:
                self._reader.recv(1)
                self._pending = False

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._reader.close()
            self._writer.close()
