"""Which ports the nodes of a machine get."""

from __future__ import annotations

import socket
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import ifaddr
import pytest

from conflux.discovery.local import LocalNode, Manifest
from conflux.errors import ConfluxError, OptionsError
from conflux.node import addresses
from conflux.node.addresses import PORTS_WITHOUT_A_NAME, with_addresses
from conflux.transport.address import Address, PortTaken
from tests.ports import free_pair

OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")


def manifest(count: int) -> Manifest:
    nodes = tuple(LocalNode(label=f"n{number}", identity=f"{number:032x}") for number in range(1, count + 1))
    return Manifest(cluster="test", size=count, app="a:b", app_dir="/", nodes=nodes)


def ports(made: Manifest) -> list[int]:
    return [Address.parse(node.address).port for node in made.nodes]


@pytest.mark.skipif(not OUTGOING.exists(), reason="which ports are for outgoing connections is told on Linux only")
def test_no_port_is_one_that_an_outgoing_connection_may_take_meanwhile() -> None:
    first, _ = map(int, OUTGOING.read_text().split())
    assert PORTS_WITHOUT_A_NAME.stop <= first


def test_nodes_get_pairs_of_ports_that_do_not_touch() -> None:
    found = sorted(ports(with_addresses(manifest(9), {}, bind=None, advertise=None)))
    assert all(port in PORTS_WITHOUT_A_NAME for port in found)
    assert all(later - port > 1 for port, later in pairwise(found))


def test_a_port_whose_neighbour_is_taken_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        monkeypatch.setattr(addresses, "PORTS_WITHOUT_A_NAME", [other.getsockname()[1] - 1])
        with pytest.raises(PortTaken, match="no two neighbouring free ports"):
            with_addresses(manifest(1), {}, bind=None, advertise=None)


def test_a_node_that_runs_keeps_its_address_and_no_other_comes_close() -> None:
    made = with_addresses(manifest(2), {"n1": "127.0.0.1:20000"}, bind=None, advertise=None)
    assert made.nodes[0].address == "127.0.0.1:20000"
    assert abs(ports(made)[1] - 20000) > 1


def test_a_port_that_is_asked_for_is_taken_or_refused() -> None:
    port = free_pair()
    made = with_addresses(manifest(1), {}, bind=f"127.0.0.1:{port}", advertise=None)
    assert (made.nodes[0].bind, made.nodes[0].address) == (f"127.0.0.1:{port}", f"127.0.0.1:{port}")
    with pytest.raises(PortTaken, match="is taken"), socket.socket() as other:
        other.bind(("127.0.0.1", port + 1))
        other.listen()
        with_addresses(manifest(1), {}, bind=f"127.0.0.1:{port}", advertise=None)


def once_at(bind: str) -> Manifest:
    """One node, which listened there the last time."""
    made = manifest(1)
    return replace(made, nodes=(replace(made.nodes[0], bind=bind, address=bind),))


def test_a_node_comes_back_where_it_was() -> None:
    at = f"127.0.0.1:{free_pair()}"
    assert with_addresses(once_at(at), {}, bind=None, advertise=None).nodes[0].address == at


def test_where_it_was_is_no_address_of_this_machine_any_more() -> None:
    with pytest.raises(OptionsError, match=r"203\.0\.113\.9, which is no address of this machine any more"):
        with_addresses(once_at("203.0.113.9:7420"), {}, bind=None, advertise=None)


def test_what_is_advertised_is_what_others_dial() -> None:
    made = with_addresses(manifest(2), {}, bind=f"0.0.0.0:{free_pair()}", advertise="example.org:9000", only="n1")
    assert (made.nodes[0].address, made.nodes[1].address) == ("example.org:9000", "")
    with pytest.raises(OptionsError, match=r"other machines can't dial 127\.0\.0\.1"):
        with_addresses(manifest(1), {}, bind="0.0.0.0:0", advertise="127.0.0.1")


def test_who_listens_everywhere_is_dialled_on_the_loopback_from_here() -> None:
    assert addresses.dialled_here("0.0.0.0:7420") == "127.0.0.1:7420"
    assert addresses.dialled_here("192.0.2.1:7420") == "192.0.2.1:7420"


class Routes(socket.socket):
    """A socket of a machine whose way to the network leads through `host`, or nowhere."""

    host: str | None = None

    def connect(self, _address: object) -> None:
        if self.host is None:
            raise OSError("Network is unreachable")

    def getsockname(self) -> tuple[str, int]:
        return str(self.host), 9


@pytest.mark.parametrize("host", [None, "127.0.0.1", "192.0.2.7"])
def test_part_of_a_cluster_listens_everywhere_and_says_its_address_on_the_network(
    host: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Routes, "host", host)
    monkeypatch.setattr(socket, "socket", Routes)
    places = [("lo", "127.0.0.1"), ("eth0", "192.0.2.7")]
    adapters = [ifaddr.Adapter(name, name, [ifaddr.IP(address, 24, name)]) for name, address in places]
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: adapters)
    made = with_addresses(replace(manifest(1), size=3), {}, bind=None, advertise=None)
    assert made.nodes[0].bind.startswith("0.0.0.0:")
    assert made.nodes[0].address.startswith("192.0.2.7:")
    monkeypatch.setattr(ifaddr, "get_adapters", lambda: adapters[:1])
    if host != "192.0.2.7":
        with pytest.raises(ConfluxError, match="no address on a network"):
            with_addresses(replace(manifest(1), size=3), {}, bind=None, advertise=None)
