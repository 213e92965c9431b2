"""A frame: a fixed header, then one message as msgpack. The header is judged before the rest is decoded.

Between nodes: version, kind, cluster, sender, receiver, term. With clients: version, kind. What doesn't decode, or is
of another version, raises `MalformedFrame`: its receiver counts and drops it.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Any

import msgspec

from conflux.errors import MalformedFrame

PROTOCOL_VERSION = 1
NOBODY = "0" * 32  # the receiver of a greeting, whose identity isn't known yet
NO_CLUSTER = "0" * 32
ROUTES_KEPT = 256

_ID_DIGITS = 32

_PEER_HEADER = struct.Struct(">BB48sQ")
_CLIENT_HEADER = struct.Struct(">BB")


class PeerFrame(msgspec.Struct, frozen=True):
    """A decoded frame from a node."""

    cluster: str
    sender: str
    receiver: str
    term: int
    message: Any  # one of the types of the Family that decoded it


class Family:
    """The message types of one side of the wire, numbered; a number is never used again for another type."""

    def __init__(self, types: dict[int, type]) -> None:
        self._encode = msgspec.msgpack.Encoder().encode
        self._decoders: dict[int, msgspec.msgpack.Decoder[Any]] = {
            kind: msgspec.msgpack.Decoder(of) for kind, of in types.items()
        }
        self._kinds = {of: kind for kind, of in types.items()}

    def encode_for_client(self, message: object) -> bytes:
        """A frame between a node and a client."""
        return _CLIENT_HEADER.pack(PROTOCOL_VERSION, self._kinds[type(message)]) + self._encode(message)

    def encode_for_peer(self, message: object, *, cluster: str, sender: str, receiver: str, term: int = 0) -> bytes:
        """A frame between nodes."""
        kind, route = self._kinds[type(message)], _packed_route(cluster, sender, receiver)
        return _PEER_HEADER.pack(PROTOCOL_VERSION, kind, route, term) + self._encode(message)

    def decode_from_client(self, frame: bytes) -> Any:
        """The message in a frame between a node and a client.

        Raises:
            MalformedFrame: it is none.
        """
        if len(frame) < _CLIENT_HEADER.size:
            raise MalformedFrame("shorter than its header")
        version, kind = _CLIENT_HEADER.unpack_from(frame)
        return self._decode(version, kind, memoryview(frame)[_CLIENT_HEADER.size :])

    def decode_from_peer(self, frame: bytes) -> PeerFrame:
        """The message in a frame between nodes.

        Raises:
            MalformedFrame: it is none.
        """
        if len(frame) < _PEER_HEADER.size:
            raise MalformedFrame("shorter than its header")
        version, kind, route, term = _PEER_HEADER.unpack_from(frame)
        message = self._decode(version, kind, memoryview(frame)[_PEER_HEADER.size :])
        return PeerFrame(*_route_of(route), term, message)

    def _decode(self, version: int, kind: int, body: memoryview) -> Any:
        if version != PROTOCOL_VERSION:
            raise MalformedFrame(f"protocol version {version}, not {PROTOCOL_VERSION}")
        decoder = self._decoders.get(kind)
        if decoder is None:
            raise MalformedFrame(f"kind {kind} is unknown")
        try:
            return decoder.decode(body)
        except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
            raise MalformedFrame(str(error)) from error


@lru_cache(maxsize=ROUTES_KEPT)
def _packed_route(cluster: str, sender: str, receiver: str) -> bytes:
    return bytes.fromhex(cluster + sender + receiver)


@lru_cache(maxsize=ROUTES_KEPT)
def _route_of(packed: bytes) -> tuple[str, str, str]:
    """(cluster, sender, receiver): the same few stand in all frames of a node."""
    text = packed.hex()
    return text[:_ID_DIGITS], text[_ID_DIGITS : 2 * _ID_DIGITS], text[2 * _ID_DIGITS :]
