"""What happened, for people and as one hash: two runs of a seed must agree in it."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from struct import Struct
from typing import Any

from conflux.errors import MalformedFrame
from conflux.wire.clients import CLIENTS
from conflux.wire.frames import NOBODY
from conflux.wire.peers import PEERS, Forward, ForwardReply

_TEXT_MAX = 240


class Trace:
    """Takes note of everything.

    Args:
        tell: takes readable lines; None: nobody reads.
    """

    def __init__(self, tell: Callable[[str], None] | None = None) -> None:
        self.now_s: Callable[[], float] = lambda: 0.0
        self.names: dict[str, str] = {}  # identity → label
        self._tell = tell
        self._hash = blake2b(digest_size=8)
        self._pack = Struct(">d").pack

    @property
    def digest(self) -> str:
        """The hash of all that was noted."""
        return self._hash.hexdigest()

    def note(self, place: str, what: str, *details: Any, shown: Any = None) -> None:
        """Something happened.

        Args:
            shown: what readers see instead of the details; put into words for them alone.
        """
        now_s = self.now_s()
        self._hash.update(f"{now_s!r} {place} {what} {details}".encode())
        if self._tell is not None:
            text = " ".join(map(str, details)) if shown is None else _cut(str(shown))
            self._tell(self._named(f"{now_s:.6f} {place} {what} {text}"))

    def message(self, place: str, what: str, message: Any) -> None:
        """A message went by without a frame."""
        self.note(place, what, CLIENTS.encode_for_client(message), shown=message)

    def frame(self, source: str, place: str, frame: bytes, between_nodes: bool) -> None:
        """A frame arrived."""
        self._hash.update(self._pack(self.now_s()))
        self._hash.update(frame)
        if self._tell is not None:
            self._tell(f"{self.now_s():.6f} {source} -> {place}  {self._named(describe(frame, between_nodes))}")

    def _named(self, text: str) -> str:
        for identity, name in self.names.items():
            text = text.replace(identity, name)
        return text


def describe(frame: bytes, between_nodes: bool) -> str:
    """A frame of either family, readable."""
    if not between_nodes:
        return _describe_client(frame)
    try:
        peer = PEERS.decode_from_peer(frame)
    except MalformedFrame:
        return _cut(str(frame))
    match peer.message:
        case Forward(frame=inner) | ForwardReply(frame=inner):
            text = f"{type(peer.message).__name__}[{_describe_client(inner)}]"
        case message:
            text = str(message)
    receiver = "anyone" if peer.receiver == NOBODY else peer.receiver
    return _cut(f"{peer.sender} to {receiver} term {peer.term}: {text}")


def _describe_client(frame: bytes) -> str:
    try:
        return _cut(str(CLIENTS.decode_from_client(frame)))
    except MalformedFrame:
        return _cut(str(frame))


def _cut(text: str) -> str:
    return text if len(text) <= _TEXT_MAX else f"{text[:_TEXT_MAX]}…"
