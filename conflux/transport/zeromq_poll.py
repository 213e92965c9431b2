"""How a channel waits: one poll over all its sockets, with the errands that must not wait for its owner."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import zmq

from conflux.transport.sockets import Socket
from conflux.transport.waker import Waker
from conflux.transport.zeromq_monitor import HandshakeMonitor

LOOK_SECONDS = 0.5  # between two looks at the monitors


class Waiting:
    """A poller and a waker, with the requests that are served and the monitors that are looked at during the wait."""

    def __init__(self) -> None:
        self.waker = Waker()
        self._poller = zmq.Poller()
        self._poller.register(self.waker.fileno(), zmq.POLLIN)
        self._errands: dict[Socket, Callable[[], None]] = {}
        self._monitors: dict[Socket, HandshakeMonitor] = {}
        self._want_room: set[Socket] = set()
        self._next_look_s = 0.0

    def watch(self, socket: Socket, monitor: HandshakeMonitor | None = None) -> None:
        """A message for `socket` ends the wait."""
        self._poller.register(socket, zmq.POLLIN)
        if monitor is not None:
            self._monitors[socket] = monitor

    def watch_for_room(self, socket: Socket) -> None:
        """The next wait also ends when `socket`, watched already, takes a frame: its link is up and not full."""
        if socket not in self._want_room:
            self._want_room.add(socket)
            self._poller.modify(socket, zmq.POLLIN | zmq.POLLOUT)

    def serve(self, socket: Socket, errand: Callable[[], None]) -> None:
        """`errand` is run whenever `socket` has something; the wait goes on."""
        self._poller.register(socket, zmq.POLLIN)
        self._errands[socket] = errand

    def forget(self, socket: Socket) -> None:
        """To be called before `socket` is closed."""
        self._want_room.discard(socket)
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
        for source, event in ready:
            if isinstance(source, int):
                self.waker.clear()
                found = True
            elif source in self._errands:
                self._errands[source]()
            else:
                found = True
                if event & zmq.POLLOUT:
                    self._want_room.discard(source)
                    self._poller.modify(source, zmq.POLLIN)
        return found

    def _look(self, now_s: float) -> None:
        flooded = [monitor.look() for monitor in self._monitors.values()]
        self._next_look_s = now_s if any(flooded) else now_s + LOOK_SECONDS
