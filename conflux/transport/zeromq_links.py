"""Links to dialled addresses: one DEALER each. Nodes and clients differ in the port and the key that they come with."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import zmq

from conflux import limits
from conflux.errors import OptionsError
from conflux.raft.invariant import invariant
from conflux.transport.address import Address
from conflux.transport.counters import Complaints, Counters
from conflux.transport.keys import KeyPair
from conflux.transport.sockets import Context, Socket, connect_with, new_dealer
from conflux.transport.zeromq_monitor import HandshakeMonitor, Handshakes
from conflux.transport.zeromq_poll import Waiting

FAILURES_MIN = 3  # in a row, that one who goes away in the middle of a handshake is not taken for one who refuses


class Links:
    """The dialled addresses of one channel and their sockets."""

    def __init__(
        self,
        context: Context,
        waiting: Waiting,
        counters: Counters,
        *,
        endpoint: Callable[[Address], str],
        keys: tuple[KeyPair, bytes] | None,
        are_read: bool,
        failures_min: int = FAILURES_MIN,
    ) -> None:
        """All that the links of a channel have in common.

        Args:
            endpoint: which of an address's two.
            keys: the own pair and the public key of all nodes' sockets.
            are_read: frames come in by these links too, so they end a wait; between nodes each has its own direction.
            failures_min: so many handshakes that fail in a row are called a refusal.
        """
        self.dealers: dict[str, Socket] = {}
        self._context = context
        self._waiting = waiting
        self._counters = counters
        self._complaints = Complaints()
        self._endpoint = endpoint
        self._keys = keys
        self._are_read = are_read
        self._failures_min = failures_min
        self._refusing: set[str] = set()

    def dial(self, address: str) -> None:
        """Connect, and reconnect for ever. Addresses come from the network too: a bad one is counted, never raised."""
        if address in self.dealers:
            return
        target = _dialable(address)
        if target is None or len(self.dealers) >= limits.PEERS_MAX:
            self._counters.dials_refused += 1
            self._complaints.complain("dial", "%r is not dialled: no such address, or one too many.", address[:100])
            return
        dealer = new_dealer(self._context, ipv6=target.is_ipv6)
        if self._keys is not None:
            connect_with(dealer, *self._keys)
        monitor = HandshakeMonitor(self._context, dealer, partial(self._shaken, address))
        dealer.connect(self._endpoint(target))
        self._waiting.look_at(dealer, monitor)
        if self._are_read:
            self._waiting.watch(dealer)
        self.dealers[address] = dealer

    def hang_up(self, address: str) -> None:
        dealer = self.dealers.pop(address, None)
        self._refusing.discard(address)
        if dealer is not None:
            self._waiting.forget(dealer)
            dealer.close()

    def send(self, address: str, frame: bytes) -> bool:
        """False: not dialled, the link is down, or it is full."""
        invariant(len(frame) <= limits.FRAME_BYTES_MAX, "a frame is no longer than limits.FRAME_BYTES_MAX")
        dealer = self.dealers.get(address)
        if dealer is None:
            return False
        try:
            dealer.send(frame, zmq.NOBLOCK)
        except zmq.Again:
            return False
        return True

    def close(self) -> None:
        for address in list(self.dealers):
            self.hang_up(address)

    def refusing(self) -> list[str]:
        """Where something answers and does not take the handshake."""
        return sorted(self._refusing)

    def _shaken(self, address: str, handshakes: Handshakes) -> None:
        """From this side a refusal and one that was cut short look the same, but for how often they come."""
        self._counters.links_refused += handshakes.refused + handshakes.cut_short
        if handshakes.in_a_row < self._failures_min:
            self._refusing.discard(address)
            return
        self._refusing.add(address)
        message = "%s does not take the handshake: it has another cluster key, or isn't a Conflux node."
        self._complaints.complain(f"link {address}", message, address)


def _dialable(text: str) -> Address | None:
    try:
        address = Address.parse(text)
    except OptionsError:
        return None
    return address if address.is_dialable else None
