"""A world of channels of one kind, opened through it and closed with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import pytest

from conflux.transport.interface import Channel, ClientChannel
from conflux.transport.keys import ClusterKey
from conflux.transport.memory import MemoryChannel, MemoryClientChannel, MemoryHub
from conflux.transport.zeromq import ZeroMQChannel
from conflux.transport.zeromq_client import ZeroMQClientChannel
from tests.ports import free_pair

DEADLINE_SECONDS = 30.0  # for what takes milliseconds, on a machine that is busy with other things
SLICE_SECONDS = 0.002

T = TypeVar("T")


class World:
    """Opens channels of one kind, and turns all their loops while a test waits for something."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.key = ClusterKey.generate() if kind == "zeromq with a key" else None
        self.hub = MemoryHub()
        self._open: list[Any] = []

    def node(self, address: str | None = None) -> Channel:
        if self.kind == "memory":
            return self.add(MemoryChannel(self.hub, address))
        return self.add(ZeroMQChannel(address or "127.0.0.1:0", key=self.key))

    def client(self) -> ClientChannel:
        if self.kind == "memory":
            return self.add(MemoryClientChannel(self.hub))
        return self.add(ZeroMQClientChannel(self.key))

    def add(self, channel: T) -> T:
        """Close it at the end, and turn its loop until then."""
        self._open.append(channel)
        return channel

    def free_address(self) -> str:
        """An address that nobody has."""
        if self.kind != "memory":
            return f"127.0.0.1:{free_pair()}"
        node = self.node()
        node.close()
        return node.address

    def turn(self) -> None:
        for channel in self._open:
            channel.poll(SLICE_SECONDS)

    def until(self, condition: Callable[[], object], what: str = "it happened") -> None:
        deadline_s = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < deadline_s, f"waited in vain until {what}"
            self.turn()

    def sends(self, channel: Channel | ClientChannel, address: str, frame: bytes) -> None:
        """Send one frame, trying again while the link comes up."""
        self.until(lambda: channel.send(address, frame), f"{frame[:20]!r} was taken for {address}")

    def collects(self, receive: Callable[[int], list[T]], count: int) -> list[T]:
        """The next `count` items that `receive` gives, or more if they came at once."""
        items: list[T] = []
        self.until(lambda: items.extend(receive(1000)) or len(items) >= count, f"{count} frames have come")
        return items

    def linked(self, sender: Channel, receiver: Channel) -> None:
        """Dial, and wait until the link is up."""
        sender.dial(receiver.address)
        self.sends(sender, receiver.address, b"hello")
        assert self.collects(receiver.receive_from_peers, 1) == [b"hello"]

    def close(self) -> None:
        for channel in self._open:
            channel.close()


def world_of(kind: str) -> Iterator[World]:
    world = World(kind)
    try:
        yield world
    finally:
        world.close()


@pytest.fixture(params=["memory", "zeromq with a key", "zeromq without a key"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    yield from world_of(request.param)


@pytest.fixture(params=["zeromq with a key", "zeromq without a key"])
def zeromq(request: pytest.FixtureRequest) -> Iterator[World]:
    yield from world_of(request.param)


@pytest.fixture
def keyed() -> Iterator[World]:
    yield from world_of("zeromq with a key")
