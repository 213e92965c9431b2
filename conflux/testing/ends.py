"""The ends of a simulated network: a node's `Channel` and a client's `ClientChannel`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from conflux import limits
from conflux.testing.clock import SimulatedClock

if TYPE_CHECKING:
    from conflux.testing.network import SimulatedNetwork

INBOX_FRAMES_MAX = limits.SEND_HIGH_WATER_MARK + limits.RECEIVE_HIGH_WATER_MARK


class NodeEnd:
    """One node's end. See `Channel` for its promises.

    Attributes:
        key: of its cluster; a client with another one gets no link. Other nodes do, as in a cluster without keys.
    """

    key = ""

    def __init__(
        self, network: SimulatedNetwork, place: str, address: str, clock: SimulatedClock, wake: Callable[[], None]
    ) -> None:
        self.place = place
        self.frames_taken = 0
        self.news_told = 0  # frames to clients that differ from the one before
        self._told: dict[bytes, bytes] = {}  # the last one, by client
        self._network = network
        self._address = address
        self._clock = clock
        self._wake = wake
        self._open = True
        self._dialled: set[str] = set()
        self._from_peers: deque[bytes] = deque()
        self._from_clients: deque[tuple[bytes, bytes]] = deque()
        self._links: dict[bytes, ClientLink] = {}
        self._handles: dict[ClientLink, bytes] = {}

    @property
    def address(self) -> str:
        return self._address

    @property
    def is_full(self) -> bool:
        """True where no frame more can wait here."""
        return len(self._from_peers) + len(self._from_clients) >= INBOX_FRAMES_MAX

    @property
    def has_frames(self) -> bool:
        """True where a turn has something to take."""
        return bool(self._from_peers or self._from_clients)

    def dial(self, address: str) -> None:
        if address != self._address and len(self._dialled) < limits.PEERS_MAX:
            self._dialled.add(address)

    def hang_up(self, address: str) -> None:
        self._dialled.discard(address)

    def send(self, address: str, frame: bytes) -> bool:
        if not self._open or address not in self._dialled:
            return False
        return self._network.to_node(self.place, self._clock.true_s, address, frame, None)

    def reply(self, client: bytes, frame: bytes) -> bool:
        link = self._links.get(client)
        if not self._open or link is None or not link.is_open:
            return False
        if self._told.get(client) != frame:
            self._told[client] = frame
            self.news_told += 1
        return self._network.to_client(self.place, self._clock.true_s, link, frame)

    def poll(self, timeout_s: float) -> None:
        """Nothing to wait for: the schedule turns the node."""

    def receive_from_peers(self, frames_max: int) -> list[bytes]:
        frames = [self._from_peers.popleft() for _ in range(min(frames_max, len(self._from_peers)))]
        self.frames_taken += len(frames)
        return frames

    def receive_from_clients(self, frames_max: int) -> list[tuple[bytes, bytes]]:
        frames = [self._from_clients.popleft() for _ in range(min(frames_max, len(self._from_clients)))]
        self.frames_taken += len(frames)
        return frames

    def receive_more_from_clients(self, frames_max: int) -> list[tuple[bytes, bytes]]:
        """As a channel's."""
        return self.receive_from_clients(frames_max)

    def wake(self) -> None:
        self._wake()

    def refusing(self) -> list[str]:
        return []

    def counters(self) -> dict[str, int]:
        return dict(self._network.counts)

    def close(self) -> None:
        if self._open:
            self._open = False
            self._network.leave(self)

    def take_from_peer(self, frame: bytes) -> None:
        """The network brings a frame of a node."""
        self._from_peers.append(frame)
        self._wake()

    def take_from_client(self, link: ClientLink, frame: bytes) -> None:
        """The network brings a frame of a client. Its handle is of this opening: a restart makes another."""
        handle = self._handles.get(link)
        if handle is None:
            handle = self._network.new_handle()
            self._handles[link], self._links[handle] = handle, link
        self._from_clients.append((handle, frame))
        self._wake()


class ClientLink:
    """A client's link to an address."""

    def __init__(self, client: ClientEnd, address: str) -> None:
        self.client = client
        self.address = address
        self.is_open = True


class ClientEnd:
    """One client's end. See `ClientChannel` for its promises.

    Attributes:
        key: of the cluster that it was made for.
    """

    key = ""

    def __init__(self, network: SimulatedNetwork, place: str, clock: SimulatedClock, wake: Callable[[], None]) -> None:
        self.place = place
        self._network = network
        self._clock = clock
        self._wake = wake
        self._links: dict[str, ClientLink] = {}
        self._inbox: deque[tuple[str, bytes]] = deque()

    def dial(self, address: str) -> None:
        if address not in self._links:
            self._links[address] = ClientLink(self, address)

    def hang_up(self, address: str) -> None:
        if link := self._links.pop(address, None):
            link.is_open = False

    def send(self, address: str, frame: bytes) -> bool:
        link = self._links.get(address)
        return link is not None and self._network.to_node(self.place, self._clock.true_s, address, frame, link)

    def poll(self, timeout_s: float) -> None:
        """Nothing to wait for: the schedule turns the client."""

    def receive(self, frames_max: int) -> list[tuple[str, bytes]]:
        return [self._inbox.popleft() for _ in range(min(frames_max, len(self._inbox)))]

    def refusing(self) -> list[str]:
        return []

    def wake(self) -> None:
        self._wake()

    def close(self) -> None:
        for address in [*self._links]:
            self.hang_up(address)
        self._inbox.clear()

    def take(self, address: str, frame: bytes) -> None:
        """The network brings a frame of a node."""
        if len(self._inbox) < INBOX_FRAMES_MAX:
            self._inbox.append((address, frame))
            self._wake()
