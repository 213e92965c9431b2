"""A node's end on ZeroMQ.

A node listens on two neighbouring ports, so that clients can't get in the way of heartbeats: PORT for clients, PORT + 1
for peers, each a ROUTER. To each dialled peer goes a DEALER of its own: frames *to* a peer leave by its DEALER, frames
*from* peers arrive at the ROUTER. What that socket knows of a sender, its routing id, says nothing and is not looked at
(J4): the sender stands in the frame.

With a cluster key all is CURVE, and the peers' port admits the peer pair only, the clients' port the client pair too
(J9).
"""

from __future__ import annotations

from functools import partial

import zmq

from conflux import limits
from conflux.raft.invariant import invariant
from conflux.transport.counters import Complaints, Counters
from conflux.transport.keys import ClusterKey, KeyPair
from conflux.transport.sockets import drain_router, is_empty, new_context, new_router, serve_with, terminate
from conflux.transport.zap import Doorkeeper
from conflux.transport.zeromq_links import Links
from conflux.transport.zeromq_listen import advertised, allowed_bind, listen
from conflux.transport.zeromq_monitor import HandshakeMonitor, Handshakes
from conflux.transport.zeromq_poll import Waiting

# The domains of ZAP, and what the two ports are called in the log.
CLIENTS_DOMAIN = b"the clients' port"
PEERS_DOMAIN = b"the peers' port"


class ZeroMQChannel:
    """Both ports of a node and its links to peers; open when constructed. See `Channel` for its promises.

    One thread owns it, from construction to close; only `wake` may be called from others (D11). Newcomers are let in by
    `poll`, so its owner calls it every turn, with a time-out of 0 if there is other work.
    """

    def __init__(
        self, bind: str, *, advertise: str | None = None, key: ClusterKey | None, insecure: bool = False
    ) -> None:
        """Listen on `bind` ("HOST:PORT", port 0: any free pair) and be known as `advertise` (default: `bind`).

        Raises:
            OptionsError: an address is malformed; nobody could dial it; or it is open to other machines with neither a
                key nor `insecure`.
            PortTaken: another program has the port, or the next one.
        """
        bind_address = allowed_bind(bind, has_key=key is not None, insecure=insecure)
        self._counters = Counters()
        self._complaints = Complaints()
        self._context = new_context()
        self._waiting = Waiting()
        self._doorkeeper = Doorkeeper(self._context, _admitted(key), self._counters, self._complaints)
        self._clients = new_router(self._context, ipv6=bind_address.is_ipv6)
        self._peers = new_router(self._context, ipv6=bind_address.is_ipv6)
        self._closed = False
        pair = None if key is None else key.peer_pair()
        self._links = Links(
            self._context,
            self._waiting,
            self._counters,
            endpoint=lambda address: address.peer_endpoint,
            keys=None if pair is None else (pair, pair.public),
            are_read=False,
        )
        try:
            self._guard(pair)
            self._address = str(advertised(advertise, bind, listen(self._clients, self._peers, bind_address)))
        except BaseException:
            self.close()
            raise

    @property
    def address(self) -> str:
        return self._address

    def dial(self, address: str) -> None:
        """Keep a link to `address`. What is no address, or one over limits.PEERS_MAX, is counted and left alone."""
        if not self._closed:
            self._links.dial(address)

    def hang_up(self, address: str) -> None:
        self._links.hang_up(address)

    def send(self, address: str, frame: bytes) -> bool:
        if self._links.send(address, frame):
            self._counters.peer_frames_sent += 1
            return True
        self._counters.peer_frames_dropped += 1
        return False

    def reply(self, client: bytes, frame: bytes) -> bool:
        invariant(len(frame) <= limits.FRAME_BYTES_MAX, "a frame is no longer than limits.FRAME_BYTES_MAX")
        if not self._closed:
            try:
                # Only the first part can be refused: the handle is unknown (EHOSTUNREACH), or its queue is full
                # (EAGAIN).
                self._clients.send(client, zmq.SNDMORE | zmq.NOBLOCK)
                self._clients.send(frame, zmq.NOBLOCK)
                self._counters.client_frames_sent += 1
                return True
            except zmq.ZMQError as error:
                if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                    raise
        self._counters.client_frames_dropped += 1
        return False

    def poll(self, timeout_s: float) -> None:
        if not self._closed:
            self._waiting.wait(timeout_s)

    def receive_from_peers(self, frames_max: int) -> list[bytes]:
        if self._peers not in self._waiting.ready:
            return []
        messages, malformed = drain_router(self._peers, frames_max)
        self._counters.peer_frames_received += len(messages)
        self._counters.messages_malformed += malformed
        return [frame for _, frame in messages]

    def receive_from_clients(self, frames_max: int) -> list[tuple[bytes, bytes]]:
        return self._drain_clients(frames_max) if self._clients in self._waiting.ready else []

    def receive_more_from_clients(self, frames_max: int) -> list[tuple[bytes, bytes]]:
        return [] if self._closed or is_empty(self._clients) else self._drain_clients(frames_max)

    def _drain_clients(self, frames_max: int) -> list[tuple[bytes, bytes]]:
        messages, malformed = drain_router(self._clients, frames_max)
        self._counters.client_frames_received += len(messages)
        self._counters.messages_malformed += malformed
        return messages

    def wake(self) -> None:
        self._waiting.waker.wake()

    def refusing(self) -> list[str]:
        return self._links.refusing()

    def counters(self) -> dict[str, int]:
        return self._counters.as_dict()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._links.close()
        self._waiting.close()
        self._clients.close()
        self._peers.close()
        self._doorkeeper.close()
        terminate(self._context)

    def _guard(self, pair: KeyPair | None) -> None:
        """Tell both sockets who watches their doors."""
        self._waiting.serve(self._doorkeeper.socket, self._doorkeeper.serve)
        for socket, domain in ((self._peers, PEERS_DOMAIN), (self._clients, CLIENTS_DOMAIN)):
            serve_with(socket, pair, domain)
            self._waiting.watch(socket)
            monitor = HandshakeMonitor(self._context, socket, partial(self._shaken, domain.decode()))
            self._waiting.look_at(socket, monitor)

    def _shaken(self, port: str, handshakes: Handshakes) -> None:
        """A handshake that was cut short is nothing to speak of: every command that ends early does that."""
        self._counters.handshakes_cut_short += handshakes.cut_short
        if handshakes.refused:
            self._counters.handshakes_failed += handshakes.refused
            message = "%d handshakes failed at %s: another cluster key, no key, or not Conflux."
            self._complaints.complain(f"failed {port}", message, handshakes.refused, port)


def _admitted(key: ClusterKey | None) -> dict[bytes, frozenset[bytes] | None]:
    """Which public keys are good at which port (J9); without a cluster key, none is asked for."""
    if key is None:
        return {PEERS_DOMAIN: None, CLIENTS_DOMAIN: None}
    peer, client = key.peer_pair().public, key.client_pair().public
    return {PEERS_DOMAIN: frozenset({peer}), CLIENTS_DOMAIN: frozenset({peer, client})}
