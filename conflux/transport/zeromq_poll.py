"""How a channel waits: one poll over all its sockets, with the errands that must not wait for its owner."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import zmq

from conflux.transport.sockets import Socket
from conflux.transport.waker import Waker
from conflux.transport.zeromq_monitor import HandshakeMonitor

READABLE, WRITABLE = int(zmq.POLLIN), int(zmq.POLLOUT)  # as numbers: the enumeration's own `&` is a function
LOOK_SECONDS = 0.5  # between two looks at the monitors


class Waiting:
    """A poller and a waker, with the requests that are served and the monitors that are looked at during the wait.

    Attributes:
        ready: the sockets that had something when the last wait ended. To read one that has nothing costs as much as
            ten frames, for its error, so its owner asks here first.
    """

    def __init__(self) -> None:
        self.waker = Waker()
        self.ready: set[Socket] = set()
        self._poller = zmq.Poller()
        self._poller.register(self.waker.fileno(), READABLE)
        self._errands: dict[Socket, Callable[[], None]] = {}
        self._monitors: dict[Socket, HandshakeMonitor] = {}
        self._want_room: set[Socket] = set()
        self._next_look_s = 0.0

    def watch(self, socket: Socket) -> None:
        """A message for `socket` ends the wait."""
        self._poller.register(socket, READABLE)

    def look_at(self, socket: Socket, monitor: HandshakeMonitor) -> None:
        """Look at the monitor of `socket` now and then."""
        self._monitors[socket] = monitor

    def watch_for_room(self, socket: Socket) -> None:
        """The next wait also ends when `socket`, watched already, takes a frame: its link is up and not full."""
        if socket not in self._want_room:
            self._want_room.add(socket)
            self._poller.modify(socket, READABLE | WRITABLE)

    def serve(self, socket: Socket, errand: Callable[[], None]) -> None:
        """`errand` is run whenever `socket` has something; the wait goes on."""
        self._poller.register(socket, READABLE)
        self._errands[socket] = errand

    def forget(self, socket: Socket) -> None:
        """To be called before `socket` is closed."""
        self._want_room.discard(socket)
        self.ready.discard(socket)
        if socket in self._poller:
            self._poller.unregister(socket)
        monitor = self._monitors.pop(socket, None)
        if monitor is not None:
            monitor.close()

    def wait(self, timeout_s: float) -> None:
        """Until a watched socket has something, the waker was used, or the time is over."""
        now_s = time.monotonic()
        deadline_s = now_s + timeout_s
        while True:
            wait_s = max(0.0, min(deadline_s - now_s, LOOK_SECONDS))
            ready = self._poller.poll(math.ceil(wait_s * 1000.0))
            now_s = time.monotonic()
            if now_s >= self._next_look_s:
                self._look(now_s)
            if self._act(ready) or now_s >= deadline_s:
                return

    def close(self) -> None:
        for monitor in self._monitors.values():
            monitor.close()
        self._monitors.clear()
        self._errands.clear()
        self.waker.close()

    def _act(self, ready: list[tuple[Socket | int, int]]) -> bool:
        """Run errands; True if anything else was ready."""
        found = False
        self.ready.clear()
        for source, event in ready:
            if isinstance(source, int):
                self.waker.clear()
                found = True
            elif source in self._errands:
                self._errands[source]()
            else:
                found = True
                if event & READABLE:
                    self.ready.add(source)
                if event & WRITABLE:
                    self._want_room.discard(source)
                    self._poller.modify(source, READABLE)
        return found

    def _look(self, now_s: float) -> None:
        flooded = [monitor.look() for monitor in self._monitors.values()]
        self._next_look_s = now_s if any(flooded) else now_s + LOOK_SECONDS
