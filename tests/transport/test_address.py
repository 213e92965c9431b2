"""Addresses as they are written."""

from __future__ import annotations

import subprocess
import sys

import pytest

from conflux.errors import OptionsError
from conflux.transport.address import Address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:7420", "127.0.0.1", 7420),
        ("[::1]:7420", "::1", 7420),
        ("[fe80::1%eth0]:7420", "fe80::1%eth0", 7420),
        ("node-1.example.org:1", "node-1.example.org", 1),
        ("n_1:65534", "n_1", 65534),
    ],
)
def test_an_address_is_a_host_and_a_port(text, host, port):
    assert Address.parse(text) == Address(host, port)
    assert str(Address.parse(text)) == text


PORTS = ["host:", "host:65535", "host:-1", "host:+1", "host:7 ", "host:٣", "host:000001", "host:1\n", "host"]
BRACKETS = ["::1:7420", "[::1]", "[::1]7420", "[::1", "[host]:1", "[127.0.0.1]:1", "[fe80::1%]:1", "[fe80::1%;]:1"]
HOSTS = ["", ":", ":7420", "a/b:1", "a;b:1", "*:1", "a b:1", "\n:1", "tcp://host:1", "a" * 254 + ":1", "-a:1", "é:1"]


@pytest.mark.parametrize("text", [*PORTS, *BRACKETS, *HOSTS])
def test_anything_else_is_refused(text):
    with pytest.raises(OptionsError):
        Address.parse(text)


def test_a_port_may_be_left_out_where_there_is_a_default():
    assert Address.parse("host", port_default=7420) == Address("host", 7420)
    assert Address.parse("[::1]", port_default=7420) == Address("::1", 7420)
    assert Address.parse("host:1", port_default=7420) == Address("host", 1)


def test_an_address_stands_for_two_neighbouring_ports():
    assert Address("::1", 7420).client_endpoint == "tcp://[::1]:7420"
    assert Address("::1", 7420).peer_endpoint == "tcp://[::1]:7421"


def test_what_is_loopback():
    loopback = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "localhost"]
    others = ["0.0.0.0", "::", "10.0.0.1", "example.org", "localhost.example.org", "::ffff:10.0.0.1"]
    assert all(Address(host, 1).is_loopback for host in loopback)
    assert not any(Address(host, 1).is_loopback for host in others)


def test_what_can_be_dialled():
    assert all(Address(host, 1).is_dialable for host in ("127.0.0.1", "example.org", "10.0.0.1"))
    assert not any(Address(host, 1).is_dialable for host in ("0.0.0.0", "::", "::ffff:0.0.0.0", "224.0.0.1"))
    assert not Address("127.0.0.1", 0).is_dialable


@pytest.mark.parametrize("module", ["", ".interface", ".address", ".keys", ".memory", ".counters"])
def test_zmq_is_imported_late(module):
    program = f"import sys, conflux.transport{module}; sys.exit('zmq' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
