"""Who gets in, and who does not: the cases J of the list of failures, and addresses (D15, D16)."""

from __future__ import annotations

import os
import socket as os_socket

import pytest
import zmq
from zmq.utils import z85

from conflux.errors import OptionsError
from conflux.transport import sockets
from conflux.transport.address import Address
from conflux.transport.counters import Complaints, Counters
from conflux.transport.keys import KeyPair
from conflux.transport.zap import ENDPOINT, Doorkeeper
from conflux.transport.zeromq import CLIENTS_DOMAIN, PEERS_DOMAIN, ZeroMQChannel
from conflux.transport.zeromq_client import ZeroMQClientChannel


class Caller:
    """A DEALER that comes with any keys and any routing id, and a monitor that says how it went."""

    def __init__(
        self, endpoint: str, pair: KeyPair | None = None, server_public: bytes = b"", name: bytes = b""
    ) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        if name:
            self.socket.setsockopt(zmq.ROUTING_ID, name)
        if pair is not None:
            sockets.connect_with(self.socket, pair, server_public)
        events = zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
        events |= zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_HANDSHAKE_FAILED_AUTH
        self._events = self.socket.get_monitor_socket(events)
        self.socket.connect(endpoint)

    def outcome(self) -> str:
        """Of the last handshake; empty while there was none."""
        if not self._events.poll(0):
            return ""
        event = int.from_bytes(self._events.recv_multipart()[0][:2], "little")
        return "admitted" if event == zmq.EVENT_HANDSHAKE_SUCCEEDED else "refused"

    def poll(self, timeout_s: float) -> None:
        """It has no loop to turn."""

    def close(self) -> None:
        self.context.destroy(linger=0)


def outcome(world, caller: Caller) -> str:
    outcomes: list[str] = []
    world.until(lambda: outcomes.append(caller.outcome()) or outcomes[-1], "the handshake is over")
    return outcomes[-1]


def test_j1_a_node_without_a_key_is_for_this_machine_only():
    with pytest.raises(OptionsError) as caught:
        ZeroMQChannel("0.0.0.0:0", advertise="10.1.2.3:7420", key=None)
    assert "conflux keygen" in caught.value.hint


def test_j1_insecure_must_be_said(zeromq):
    node = ZeroMQChannel("0.0.0.0:0", advertise="127.0.0.1", key=None, insecure=True)
    node.close()


def test_j1_with_a_key_any_machine_may_come(keyed):
    node = keyed.add(ZeroMQChannel("0.0.0.0:0", advertise="127.0.0.1", key=keyed.key))
    keyed.linked(keyed.node(), node)


def test_j2_a_key_that_nobody_knows_is_refused_at_both_ports(keyed):
    node = keyed.node()
    address, server_public = Address.parse(node.address), keyed.key.peer_pair().public
    for endpoint in (address.client_endpoint, address.peer_endpoint):
        caller = keyed.add(Caller(endpoint, KeyPair.generate(), server_public))
        assert outcome(keyed, caller) == "refused"
    assert node.counters()["handshakes_refused"] >= 2
    assert node.receive_from_peers(1) == node.receive_from_clients(1) == []


def test_j3_without_its_doorkeeper_a_node_admits_nobody(keyed):
    node = keyed.node()
    node._waiting.forget(node._doorkeeper.socket)
    node._doorkeeper.close()
    pair = keyed.key.peer_pair()
    caller = keyed.add(Caller(Address.parse(node.address).peer_endpoint, pair, pair.public))
    assert outcome(keyed, caller) == "refused"


def test_j4_a_routing_id_can_not_be_taken_over(zeromq):
    """The first holder of a routing id keeps it, and gets the answers to its own requests."""
    node = zeromq.node()
    keys = (None, b"") if zeromq.key is None else (zeromq.key.client_pair(), zeromq.key.peer_pair().public)
    endpoint = Address.parse(node.address).client_endpoint
    first = zeromq.add(Caller(endpoint, *keys, name=b"n1"))
    first.socket.send(b"question")
    [(handle, _)] = zeromq.collects(node.receive_from_clients, 1)
    impostor = zeromq.add(Caller(endpoint, *keys, name=b"n1"))
    assert outcome(zeromq, impostor) == "admitted"
    assert node.reply(handle, b"answer")
    zeromq.until(lambda: first.socket.poll(0), "the answer has come")
    assert (first.socket.recv(), impostor.socket.poll(0)) == (b"answer", 0)


def test_j4_a_peers_routing_id_is_not_looked_at(zeromq):
    node = zeromq.node()
    keys = (None, b"") if zeromq.key is None else (zeromq.key.peer_pair(), zeromq.key.peer_pair().public)
    caller = zeromq.add(Caller(Address.parse(node.address).peer_endpoint, *keys, name=b"the leader"))
    caller.socket.send(b"frame")
    assert zeromq.collects(node.receive_from_peers, 1) == [b"frame"]


def test_j6_without_curve_nobody_gets_in(keyed):
    node = keyed.node()
    address = Address.parse(node.address)
    for endpoint in (address.client_endpoint, address.peer_endpoint):
        assert outcome(keyed, keyed.add(Caller(endpoint))) == "refused"
    plain = keyed.add(ZeroMQClientChannel(None))
    plain.dial(node.address)
    keyed.until(lambda: plain.counters()["links_refused"], "the client is refused")
    assert not plain.send(node.address, b"?")


def test_a_client_with_a_key_does_not_speak_to_a_node_without_one(keyed):
    bare = keyed.add(ZeroMQChannel("127.0.0.1:0", key=None))
    client = keyed.client()
    client.dial(bare.address)
    keyed.until(lambda: client.counters()["links_refused"], "the link is refused")
    assert not client.send(bare.address, b"secret")


def test_j9_d16_a_clients_key_is_refused_at_the_peers_port(keyed):
    node = keyed.node()
    pair, server_public = keyed.key.client_pair(), keyed.key.peer_pair().public
    caller = keyed.add(Caller(Address.parse(node.address).peer_endpoint, pair, server_public))
    caller.socket.send(b"I am the leader")
    assert outcome(keyed, caller) == "refused"
    assert node.counters()["handshakes_refused"] >= 1
    assert node.receive_from_peers(1) == []


def test_j9_a_peers_key_is_good_at_the_clients_port(keyed):
    node = keyed.node()
    pair = keyed.key.peer_pair()
    caller = keyed.add(Caller(Address.parse(node.address).client_endpoint, pair, pair.public))
    assert outcome(keyed, caller) == "admitted"


@pytest.fixture
def door():
    """A doorkeeper who admits one key at each of two domains, and a socket to ask him through."""
    context = sockets.new_context()
    peer, client = KeyPair.generate(), KeyPair.generate()
    admitted = {PEERS_DOMAIN: frozenset({peer.public}), CLIENTS_DOMAIN: frozenset({peer.public, client.public})}
    keeper = Doorkeeper(context, admitted, Counters(), Complaints())
    asker = context.socket(zmq.REQ)
    asker.connect(ENDPOINT)

    def ask(*parts: bytes) -> bytes:
        asker.send_multipart(parts)
        keeper.serve()
        version, _, status, *_ = asker.recv_multipart(zmq.NOBLOCK)
        assert version == b"1.0"
        return status

    yield ask, z85.decode(peer.public), z85.decode(client.public)
    context.destroy()


def test_j11_the_doorkeeper_compares_raw_keys_and_whole_domains(door):
    ask, peer, client = door

    def status(domain: bytes, key: bytes, *, version: bytes = b"1.0", mechanism: bytes = b"CURVE") -> bytes:
        return ask(version, b"1", domain, b"127.0.0.1", b"", mechanism, key)

    assert status(PEERS_DOMAIN, peer) == status(CLIENTS_DOMAIN, peer) == status(CLIENTS_DOMAIN, client) == b"200"
    assert status(PEERS_DOMAIN, client) == b"400"
    assert status(PEERS_DOMAIN, z85.encode(peer)) == b"400"
    assert status(PEERS_DOMAIN, b"") == b"400"
    for domain in (b"", b"*", b"conflux", PEERS_DOMAIN + b"\0", PEERS_DOMAIN.upper()):
        assert status(domain, peer) == b"400"
    for mechanism in (b"NULL", b"PLAIN", b"GSSAPI", b""):
        assert status(PEERS_DOMAIN, peer, mechanism=mechanism) == b"400"
    assert status(PEERS_DOMAIN, peer, version=b"2.0") == b"400"


def test_the_doorkeeper_denies_what_is_no_request(door):
    ask, peer, _ = door
    assert ask(b"") == b"400"
    assert ask(b"1.0", b"1", PEERS_DOMAIN) == b"400"
    assert ask(b"1.0", b"1", PEERS_DOMAIN, b"", b"", b"CURVE") == b"400"
    assert ask(b"1.0", b"1", PEERS_DOMAIN, b"", b"", b"CURVE", peer, b"one more") == b"400"


@pytest.mark.parametrize("advertise", [None, "0.0.0.0:7420", "[::]:7420", "0.0.0.0", "[::ffff:0.0.0.0]:7420"])
def test_d15_an_address_that_nobody_can_dial_is_not_told_to_others(keyed, advertise):
    with pytest.raises(OptionsError) as caught:
        ZeroMQChannel("0.0.0.0:0", advertise=advertise, key=keyed.key)
    assert "--advertise" in caught.value.hint


def test_d15_what_is_advertised_is_what_others_dial(keyed):
    for advertise, expected in (("node.example:9000", "node.example:9000"), ("10.1.2.3:0", "10.1.2.3:{port}")):
        node = keyed.add(ZeroMQChannel("127.0.0.1:0", advertise=advertise, key=keyed.key))
        assert Address.parse(node.address).host == Address.parse(advertise).host
        assert node.address == expected.format(port=Address.parse(node.address).port)


def test_d15_an_address_that_nobody_can_dial_is_not_dialled(zeromq):
    node = zeromq.node()
    hints = ["0.0.0.0:7420", "[::]:7420", "127.0.0.1:0", "tcp://127.0.0.1:7420", "127.0.0.1:1;127.0.0.1:2", "", "a b:1"]
    for address in hints:
        node.dial(address)
        assert not node.send(address, b"?")
    assert node.counters()["dials_refused"] == len(hints)


def test_localhost_is_this_machine(zeromq):
    node = zeromq.add(ZeroMQChannel("localhost:0", key=zeromq.key))
    assert node.address.startswith("localhost:")
    zeromq.linked(zeromq.node(), node)


def has_ipv6() -> bool:
    try:
        with os_socket.create_server(("::1", 0), family=os_socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
def test_d15_ipv6_addresses_stand_in_brackets(zeromq):
    node = zeromq.node("[::1]:0")
    assert node.address.startswith("[::1]:")
    zeromq.linked(zeromq.node(), node)
    client = zeromq.client()
    client.dial(node.address)
    zeromq.sends(client, node.address, b"?")


def test_each_channel_of_a_process_has_its_own_doorkeeper(keyed):
    """Two clusters in one process: the handler's address is one a context."""
    other = type(keyed)("zeromq with a key")
    try:
        ours, theirs = keyed.node(), other.node()
        keyed.linked(keyed.node(), ours)
        other.linked(other.node(), theirs)
        assert keyed.key.fingerprint != other.key.fingerprint
    finally:
        other.close()


def test_nothing_is_left_open(keyed):
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("no /proc here")
    before = descriptors()
    for _ in range(5):
        one, two, client = keyed.node(), keyed.node(), keyed.client()
        keyed.linked(one, two)
        client.dial(one.address)
        for channel in (one, two, client):
            channel.close()
    assert descriptors() <= before
