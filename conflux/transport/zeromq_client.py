"""A client's end on ZeroMQ: one DEALER a node, connected to the node's port for clients."""

from __future__ import annotations

from conflux.transport.counters import Counters
from conflux.transport.keys import ClusterKey
from conflux.transport.sockets import drain_dealer, new_context, terminate
from conflux.transport.zeromq_links import Links
from conflux.transport.zeromq_poll import Waiting


class ZeroMQClientChannel:
    """Links of a client to any number of nodes; open when constructed. See `ClientChannel` for its promises.

    One thread owns it; only `wake` may be called from others (D11). A link that was just dialled is down until its
    handshake is done, so the first `send` may say False: after a False, `poll` ends as soon as that link takes a frame.
    """

    def __init__(self, key: ClusterKey | None) -> None:
        self._counters = Counters()
        self._context = new_context()
        self._waiting = Waiting()
        self._links = Links(
            self._context,
            self._waiting,
            self._counters,
            endpoint=lambda address: address.client_endpoint,
            keys=None if key is None else (key.client_pair(), key.peer_pair().public),
            are_read=True,
            failures_min=1,  # it is spoken of only where no node ever answered
        )
        self._calls = 0
        self._closed = False

    def dial(self, address: str) -> None:
        if not self._closed:
            self._links.dial(address)

    def hang_up(self, address: str) -> None:
        self._links.hang_up(address)

    def send(self, address: str, frame: bytes) -> bool:
        if self._links.send(address, frame):
            self._counters.client_frames_sent += 1
            return True
        self._counters.client_frames_dropped += 1
        dealer = self._links.dealers.get(address)
        if dealer is not None:
            self._waiting.watch_for_room(dealer)
        return False

    def poll(self, timeout_s: float) -> None:
        """Until a frame may be there, a link that refused a frame takes one, `wake` was called, or time is over."""
        if not self._closed:
            self._waiting.wait(timeout_s)

    def receive(self, frames_max: int) -> list[tuple[str, bytes]]:
        """(address of the node, frame): oldest first for each node, another node first at each call."""
        received: list[tuple[str, bytes]] = []
        ready = [(address, dealer) for address, dealer in self._links.dealers.items() if dealer in self._waiting.ready]
        self._calls += 1
        for at in range(len(ready)):
            address, dealer = ready[(self._calls + at) % len(ready)]
            frames, malformed = drain_dealer(dealer, frames_max - len(received))
            self._counters.messages_malformed += malformed
            received += [(address, frame) for frame in frames]
        self._counters.client_frames_received += len(received)
        return received

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
        terminate(self._context)
