"""Handshakes that fail: libzmq retries in silence for ever, and says so only on a socket's monitor (D9)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from conflux.transport.sockets import Context, Socket

EVENTS_A_TURN_MAX = 1024
_CUT_SHORT = zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
_REFUSED = zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
_SUCCEEDED = zmq.EVENT_HANDSHAKE_SUCCEEDED
_EVENT = struct.Struct("=HI")


@dataclass(slots=True)
class Handshakes:
    """How the handshakes of one socket went since the last look."""

    refused: int = 0  # this side did not take what came: another key, none, garbage
    cut_short: int = 0  # the other side ended it, by a refusal or by going away, or said nothing in time
    in_a_row: int = 0  # failures since one succeeded, whenever that was


class HandshakeMonitor:
    """Counts one socket's failed handshakes. Not polled: a flood of bad connections must not wake the loop for each.

    The queue of events has no limit, on purpose: with one, libzmq's only thread *waits* for room, and all links with
    it. Events are a few bytes, come only from failures, and are taken at each look.
    """

    def __init__(self, context: Context, socket: Socket, on_handshakes: Callable[[Handshakes], None]) -> None:
        """`on_handshakes` is told how they went since the last look, if there were any."""
        endpoint = f"inproc://conflux.monitor.{socket.underlying:x}"
        self._watched = socket
        self._on_handshakes = on_handshakes
        self._in_a_row = 0
        socket.monitor(endpoint, _CUT_SHORT | _REFUSED | _SUCCEEDED)
        self._events = context.socket(zmq.PAIR)
        self._events.setsockopt(zmq.LINGER, 0)
        self._events.setsockopt(zmq.RCVHWM, 0)
        self._events.connect(endpoint)

    def look(self) -> bool:
        """Take the events that are there. True: there may be more."""
        seen = 0
        found = Handshakes()
        try:
            while seen < EVENTS_A_TURN_MAX:
                event, _ = _EVENT.unpack(self._events.recv(zmq.NOBLOCK))
                self._events.recv(zmq.NOBLOCK)  # the endpoint
                seen += 1
                found.refused += bool(event & _REFUSED)
                found.cut_short += bool(event & _CUT_SHORT)
                self._in_a_row = 0 if event & _SUCCEEDED else self._in_a_row + bool(event & (_REFUSED | _CUT_SHORT))
        except zmq.Again:
            pass
        if seen:
            found.in_a_row = self._in_a_row
            self._on_handshakes(found)
        return seen == EVENTS_A_TURN_MAX

    def close(self) -> None:
        """To be called before the watched socket is closed."""
        self._watched.disable_monitor()
        self._events.close()
