"""Which ports the nodes of a machine get."""

from __future__ import annotations

import socket
from itertools import pairwise
from pathlib import Path

import pytest

from conflux.discovery.local import LocalNode, Manifest
from conflux.node import addresses
from conflux.node.addresses import PORTS_WITHOUT_A_NAME, with_addresses
from conflux.transport.address import Address, PortTaken

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
