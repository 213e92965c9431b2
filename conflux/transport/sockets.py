"""What all ZeroMQ sockets of Conflux have in common: their limits, their keys, and how they are read and closed.

libzmq's defaults wait for ever, queue without end and trust everyone. Every socket passes through `limit` and, where
there is a key, through `serve_with` or `connect_with`; the codes name the case in which a default does harm.
"""

from __future__ import annotations

import threading

import zmq

from conflux import limits
from conflux.transport.keys import KeyPair

Socket = zmq.Socket[bytes]
Context = zmq.Context[Socket]

# libzmq holds MAXMSGSIZE against what is on the wire: CURVE adds a command's name, a nonce, a flag and a MAC, 33 bytes.
CURVE_OVERHEAD_BYTES_MAX = 64
CONNECT_MS = (
    limits.HANDSHAKE_MS
)  # the kernel's own pauses between SYNs grow to a minute: a healed link would wait for them
_READABLE = int(zmq.POLLIN)
KEEPALIVE_SECONDS = 10
KEEPALIVE_PROBES = 3
SOCKETS_MAX = 4 * limits.PEERS_MAX
ASKED_MAX = 4  # messages behind which a socket is asked whether it has more
TERMINATE_SECONDS_MAX = 0.5


def new_context() -> Context:
    """A context of its own for each channel: the address of the ZAP handler is one a context."""
    context: Context = zmq.Context()
    context.set(zmq.MAX_SOCKETS, SOCKETS_MAX)
    return context


def limit(socket: Socket, *, ipv6: bool) -> None:
    """Bound what a socket waits for and keeps."""
    options = {
        zmq.LINGER: 0,  # D10: close never waits for unsent frames
        zmq.SNDHWM: limits.SEND_HIGH_WATER_MARK,  # D2, D4
        zmq.RCVHWM: limits.RECEIVE_HIGH_WATER_MARK,
        zmq.MAXMSGSIZE: limits.FRAME_BYTES_MAX + CURVE_OVERHEAD_BYTES_MAX,  # D6
        zmq.HANDSHAKE_IVL: limits.HANDSHAKE_MS,  # D8
        zmq.HEARTBEAT_IVL: limits.LINK_HEARTBEAT_MS,  # D12
        zmq.HEARTBEAT_TIMEOUT: limits.LINK_TIMEOUT_MS,
        zmq.HEARTBEAT_TTL: limits.LINK_TIMEOUT_MS,
        zmq.TCP_MAXRT: limits.LINK_TIMEOUT_MS,
        zmq.TCP_KEEPALIVE: 1,
        zmq.TCP_KEEPALIVE_IDLE: KEEPALIVE_SECONDS,
        zmq.TCP_KEEPALIVE_INTVL: KEEPALIVE_SECONDS,
        zmq.TCP_KEEPALIVE_CNT: KEEPALIVE_PROBES,
        zmq.RECONNECT_IVL: limits.RECONNECT_MS_MIN,  # D9
        zmq.RECONNECT_IVL_MAX: limits.RECONNECT_MS_MAX,
        zmq.CONNECT_TIMEOUT: CONNECT_MS,
        zmq.IPV6: int(ipv6),
    }
    for option, value in options.items():
        socket.setsockopt(option, value)


def new_router(context: Context, *, ipv6: bool) -> Socket:
    """A socket that others connect to. Routing ids stay random and are never handed over (D5)."""
    socket = context.socket(zmq.ROUTER)
    limit(socket, ipv6=ipv6)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)  # D1: a client that is gone is an error, not a silence
    return socket


def new_dealer(context: Context, *, ipv6: bool) -> Socket:
    """A socket that connects to one address."""
    socket = context.socket(zmq.DEALER)
    limit(socket, ipv6=ipv6)
    socket.setsockopt(zmq.IMMEDIATE, 1)  # D3: nothing is queued for a node that isn't there
    return socket


def serve_with(socket: Socket, pair: KeyPair | None, domain: bytes) -> None:
    """Demand CURVE if there is a pair, and ask the ZAP handler: no handler, no admission (J2, J3, J11).

    It is asked without CURVE too, since libzmq then refuses ZMTP 1.0 and 2.0: any text whose first byte isn't 0xff
    passes for ZMTP 1.0, which has no handshake, no heartbeats and so no end (D8).
    """
    socket.setsockopt(zmq.ZAP_DOMAIN, domain)
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    if pair is not None:
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, pair.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, pair.secret)


def connect_with(socket: Socket, pair: KeyPair, server_public: bytes) -> None:
    """Come with `pair`, and speak only to who holds the secret of `server_public`."""
    socket.setsockopt(zmq.CURVE_PUBLICKEY, pair.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, pair.secret)
    socket.setsockopt(zmq.CURVE_SERVERKEY, server_public)


def drain_router(socket: Socket, messages_max: int) -> tuple[list[tuple[bytes, bytes]], int]:
    """(routing id, frame) of up to `messages_max` waiting messages, and how many of them were malformed and left out.

    Whether there is one more is asked after the first few only: mostly there are no more than those, and an error costs
    more than a question; behind many the last `recv` fails. The parts of a message arrive together, so only the first
    `recv` can fail.
    """
    messages: list[tuple[bytes, bytes]] = []
    malformed = 0
    recv, getsockopt = socket.recv, socket.getsockopt
    try:
        for number in range(messages_max):
            if 0 < number <= ASKED_MAX and is_empty(socket):
                break
            routing_id = recv(zmq.NOBLOCK)
            frame = recv(zmq.NOBLOCK)
            if getsockopt(zmq.RCVMORE) or len(frame) > limits.FRAME_BYTES_MAX:
                _skip_rest(socket)
                malformed += 1
            else:
                messages.append((routing_id, frame))
    except zmq.Again:
        pass
    return messages, malformed


def drain_dealer(socket: Socket, messages_max: int) -> tuple[list[bytes], int]:
    """Frames of up to `messages_max` waiting messages, and how many of them were malformed and left out."""
    frames: list[bytes] = []
    malformed = 0
    try:
        for number in range(messages_max):
            if 0 < number <= ASKED_MAX and is_empty(socket):
                break
            frame = socket.recv(zmq.NOBLOCK)
            if socket.getsockopt(zmq.RCVMORE) or len(frame) > limits.FRAME_BYTES_MAX:
                _skip_rest(socket)
                malformed += 1
            else:
                frames.append(frame)
    except zmq.Again:
        pass
    return frames, malformed


def is_empty(socket: Socket) -> bool:
    """True where a socket has nothing to read."""
    return not int(socket.getsockopt(zmq.EVENTS)) & _READABLE


def _skip_rest(socket: Socket) -> None:
    """Read the parts that should not be there, keeping none (D7). They are all here already."""
    while socket.getsockopt(zmq.RCVMORE):
        socket.recv(zmq.NOBLOCK)


def terminate(context: Context) -> None:
    """End a context whose sockets are closed, so that its ports are free when the call returns (D10).

    That takes a few milliseconds, unless libzmq's thread is looking up a host's name: nobody waits for that, it ends by
    itself.
    """
    thread = threading.Thread(target=context.term, name="conflux-transport-end", daemon=True)
    thread.start()
    thread.join(TERMINATE_SECONDS_MAX)
