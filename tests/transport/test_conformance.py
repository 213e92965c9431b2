"""What every channel promises, whatever it is made of."""

from __future__ import annotations

import threading
import time

import pytest

from conflux import limits
from conflux.errors import ConfluxError
from conflux.raft.invariant import InvariantViolated
from conflux.transport.counters import Counters
from conflux.transport.interface import Channel, ClientChannel


def test_a_channel_has_the_methods_of_its_protocol(world):
    node, client = world.node(), world.client()
    for protocol, channel in ((Channel, node), (ClientChannel, client)):
        assert not [name for name in vars(protocol) if name[0] != "_" and not hasattr(channel, name)]


def test_a_node_has_an_address_of_its_own(world):
    assert world.node().address != world.node().address


def test_a_taken_address_is_an_error_that_names_it(world):
    taken = world.node().address
    with pytest.raises(ConfluxError, match=taken.rpartition(":")[2]) as caught:
        world.node(taken)
    assert caught.value.exit_status == 1


def test_frames_pass_in_both_directions(world):
    one, two = world.node(), world.node()
    world.linked(one, two)
    world.linked(two, one)


def test_a_node_may_dial_itself(world):
    node = world.node()
    world.linked(node, node)


def test_dialling_twice_makes_one_link(world):
    one, two = world.node(), world.node()
    one.dial(two.address)
    world.linked(one, two)
    world.sends(one, two.address, b"once")
    world.sends(one, two.address, b"end")
    assert world.collects(two.receive_from_peers, 2) == [b"once", b"end"]


def test_frames_of_one_sender_arrive_in_order(world):
    one, two = world.node(), world.node()
    world.linked(one, two)
    frames = [b"%d" % number for number in range(200)]
    assert all(one.send(two.address, frame) for frame in frames)
    assert world.collects(two.receive_from_peers, 200) == frames


def test_frames_of_many_senders_all_arrive_in_order_for_each(world):
    receiver = world.node()
    senders = [world.node() for _ in range(4)]
    for sender in senders:
        world.linked(sender, receiver)
    for number in range(50):
        for name, sender in enumerate(senders):
            world.sends(sender, receiver.address, b"%d:%d" % (name, number))
    frames = world.collects(receiver.receive_from_peers, 200)
    for name in range(4):
        of_one = [frame for frame in frames if frame.startswith(b"%d:" % name)]
        assert of_one == [b"%d:%d" % (name, number) for number in range(50)]


def test_no_more_frames_are_received_than_asked_for(world):
    one, two = world.node(), world.node()
    world.linked(one, two)
    for number in range(10):
        world.sends(one, two.address, b"%d" % number)
    taken: list[bytes] = []
    while len(taken) < 10:
        world.turn()
        few = two.receive_from_peers(3)
        assert len(few) <= 3
        taken += few
    assert taken == [b"%d" % number for number in range(10)]
    assert two.receive_from_peers(0) == []


def test_a_client_is_answered_by_the_handle_of_its_frame(world):
    node, one, two = world.node(), world.client(), world.client()
    for client, question in ((one, b"one?"), (two, b"two?")):
        client.dial(node.address)
        world.sends(client, node.address, question)
    for handle, question in world.collects(node.receive_from_clients, 2):
        assert node.reply(handle, question + b"!")
    assert world.collects(one.receive, 1) == [(node.address, b"one?!")]
    assert world.collects(two.receive, 1) == [(node.address, b"two?!")]


def test_a_node_that_worked_takes_what_has_come_in_since_without_a_wait(world):
    node, client = world.node(), world.client()
    client.dial(node.address)
    assert node.receive_more_from_clients(10) == []
    world.sends(client, node.address, b"one")
    found = []
    deadline_s = time.monotonic() + 10
    while not found and time.monotonic() < deadline_s:
        found = node.receive_more_from_clients(10)
    assert [frame for _, frame in found] == [b"one"]
    assert node.receive_more_from_clients(10) == []


def test_a_client_hears_which_node_speaks(world):
    client, nodes = world.client(), [world.node() for _ in range(3)]
    for node in nodes:
        client.dial(node.address)
        world.sends(client, node.address, b"who?")
    for node in nodes:
        [(handle, _)] = world.collects(node.receive_from_clients, 1)
        assert node.reply(handle, node.address.encode())
    answers = world.collects(client.receive, 3)
    assert sorted(answers) == sorted((node.address, node.address.encode()) for node in nodes)


def test_many_answers_reach_a_client_in_order(world):
    node, client = world.node(), world.client()
    client.dial(node.address)
    world.sends(client, node.address, b"all")
    [(handle, _)] = world.collects(node.receive_from_clients, 1)
    assert all(node.reply(handle, b"%d" % number) for number in range(200))
    assert [frame for _, frame in world.collects(client.receive, 200)] == [b"%d" % number for number in range(200)]


def test_clients_and_peers_do_not_mix(world):
    node, peer, client = world.node(), world.node(), world.client()
    client.dial(node.address)
    world.sends(client, node.address, b"from a client")
    world.linked(peer, node)
    assert [frame for _, frame in world.collects(node.receive_from_clients, 1)] == [b"from a client"]
    assert node.receive_from_peers(10) == []


def test_a_client_that_is_gone_is_not_answered(world):
    node, client = world.node(), world.client()
    client.dial(node.address)
    world.sends(client, node.address, b"and off")
    [(handle, _)] = world.collects(node.receive_from_clients, 1)
    client.close()
    world.until(lambda: not node.reply(handle, b"too late"), "the client is known to be gone")
    assert node.counters()["client_frames_dropped"] == 1


def test_a_client_that_hung_up_is_not_answered(world):
    node, client = world.node(), world.client()
    client.dial(node.address)
    world.sends(client, node.address, b"and off")
    [(handle, _)] = world.collects(node.receive_from_clients, 1)
    client.hang_up(node.address)
    assert not client.send(node.address, b"?")
    world.until(lambda: not node.reply(handle, b"too late"), "the client is known to be gone")


def test_a_handle_is_good_at_the_node_that_it_came_to_and_nowhere_else(world):
    one, two, client = world.node(), world.node(), world.client()
    for node in (one, two):
        client.dial(node.address)
        world.sends(client, node.address, b"?")
    [(handle, _)] = world.collects(one.receive_from_clients, 1)
    assert not two.reply(handle, b"not yours to answer")
    assert one.reply(handle, b"!")


def test_a_handle_of_nobody_is_not_answered(world):
    assert not world.node().reply(b"nobody", b"?")


def test_what_was_never_dialled_gets_nothing(world):
    one, two, client = world.node(), world.node(), world.client()
    assert not one.send(two.address, b"?")
    assert not client.send(two.address, b"?")
    assert one.counters()["peer_frames_dropped"] == 1


def test_what_was_hung_up_gets_nothing(world):
    one, two = world.node(), world.node()
    world.linked(one, two)
    one.hang_up(two.address)
    one.hang_up(two.address)
    assert not one.send(two.address, b"?")


def test_a_link_may_be_dialled_again(world):
    one, two = world.node(), world.node()
    world.linked(one, two)
    one.hang_up(two.address)
    world.linked(one, two)


def test_no_more_than_so_many_peers_are_dialled(world):
    node, client = world.node(), world.client()
    for channel in (node, client):
        for number in range(limits.PEERS_MAX + 3):
            channel.dial(f"127.0.0.1:{2 * number + 2}")
        assert channel.counters()["dials_refused"] == 3


def test_a_waiting_poll_ends_when_another_thread_wakes_it(world):
    for channel in (world.node(), world.client()):
        waker = threading.Timer(0.02, channel.wake)
        waker.start()
        channel.poll(3600.0)  # the test's own time-out is the judge
        waker.join()


def test_wakes_that_come_early_end_the_next_poll(world):
    for channel in (world.node(), world.client()):
        for _ in range(3):
            for _ in range(100_000):  # more than a pipe could hold
                channel.wake()
            channel.poll(3600.0)
            channel.poll(0.001)


def test_every_wake_of_many_threads_is_followed_by_the_end_of_a_poll(world):
    node = world.node()
    told: list[int] = []

    def tell(name: int) -> None:
        for number in range(200):
            told.append(1000 * name + number)
            node.wake()

    threads = [threading.Thread(target=tell, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    while len(told) < 800:
        node.poll(3600.0)
    for thread in threads:
        thread.join()


def test_poll_ends_when_a_frame_is_there(world):
    one, two, client = world.node(), world.node(), world.client()
    world.linked(one, two)
    one.send(two.address, b"frame")
    two.poll(3600.0)
    assert world.collects(two.receive_from_peers, 1) == [b"frame"]
    client.dial(two.address)
    world.sends(client, two.address, b"request")
    two.poll(3600.0)
    [(handle, _)] = world.collects(two.receive_from_clients, 1)
    two.reply(handle, b"answer")
    client.poll(3600.0)
    assert world.collects(client.receive, 1) == [(two.address, b"answer")]


def test_poll_with_no_time_returns(world):
    for channel in (world.node(), world.client()):
        channel.poll(0.0)
        channel.poll(-1.0)


def test_a_refused_client_need_not_ask_again_and_again(world):
    """`poll` ends when the link comes up: the node here turns in a thread of its own."""
    address = world.free_address()
    client = world.client()
    client.dial(address)
    assert not client.send(address, b"too early")
    node = world.node(address)
    ended = threading.Event()

    def turn() -> None:
        while not ended.is_set():
            node.poll(0.01)

    thread = threading.Thread(target=turn)
    thread.start()
    client.poll(3600.0)
    sent = client.send(address, b"now")
    ended.set()
    thread.join()
    assert sent


def test_a_frame_of_the_greatest_length_passes_and_an_empty_one_too(world):
    node, peer, client = world.node(), world.node(), world.client()
    world.linked(peer, node)
    greatest = bytes(limits.FRAME_BYTES_MAX)
    client.dial(node.address)
    for frame in (greatest, b""):
        world.sends(peer, node.address, frame)
        assert world.collects(node.receive_from_peers, 1) == [frame]
        world.sends(client, node.address, frame)
        [(handle, received)] = world.collects(node.receive_from_clients, 1)
        assert received == frame
        assert node.reply(handle, frame)
        assert world.collects(client.receive, 1) == [(node.address, frame)]


def test_a_frame_over_the_limit_is_the_senders_mistake(world):
    node, client = world.node(), world.client()
    frame = bytes(limits.FRAME_BYTES_MAX + 1)
    for act in (lambda: node.send("x", frame), lambda: node.reply(b"x", frame), lambda: client.send("x", frame)):
        with pytest.raises(InvariantViolated):
            act()


def test_a_receiver_that_does_not_read_fills_up_and_the_sender_does_not_wait(world):
    one, two = world.node(), world.node()
    world.linked(one, two)
    frame, sent = bytes(64 * limits.KIB), 0
    while one.send(two.address, frame):
        sent += 1
        assert sent < 10_000
    assert one.counters()["peer_frames_dropped"] >= 1
    assert set(world.collects(two.receive_from_peers, sent)) == {frame}


def test_closing_twice_is_harmless(world):
    for channel in (world.node(), world.client()):
        channel.close()
        channel.close()


def test_a_closed_channel_refuses_quietly(world):
    one, two, client = world.node(), world.node(), world.client()
    world.linked(one, two)
    one.close()
    client.close()
    one.dial(two.address)
    client.dial(two.address)
    one.hang_up(two.address)
    client.hang_up(two.address)
    assert not one.send(two.address, b"?")
    assert not one.reply(b"?", b"?")
    assert not client.send(two.address, b"?")
    for channel in (one, client):
        channel.wake()
        channel.poll(3600.0)
    assert one.receive_from_peers(1) == one.receive_from_clients(1) == client.receive(1) == []
    assert one.address
    assert set(one.counters()) == set(Counters().as_dict())


def test_a_peer_that_comes_back_on_its_address_is_reached_without_dialling(world):
    one, two = world.node(), world.node()
    world.linked(one, two)
    address = two.address
    two.close()
    world.until(lambda: not one.send(address, b"into the void"), "the link is known to be down")
    again = world.node(address)
    world.sends(one, address, b"welcome")
    assert world.collects(again.receive_from_peers, 1)[-1] == b"welcome"


def test_a_client_reaches_a_node_that_came_back(world):
    node, client = world.node(), world.client()
    client.dial(node.address)
    world.sends(client, node.address, b"first")
    world.collects(node.receive_from_clients, 1)
    node.close()
    world.until(lambda: not client.send(node.address, b"into the void"), "the link is known to be down")
    again = world.node(node.address)
    world.sends(client, node.address, b"second")
    [(handle, frame)] = world.collects(again.receive_from_clients, 1)
    assert (again.reply(handle, b"hello"), frame) == (True, b"second")


def test_frames_are_counted_on_both_sides(world):
    one, two = world.node(), world.node()
    world.linked(one, two)
    sent = one.counters()["peer_frames_sent"]
    assert (sent, two.counters()["peer_frames_received"]) == (1, 1)
