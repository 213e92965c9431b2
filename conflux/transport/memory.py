"""The channel between nodes and clients of one process: queues in a hub, with the promises and limits of the others."""

from __future__ import annotations

import threading
from typing import ClassVar

from conflux import limits
from conflux.raft.invariant import invariant
from conflux.transport.address import PortTaken
from conflux.transport.counters import Complaints, Counters
from conflux.transport.memory_inbox import Bell, Inbox


class MemoryHub:
    """A meeting place: channels of one hub reach each other by address. Any thread may use it."""

    _named: ClassVar[dict[str, MemoryHub]] = {}
    _named_lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._nodes: dict[str, MemoryChannel] = {}
        self._links: dict[bytes, tuple[MemoryClientChannel, str]] = {}
        self._addresses_made = 0
        self._links_made = 0

    @classmethod
    def named(cls, name: str) -> MemoryHub:
        """The hub of that name, one in a process, made when it is first asked for."""
        with cls._named_lock:
            return cls._named.setdefault(name, cls())

    def addresses(self) -> list[str]:
        """The addresses of all open nodes, sorted."""
        with self._lock:
            return sorted(self._nodes)

    def _join(self, node: MemoryChannel, address: str | None) -> str:
        with self._lock:
            if address is None:
                self._addresses_made += 1
                address = f"memory:{self._addresses_made}"
            if address in self._nodes:
                raise PortTaken(f"The address {address} is taken in this hub.")
            self._nodes[address] = node
            callers = [client for client, target in self._links.values() if target == address]
        for client in callers:
            client.wake()  # a client whose frame was refused may try again
        return address

    def _leave(self, node: MemoryChannel) -> None:
        with self._lock:
            if self._nodes.get(node.address) is node:
                del self._nodes[node.address]

    def _node(self, address: str) -> MemoryChannel | None:
        with self._lock:
            return self._nodes.get(address)

    def _link(self, client: MemoryClientChannel, address: str) -> bytes:
        """A handle for the link, never used before: a late answer finds nobody rather than somebody else."""
        with self._lock:
            self._links_made += 1
            handle = self._links_made.to_bytes(8, "big")
            self._links[handle] = (client, address)
            return handle

    def _unlink(self, handle: bytes) -> None:
        with self._lock:
            self._links.pop(handle, None)

    def _linked(self, handle: bytes, address: str) -> MemoryClientChannel | None:
        """The client at the other end of a link to `address`."""
        with self._lock:
            client, target = self._links.get(handle, (None, ""))
            return client if target == address else None


class _Dialled:
    """Which addresses a channel has dialled; the same refusals as between processes, but for the form of an address."""

    def __init__(self, counters: Counters) -> None:
        self.handles: dict[str, bytes] = {}
        self._counters = counters
        self._complaints = Complaints()

    def may_add(self, address: str) -> bool:
        if address in self.handles:
            return False
        if len(self.handles) >= limits.PEERS_MAX:
            self._counters.dials_refused += 1
            self._complaints.complain("dial", "%r is not dialled: there are %d links.", address, limits.PEERS_MAX)
            return False
        return True


def _check_length(frame: bytes) -> None:
    invariant(len(frame) <= limits.FRAME_BYTES_MAX, "a frame is no longer than limits.FRAME_BYTES_MAX")


class MemoryChannel:
    """A node's end in a hub; open when constructed. See `Channel` for its promises."""

    def __init__(self, hub: MemoryHub, address: str | None = None) -> None:
        """Be known as `address`, or by one that the hub makes.

        Raises:
            PortTaken: another open channel of the hub has the address.
        """
        self._hub = hub
        self._counters = Counters()
        self._bell = Bell()
        self._from_peers: Inbox[bytes] = Inbox(self._bell)
        self._from_clients: Inbox[tuple[bytes, bytes]] = Inbox(self._bell)
        self._dialled = _Dialled(self._counters)
        self._address = ""
        self._address = hub._join(self, address)

    @property
    def address(self) -> str:
        return self._address

    def dial(self, address: str) -> None:
        if not self._bell.closed and self._dialled.may_add(address):
            self._dialled.handles[address] = b""

    def hang_up(self, address: str) -> None:
        self._dialled.handles.pop(address, None)

    def send(self, address: str, frame: bytes) -> bool:
        _check_length(frame)
        if not self._bell.closed and address in self._dialled.handles:
            peer = self._hub._node(address)
            if peer is not None and peer._from_peers.put(frame):
                self._counters.peer_frames_sent += 1
                return True
        self._counters.peer_frames_dropped += 1
        return False

    def reply(self, client: bytes, frame: bytes) -> bool:
        _check_length(frame)
        if not self._bell.closed:
            receiver = self._hub._linked(client, self._address)
            if receiver is not None and receiver._inbox.put((self._address, frame)):
                self._counters.client_frames_sent += 1
                return True
        self._counters.client_frames_dropped += 1
        return False

    def poll(self, timeout_s: float) -> None:
        self._bell.wait(timeout_s, lambda: bool(self._from_peers or self._from_clients))

    def receive_from_peers(self, frames_max: int) -> list[bytes]:
        frames = self._from_peers.take(frames_max)
        self._counters.peer_frames_received += len(frames)
        return frames

    def receive_from_clients(self, frames_max: int) -> list[tuple[bytes, bytes]]:
        frames = self._from_clients.take(frames_max)
        self._counters.client_frames_received += len(frames)
        return frames

    def receive_more_from_clients(self, frames_max: int) -> list[tuple[bytes, bytes]]:
        return self.receive_from_clients(frames_max)

    def wake(self) -> None:
        self._bell.ring()

    def refusing(self) -> list[str]:
        return []

    def counters(self) -> dict[str, int]:
        return self._counters.as_dict()

    def close(self) -> None:
        if self._bell.close():
            self._hub._leave(self)
            self._dialled.handles.clear()
            self._from_peers.clear()
            self._from_clients.clear()


class MemoryClientChannel:
    """A client's end in a hub. See `ClientChannel` for its promises."""

    def __init__(self, hub: MemoryHub) -> None:
        self._hub = hub
        self._counters = Counters()
        self._bell = Bell()
        self._inbox: Inbox[tuple[str, bytes]] = Inbox(self._bell)
        self._dialled = _Dialled(self._counters)

    def dial(self, address: str) -> None:
        if not self._bell.closed and self._dialled.may_add(address):
            self._dialled.handles[address] = self._hub._link(self, address)

    def hang_up(self, address: str) -> None:
        handle = self._dialled.handles.pop(address, None)
        if handle is not None:
            self._hub._unlink(handle)

    def send(self, address: str, frame: bytes) -> bool:
        _check_length(frame)
        handle = self._dialled.handles.get(address)
        node = None if handle is None else self._hub._node(address)
        if handle is not None and node is not None and node._from_clients.put((handle, frame)):
            self._counters.client_frames_sent += 1
            return True
        self._counters.client_frames_dropped += 1
        return False

    def poll(self, timeout_s: float) -> None:
        self._bell.wait(timeout_s, lambda: bool(self._inbox))

    def receive(self, frames_max: int) -> list[tuple[str, bytes]]:
        frames = self._inbox.take(frames_max)
        self._counters.client_frames_received += len(frames)
        return frames

    def wake(self) -> None:
        self._bell.ring()

    def refusing(self) -> list[str]:
        return []

    def counters(self) -> dict[str, int]:
        return self._counters.as_dict()

    def close(self) -> None:
        if self._bell.close():
            for address in list(self._dialled.handles):
                self.hang_up(address)
            self._inbox.clear()
