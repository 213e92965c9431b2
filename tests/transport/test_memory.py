"""What only the memory channel has: hubs."""

from __future__ import annotations

import threading

import pytest

from conflux.transport.address import PortTaken
from conflux.transport.memory import MemoryChannel, MemoryClientChannel, MemoryHub


def test_a_named_hub_is_one_in_a_process():
    assert MemoryHub.named("test-one") is MemoryHub.named("test-one")
    assert MemoryHub.named("test-one") is not MemoryHub.named("test-two")


def test_a_hub_lists_the_nodes_that_are_open():
    hub = MemoryHub()
    one, two = MemoryChannel(hub), MemoryChannel(hub, "n2")
    MemoryClientChannel(hub)
    assert hub.addresses() == sorted([one.address, "n2"])
    two.close()
    assert hub.addresses() == [one.address]


def test_an_address_is_one_nodes_only_while_it_is_open():
    hub = MemoryHub()
    first = MemoryChannel(hub, "n1")
    with pytest.raises(PortTaken):
        MemoryChannel(hub, "n1")
    first.close()
    second = MemoryChannel(hub, "n1")
    first.close()
    assert hub.addresses() == ["n1"]
    second.close()


def test_hubs_are_worlds_apart():
    one, two = MemoryChannel(MemoryHub(), "n1"), MemoryChannel(MemoryHub(), "n2")
    one.dial("n2")
    assert not one.send("n2", b"?")
    assert two.receive_from_peers(1) == []


def test_nodes_and_clients_in_threads_of_their_own_understand_each_other():
    hub, ended = MemoryHub(), threading.Event()
    node = MemoryChannel(hub, "n1")

    def serve() -> None:
        while not ended.is_set():
            node.poll(1.0)
            for handle, frame in node.receive_from_clients(100):
                node.reply(handle, frame)

    def ask(name: int) -> None:
        client = MemoryClientChannel(hub)
        client.dial("n1")
        for number in range(200):
            frame = b"%d:%d" % (name, number)
            assert client.send("n1", frame)
            answers: list[tuple[str, bytes]] = []
            while not answers:
                client.poll(1.0)
                answers = client.receive(10)
            assert answers == [("n1", frame)]
            finished.append(frame)
        client.close()

    finished: list[bytes] = []
    threads = [threading.Thread(target=ask, args=(name,)) for name in range(4)]
    server = threading.Thread(target=serve)
    for thread in (server, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    ended.set()
    node.wake()
    server.join()
    assert len(finished) == 800
