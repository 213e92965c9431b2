from __future__ import annotations

import pytest

from conflux.discovery.interfaces import (
    ANNOUNCED_ADDRESSES_MAX,
    InterfaceAddress,
    announced,
    interface_addresses,
    listened_on,
    nearness,
)
from conflux.transport.address import Address


def interface(name, host, bits=24):
    return InterfaceAddress(name.startswith("docker"), name, host, bits, 1)


ETHERNET = interface("eth0", "192.168.1.5")
VERSION_6 = interface("eth0", "fd00::5", 64)
DOCKER = interface("docker0", "172.17.0.1", 16)
ALL = tuple(sorted((DOCKER, VERSION_6, ETHERNET)))


@pytest.mark.parametrize(
    ("own", "hosts"),
    [
        ("0.0.0.0:1", ("192.168.1.5", "172.17.0.1")),
        ("[::]:1", ("192.168.1.5", "fd00::5", "172.17.0.1")),
        ("203.0.113.7:1", ("203.0.113.7",)),  # behind NAT, as --advertise says
        ("[fe80::1%eth0]:1", ("fe80::1",)),  # the interface's name means nothing to others
        ("localhost.localdomain.invalid:1", ()),
    ],
)
def test_what_is_announced_for_an_address(own, hosts):
    assert announced(Address.parse(own), ALL) == hosts


def test_a_name_is_announced_by_its_addresses_but_never_by_a_loopback_one(monkeypatch):
    entries = [(2, 2, 17, "", (host, 0)) for host in ("127.0.1.1", "10.0.0.7", "10.0.0.7")]
    monkeypatch.setattr("conflux.discovery.interfaces.socket.getaddrinfo", lambda *_, **__: entries)
    assert announced(Address.parse("myhost:7420"), ALL) == ("10.0.0.7",)


def test_e9_a_host_with_many_interfaces_announces_some_and_the_virtual_ones_last():
    many = tuple(sorted([interface(f"docker{n}", f"172.18.{n}.1") for n in range(20)] + [ETHERNET]))
    hosts = announced(Address.parse("0.0.0.0:1"), many)
    assert hosts[0] == ETHERNET.host
    assert len(hosts) == ANNOUNCED_ADDRESSES_MAX


def test_a_node_of_ipv4_listens_on_ipv6_only_where_there_is_nothing_else():
    own = Address.parse("0.0.0.0:1")
    assert VERSION_6 not in listened_on(ALL, own)
    assert listened_on((VERSION_6,), own) == (VERSION_6,)
    assert VERSION_6 in listened_on(ALL, Address.parse("[::]:1"))
    assert VERSION_6 in listened_on(ALL, None)


def test_e9_the_own_subnet_is_near_and_link_local_last():
    rank = nearness(ALL)
    order = sorted(["[fe80::9%eth0]:1", "10.0.0.1:1", "192.168.1.9:1", "[fd00::9]:1"], key=rank)
    assert order == ["192.168.1.9:1", "[fd00::9]:1", "10.0.0.1:1", "[fe80::9%eth0]:1"]


def test_loopback_is_no_interface_but_for_tests():
    assert all(not each.host.startswith("127.") and each.host != "::1" for each in interface_addresses())
    assert [each.host for each in interface_addresses(loopback=True)] == ["127.0.0.1"]
