"""`Link`: which node a client talks to. It holds on to one that answers and moves on from one that doesn't."""

from __future__ import annotations

from typing import Any

from conflux.errors import MalformedFrame
from conflux.transport.interface import ClientChannel
from conflux.wire.clients import CLIENTS


class Link:
    """One target at a time, out of all the addresses that are known."""

    def __init__(self, channel: ClientChannel, endpoints: tuple[str, ...]) -> None:
        self.ever_heard = False
        self._channel = channel
        self._addresses = list(dict.fromkeys(endpoints))
        self._target = self._addresses[0]
        for address in self._addresses:
            channel.dial(address)

    @property
    def target(self) -> str:
        """The address that requests go to now."""
        return self._target

    @property
    def addresses(self) -> list[str]:
        """All that are known, as they were learned."""
        return list(self._addresses)

    def send(self, message: Any) -> bool:
        """Send to the target; where its link is down, to the next one whose link is up. False: none is."""
        frame = CLIENTS.encode_for_client(message)
        for _ in self._addresses:
            if self._channel.send(self._target, frame):
                return True
            self.move_on()
        return False

    def send_to(self, address: str, message: Any) -> bool:
        """Send to one node."""
        return self._channel.send(address, CLIENTS.encode_for_client(message))

    def receive(self, frames_max: int) -> list[tuple[str, Any]]:
        """(address, message), oldest first; what doesn't decode is dropped."""
        messages = []
        for address, frame in self._channel.receive(frames_max):
            try:
                messages.append((address, CLIENTS.decode_from_client(frame)))
            except MalformedFrame:
                continue
            self.ever_heard = True
        return messages

    def aim(self, address: str) -> bool:
        """Talk to the node at `address` from now on. True where that is another one."""
        self.learn([address])
        changed, self._target = address != self._target, address
        return changed

    def learn(self, addresses: list[str]) -> None:
        """Note where other nodes are."""
        for address in addresses:
            if address not in self._addresses:
                self._addresses.append(address)
                self._channel.dial(address)

    def refusing(self) -> list[str]:
        """The addresses where something answers, and does not take our key."""
        return self._channel.refusing()

    def move_on_from(self, address: str) -> None:
        """Talk to another node than this one: nothing to do where someone has named another one meanwhile."""
        if address == self._target:
            self.move_on()

    def move_on(self) -> None:
        """Talk to the next node from now on."""
        place = self._addresses.index(self._target)
        self._target = self._addresses[(place + 1) % len(self._addresses)]
