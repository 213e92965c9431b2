"""Handshakes that fail: libzmq retries in silence for ever, and says so only on a socket's monitor (D9)."""

from __future__ import annotations

import struct
from collections.abc import Callable

import zmq

from conflux.transport.sockets import Context, Socket

EVENTS_A_TURN_MAX = 1024
_FAILURES = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
_EVENT = struct.Struct("=HI")


class HandshakeMonitor:
    """Counts one socket's failed handshakes. Not polled: a flood of bad connections must not wake the loop for each.

    The queue of events has no limit, on purpose: with one, libzmq's only thread *waits* for room, and all links with
    it. Events are a few bytes, come only from failures, and are taken at each look.
    """

    def __init__(self, context: Context, socket: Socket, on_failures: Callable[[int], None]) -> None:
        """`on_failures` is told how many handshakes failed since the last look, if any did."""
        endpoint = f"inproc://conflux.monitor.{socket.underlying:x}"
        self._watched = socket
        self._on_failures = on_failures
        socket.monitor(endpoint, _FAILURES)
        self._events = context.socket(zmq.PAIR)
        self._events.setsockopt(zmq.LINGER, 0)
        self._events.setsockopt(zmq.RCVHWM, 0)
        self._events.connect(endpoint)

    def look(self) -> bool:
        """Take the events that are there. True: there may be more."""
        failures = 0
        try:
            while failures < EVENTS_A_TURN_MAX:
                event, _ = _EVENT.unpack(self._events.recv(zmq.NOBLOCK))
                self._events.recv(zmq.NOBLOCK)  # the endpoint
                failures += bool(event & _FAILURES)
        except zmq.Again:
            pass
        if failures:
            self._on_failures(failures)
        return failures == EVENTS_A_TURN_MAX

    def close(self) -> None:
        """To be called before the watched socket is closed."""
        self._watched.disable_monitor()
        self._events.close()
