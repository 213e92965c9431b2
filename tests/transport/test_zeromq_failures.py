"""What ZeroMQ does with a hostile or a broken network: the cases D of the list of failures."""

from __future__ import annotations

import logging
import socket as os_socket
import threading

import pytest
import zmq

from conflux import limits
from conflux.errors import ConfluxError
from conflux.transport import sockets
from conflux.transport.address import Address, PortTaken
from conflux.transport.keys import ClusterKey, KeyPair
from conflux.transport.zeromq import ZeroMQChannel
from conflux.transport.zeromq_client import ZeroMQClientChannel


class RawDealer:
    """A bare libzmq socket with valid keys: what a faulty or malicious holder of a key may send."""

    def __init__(self, endpoint: str, pair: KeyPair | None = None, server_public: bytes = b"") -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        if pair is not None:
            sockets.connect_with(self.socket, pair, server_public)
        self.socket.connect(endpoint)

    def poll(self, timeout_s: float) -> None:
        """It has no loop to turn."""

    def close(self) -> None:
        self.context.destroy(linger=0)


def raw_peer(world, node) -> RawDealer:
    keys = () if world.key is None else (world.key.peer_pair(), world.key.peer_pair().public)
    return world.add(RawDealer(Address.parse(node.address).peer_endpoint, *keys))


def tcp(address: Address, *, port_offset: int = 0) -> os_socket.socket:
    connection = os_socket.create_connection((address.host, address.port + port_offset))
    connection.setblocking(False)
    return connection


def ended(connection: os_socket.socket) -> bool:
    """Has the other side closed it? What it says until then is thrown away."""
    try:
        return connection.recv(4096) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def complaints(caplog) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "conflux.transport"]


def test_d1_an_unknown_client_is_an_error_and_counted(zeromq):
    node = zeromq.node()
    assert not node.reply(b"\0\1\2\3\4", b"?")
    assert node.counters()["client_frames_dropped"] == 1


def test_d2_a_client_that_stops_reading_is_dropped_for_not_waited_for(zeromq):
    node, client = zeromq.node(), zeromq.client()
    client.dial(node.address)
    zeromq.sends(client, node.address, b"tell me all")
    [(handle, _)] = zeromq.collects(node.receive_from_clients, 1)
    sent = 0
    while node.reply(handle, bytes(64 * limits.KIB)):
        sent += 1
        assert sent < 10_000
    assert node.counters()["client_frames_dropped"] == 1


def test_d3_nothing_is_queued_for_a_dead_port(zeromq):
    address = zeromq.free_address()
    node = zeromq.node()
    node.dial(address)
    for _ in range(20):
        assert not node.send(address, b"stale")
        zeromq.turn()
    peer = zeromq.node(address)
    zeromq.sends(node, address, b"fresh")
    assert zeromq.collects(peer.receive_from_peers, 1) == [b"fresh"]


class StoppableProxy:
    """Forwards bytes one connection each way, or holds them back while the connections stay up."""

    def __init__(self, port: int, target_port: int) -> None:
        self._listener = os_socket.create_server(("127.0.0.1", port))
        self._target_port = target_port
        self._go = threading.Event()
        self._go.set()
        self._ends: list[os_socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def stop(self) -> None:
        self._go.clear()

    def go_on(self) -> None:
        self._go.set()

    def poll(self, timeout_s: float) -> None:
        """It turns in its own threads."""

    def close(self) -> None:
        self._go.set()
        for end in (self._listener, *self._ends):
            try:
                end.shutdown(os_socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join()
        for end in (self._listener, *self._ends):
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = os_socket.create_connection(("127.0.0.1", self._target_port))
            self._ends += [near, far]
            for source, sink in ((near, far), (far, near)):
                thread = threading.Thread(target=self._forward, args=(source, sink))
                self._threads.append(thread)
                thread.start()

    def _forward(self, source: os_socket.socket, sink: os_socket.socket) -> None:
        try:
            while data := source.recv(65536):
                self._go.wait()
                sink.sendall(data)
            sink.shutdown(os_socket.SHUT_WR)
        except OSError:
            pass


def test_d4_what_was_sent_into_a_partition_is_bounded_and_arrives_in_order_or_not_at_all(zeromq):
    one, two = zeromq.node(), zeromq.node()
    front = Address.parse(zeromq.free_address())
    proxy = zeromq.add(StoppableProxy(front.port + 1, Address.parse(two.address).port + 1))
    one.dial(str(front))
    zeromq.sends(one, str(front), b"up")
    assert zeromq.collects(two.receive_from_peers, 1) == [b"up"]
    proxy.stop()
    sent = 0
    while one.send(str(front), b"%06d" % sent + bytes(256 * limits.KIB)):
        sent += 1
        assert sent < 4 * limits.SEND_HIGH_WATER_MARK
    proxy.go_on()
    zeromq.sends(one, str(front), b"999999")
    numbers: list[int] = []

    def healed() -> bool:
        numbers.extend(int(frame[:6]) for frame in two.receive_from_peers(1000))
        return 999999 in numbers

    zeromq.until(healed, "the link is healed")
    assert numbers == sorted(set(numbers))
    proxy.close()


def test_d6_a_frame_over_the_limit_never_arrives_and_its_sender_may_come_again(zeromq):
    node = zeromq.node()
    raw = raw_peer(zeromq, node)
    raw.socket.send(bytes(limits.FRAME_BYTES_MAX + 1000))
    raw.socket.send(b"lost with the connection")

    def comes_again() -> bool:
        raw.socket.send(b"small")
        return b"small" in received(node)

    zeromq.until(comes_again, "a small frame has come")


def test_d6_a_frame_just_over_the_limit_is_dropped_too(zeromq):
    node = zeromq.node()
    raw = raw_peer(zeromq, node)
    raw.socket.send(bytes(limits.FRAME_BYTES_MAX + 1))
    raw.socket.send(b"small")
    assert zeromq.collects(node.receive_from_peers, 1) == [b"small"]
    assert node.counters()["messages_malformed"] == 1


def received(node) -> list[bytes]:
    frames = node.receive_from_peers(1000)
    assert all(len(frame) < 1000 for frame in frames)
    return frames


@pytest.mark.parametrize("parts", [2, 3, 2000])
def test_d7_a_message_of_more_than_one_frame_is_dropped_and_counted(zeromq, parts):
    node = zeromq.node()
    raw = raw_peer(zeromq, node)
    raw.socket.send_multipart([b"x" * 900] * parts)
    raw.socket.send(b"one frame")
    assert zeromq.collects(node.receive_from_peers, 1) == [b"one frame"]
    assert node.counters()["messages_malformed"] == 1


def test_d7_a_client_that_sends_too_many_frames_is_dropped_and_counted(zeromq):
    node = zeromq.node()
    keys = () if zeromq.key is None else (zeromq.key.client_pair(), zeromq.key.peer_pair().public)
    raw = zeromq.add(RawDealer(Address.parse(node.address).client_endpoint, *keys))
    raw.socket.send_multipart([b"", b"as a REQ socket does"])
    raw.socket.send(b"one frame")
    assert [frame for _, frame in zeromq.collects(node.receive_from_clients, 1)] == [b"one frame"]
    assert node.counters()["messages_malformed"] == 1


def test_d8_garbage_and_silence_are_closed_and_the_node_serves_on(zeromq):
    node, peer = zeromq.node(), zeromq.node()
    address = Address.parse(node.address)
    garbage = [
        b"\0" * 64,
        b"GET / HTTP/1.1\r\n\r\n" * 10,
        b"\xff" + b"\0" * 8 + b"\x7f\x09" + b"\xff" * 200,
        b"\xff" * 64,
    ]
    connections = [tcp(address, port_offset=offset) for offset in (0, 1) for _ in range(25)]
    for number, connection in enumerate(connections[::2]):
        connection.sendall(garbage[number % len(garbage)])
    zeromq.linked(peer, node)
    zeromq.until(lambda: all(ended(connection) for connection in connections), "all bad connections are closed")
    zeromq.until(lambda: node.counters()["handshakes_failed"] > 0, "failures are counted")
    zeromq.sends(peer, node.address, b"still here")
    assert zeromq.collects(node.receive_from_peers, 1) == [b"still here"]
    for connection in connections:
        connection.close()


def test_d9_a_wrong_cluster_key_is_counted_on_both_sides_and_logged_once(keyed, caplog):
    caplog.set_level(logging.WARNING, "conflux.transport")
    node = keyed.node()
    stranger = keyed.add(ZeroMQClientChannel(ClusterKey.generate()))
    stranger.dial(node.address)
    keyed.until(lambda: stranger.counters()["links_refused"] >= 3, "the stranger has tried three times")
    keyed.until(lambda: node.counters()["handshakes_failed"] >= 3, "the node has seen it")
    assert not stranger.send(node.address, b"?")
    assert node.receive_from_clients(1) == []
    lines = complaints(caplog)
    assert len([line for line in lines if node.address in line and "another cluster key" in line]) == 1
    assert len([line for line in lines if "clients' port" in line]) == 1
    assert len(lines) == 2


def test_a_handshake_that_is_cut_short_is_counted_and_not_spoken_of(keyed, caplog):
    """A command that ends early, a probe of a port: nobody's key is wrong."""
    caplog.set_level(logging.WARNING, "conflux.transport")
    node = keyed.node()
    address = Address.parse(node.address)
    for offset in (0, 1):
        with tcp(address, port_offset=offset) as connection:
            connection.sendall(b"\xff" + b"\0" * 7 + b"\x01\x7f\x03")  # the beginning of ZMTP's greeting
    keyed.until(lambda: node.counters()["handshakes_cut_short"] == 2, "both are counted")
    assert node.counters()["handshakes_failed"] == 0 and complaints(caplog) == []


def test_d9_who_refuses_is_named_and_who_went_away_once_is_not(keyed):
    node, other = keyed.node(), keyed.add(ZeroMQChannel("127.0.0.1:0", key=ClusterKey.generate()))
    peer = keyed.node()
    keyed.linked(node, peer)
    node.dial(other.address)
    keyed.until(lambda: node.refusing() == [other.address], "the one of another key is named")
    node.hang_up(other.address)
    assert node.refusing() == []


def test_d9_reconnecting_slows_down(zeromq):
    dealer = sockets.new_dealer(sockets.new_context(), ipv6=False)
    assert dealer.getsockopt(zmq.RECONNECT_IVL) < dealer.getsockopt(zmq.RECONNECT_IVL_MAX)
    dealer.context.destroy()


@pytest.mark.parametrize("filled", ["towards a peer", "towards a client", "towards nobody"])
def test_d10_a_channel_with_unsent_frames_closes(zeromq, filled):
    one, two, client = zeromq.node(), zeromq.node(), zeromq.client()
    zeromq.linked(one, two)
    client.dial(one.address)
    zeromq.sends(client, one.address, b"?")
    [(handle, _)] = zeromq.collects(one.receive_from_clients, 1)
    one.dial("127.0.0.1:9")
    if filled == "towards a peer":
        while one.send(two.address, bytes(limits.FRAME_BYTES_MAX)):
            pass
    if filled == "towards a client":
        while one.reply(handle, bytes(limits.FRAME_BYTES_MAX)):
            pass
    one.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "conflux-transport-end"]


def test_d10_a_channel_closes_in_the_middle_of_a_handshake(zeromq):
    node, peer = zeromq.node(), zeromq.node()
    peer.dial(node.address)
    with tcp(Address.parse(node.address)):
        peer.poll(0.005)  # the node does not turn: with a key, its ZAP handler has not answered
        node.close()
        peer.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "conflux-transport-end"]


def test_d11_the_channels_say_who_owns_them():
    for channel in (ZeroMQChannel, ZeroMQClientChannel):
        assert "One thread owns it" in (channel.__doc__ or "")


@pytest.mark.parametrize("make", [sockets.new_router, sockets.new_dealer])
def test_d12_every_socket_has_its_limits(make):
    context = sockets.new_context()
    socket = make(context, ipv6=False)
    expected = {
        zmq.LINGER: 0,
        zmq.SNDHWM: limits.SEND_HIGH_WATER_MARK,
        zmq.RCVHWM: limits.RECEIVE_HIGH_WATER_MARK,
        zmq.HANDSHAKE_IVL: limits.HANDSHAKE_MS,
        zmq.HEARTBEAT_IVL: limits.LINK_HEARTBEAT_MS,
        zmq.HEARTBEAT_TIMEOUT: limits.LINK_TIMEOUT_MS,
        zmq.HEARTBEAT_TTL: limits.LINK_TIMEOUT_MS,
        zmq.TCP_MAXRT: limits.LINK_TIMEOUT_MS,
        zmq.TCP_KEEPALIVE: 1,
        zmq.CONNECT_TIMEOUT: limits.HANDSHAKE_MS,
        zmq.RECONNECT_IVL: limits.RECONNECT_MS_MIN,
        zmq.RECONNECT_IVL_MAX: limits.RECONNECT_MS_MAX,
    }
    assert {option: socket.getsockopt(option) for option in expected} == expected
    assert limits.FRAME_BYTES_MAX <= socket.getsockopt(zmq.MAXMSGSIZE) <= limits.FRAME_BYTES_MAX + 64
    assert limits.HANDSHAKE_MS <= 2000
    context.destroy()


def test_d14_a_peer_that_moved_is_dialled_anew(zeromq):
    one, two = zeromq.node(), zeromq.node()
    zeromq.linked(one, two)
    two.close()
    moved = zeromq.node()
    one.hang_up(two.address)
    zeromq.linked(one, moved)
    assert not one.send(two.address, b"?")


def test_a_taken_port_of_the_peers_is_named_too(zeromq):
    address = Address.parse(zeromq.free_address())
    with os_socket.create_server(("127.0.0.1", address.port + 1)), pytest.raises(PortTaken) as caught:
        zeromq.node(str(address))
    assert str(address.port + 1) in str(caught.value)
    zeromq.node(str(address))  # nothing was left bound by the failed try


def test_an_address_of_another_machine_is_one_line(keyed):
    with pytest.raises(ConfluxError, match=r"192\.0\.2\.1"):
        keyed.node("192.0.2.1:7420")


def test_a_flood_of_failed_handshakes_does_not_stop_the_others(keyed):
    """Their events have no reader while the loop is busy: libzmq's thread must not wait for one."""
    node, peer = keyed.node(), keyed.node()
    keyed.linked(peer, node)
    address = Address.parse(node.address)
    for _ in range(2500):
        with os_socket.create_connection((address.host, address.port)) as connection:
            connection.sendall(b"\xff" * 64)
            connection.settimeout(10.0)
            try:
                while connection.recv(4096):
                    pass
            except ConnectionError:
                pass
    keyed.until(lambda: node.counters()["handshakes_failed"] >= 2500, "all failures are counted")
    assert peer.send(node.address, b"still here")
    assert keyed.collects(node.receive_from_peers, 1) == [b"still here"]
