"""Who may come in: the ZAP handler of one channel (ZeroMQ RFC 27), served by the channel's own loop.

libzmq asks `inproc://zeromq.zap.01` in the socket's context about every key that completes a handshake, and holds that
one connection back until it is answered; no thread waits. No handler, an unknown domain, another mechanism or an
unknown key: denied.
"""

from __future__ import annotations

from collections.abc import Mapping

import zmq
from zmq.utils import z85

from conflux.transport.counters import Complaints, Counters
from conflux.transport.sockets import Context

ENDPOINT = "inproc://zeromq.zap.01"
REQUESTS_A_TURN_MAX = 256
_VERSION = b"1.0"
_REQUEST_PARTS_MIN = 6  # version, request, domain, address, routing id, mechanism; then the mechanism's credentials


class Doorkeeper:
    """Admits, per domain, the public keys that it was given and no others; or anyone, where there are no keys."""

    def __init__(
        self,
        context: Context,
        admitted: Mapping[bytes, frozenset[bytes] | None],
        counters: Counters,
        complaints: Complaints,
    ) -> None:
        """`admitted`: domain to public keys in Z85, or to None for all. To be made before its sockets bind."""
        self._admitted = {domain: _allowed(keys) for domain, keys in admitted.items()}
        self._counters = counters
        self._complaints = complaints
        self.socket = context.socket(zmq.REP)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(ENDPOINT)

    def serve(self) -> None:
        """Answer the requests that are waiting; what is left over is for the next turn."""
        try:
            for _ in range(REQUESTS_A_TURN_MAX):
                self.socket.send_multipart(self._answer(self.socket.recv_multipart(zmq.NOBLOCK)), zmq.NOBLOCK)
        except zmq.Again:
            pass

    def close(self) -> None:
        self.socket.close()

    def _answer(self, request: list[bytes]) -> list[bytes]:
        request_id = request[1] if len(request) > 1 else b""
        if len(request) >= _REQUEST_PARTS_MIN:
            version, _, domain, address, _, mechanism, *credentials = request
            allowed = self._admitted.get(domain, frozenset())
            if version == _VERSION and (mechanism, *credentials) in allowed:
                user_id = z85.encode(credentials[0]) if credentials else b""
                return [_VERSION, request_id, b"200", b"OK", user_id, b""]
            self._refused(domain, address)
        return [_VERSION, request_id, b"400", b"Denied", b"", b""]

    def _refused(self, domain: bytes, address: bytes) -> None:
        self._counters.handshakes_refused += 1
        port = domain.decode("ascii", "replace")
        host = address.decode("ascii", "replace")
        self._complaints.complain(f"refused {port}", "%s came to %s with a key that is not admitted there.", host, port)


def _allowed(keys: frozenset[bytes] | None) -> frozenset[tuple[bytes, ...]]:
    """Mechanism and credentials as they stand in a request: the key as 32 raw bytes, not as Z85 (J11)."""
    if keys is None:
        return frozenset({(b"NULL",)})
    return frozenset((b"CURVE", z85.decode(key)) for key in keys)
