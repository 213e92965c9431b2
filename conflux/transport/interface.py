"""What a node asks of a channel: the `Channel` protocol.

A channel carries frames, opaque bytes of at most `limits.FRAME_BYTES_MAX`, between the nodes of one cluster and between
a node and its clients. It promises little: a frame arrives whole, once or not at all, and frames from one sender arrive
in the order they were sent. Nothing here ever waits but `poll`.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class Channel(Protocol):
    """One node's end of a channel. Its owner's thread uses it; only `wake` may be called from another."""

    @property
    def address(self) -> str:
        """What others dial, peers and clients alike; known once the channel is open."""
        ...

    def dial(self, address: str) -> None:
        """Keep a link to the node at `address` from now on. Dialling twice, or oneself, is harmless."""
        ...

    def hang_up(self, address: str) -> None:
        """End the link to `address`; harmless where there is none."""
        ...

    def send(self, address: str, frame: bytes) -> bool:
        """Hand a frame to a dialled peer. False: dropped, since the link is down or full. Never waits."""
        ...

    def reply(self, client: bytes, frame: bytes) -> bool:
        """Hand a frame to a client by the handle that came with its frame. False: gone, or too slow to read."""
        ...

    def poll(self, timeout_s: float) -> None:
        """Wait until a frame may be there, `wake` was called or the time is over.

        To be called every turn, with 0 if there is other work: newcomers are admitted in here.
        """
        ...

    def receive_from_peers(self, frames_max: int) -> list[bytes]:
        """Frames of peers that have arrived, oldest first. Who sent one stands in the frame."""
        ...

    def receive_from_clients(self, frames_max: int) -> list[tuple[bytes, bytes]]:
        """(client's handle, frame) of clients that have arrived, oldest first."""
        ...

    def receive_more_from_clients(self, frames_max: int) -> list[tuple[bytes, bytes]]:
        """Those that have arrived since the last `poll`: for who has worked since then and has room for more."""
        ...

    def wake(self) -> None:
        """End a `poll` that waits, or the next one. The only method that is safe from any thread."""
        ...

    def refusing(self) -> list[str]:
        """Dialled addresses where something answers and does not take the handshake, again and again."""
        ...

    def counters(self) -> dict[str, int]:
        """Counts since the channel was opened: the fields of `conflux.transport.counters.Counters`."""
        ...

    def close(self) -> None:
        """End all links at once, dropping what is unsent. Calling twice is harmless."""
        ...


class ClientChannel(Protocol):
    """A client's end: links to any number of nodes, with the same promises."""

    def dial(self, address: str) -> None: ...

    def hang_up(self, address: str) -> None: ...

    def send(self, address: str, frame: bytes) -> bool: ...

    def poll(self, timeout_s: float) -> None:
        """As a node's; it also ends when a link that refused a frame takes frames again, e.g. is up after `dial`."""
        ...

    def receive(self, frames_max: int) -> list[tuple[str, bytes]]:
        """(address of the node, frame), oldest first."""
        ...

    def refusing(self) -> list[str]:
        """As a node's."""
        ...

    def wake(self) -> None: ...

    def close(self) -> None: ...
