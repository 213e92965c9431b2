"""A host behind a router: it reaches the LAN, which reaches it by two ports of the router alone."""

from __future__ import annotations

import shutil

import pytest

from tests.lan.namespaces import ip
from tests.lan.network import INTERFACE, Host, Lan

INSIDE = "192.168.7"
FORWARDED_PORT = 8000  # and the next one: what others dial
RULES = """
table ip nat {
  chain in {
    type nat hook prerouting priority -100
    iifname "eth0" tcp dport 8000 dnat to 192.168.7.2:7420
    iifname "eth0" tcp dport 8001 dnat to 192.168.7.2:7421
  }
  chain out {
    type nat hook postrouting priority 100
    oifname "eth0" masquerade
  }
}
"""
CLOSED = "table ip filter { chain in { type filter hook input priority 0; tcp dport 7421 drop; }; }"


def skip_without_nft(host: Host) -> None:
    """Skip, with the reason, where rules for packets can't be made."""
    if shutil.which("nft") is None:
        pytest.skip("a firewall or NAT in a namespace needs nftables (`nft`)")
    if problem := host.run(["nft", "list", "tables"]).stderr.strip():
        pytest.skip(f"nftables do not work here: {problem.splitlines()[0]}")


def behind(lan: Lan, router: Host) -> Host:
    """A new host behind `router`, whose ports 8000 and 8001 lead to its ports 7420 and 7421."""
    host = Host(lan, len(lan.hosts) + 1)
    host.address = f"{INSIDE}.2"
    lan.hosts.append(host)
    ip("netns", "add", host.namespace)
    peer = ("peer", "name", INTERFACE, "netns", host.namespace)
    ip("-n", router.namespace, "link", "add", "inside", "type", "veth", *peer)
    for namespace, device, address in (
        (router.namespace, "inside", f"{INSIDE}.1"),
        (host.namespace, INTERFACE, host.address),
    ):
        ip("-n", namespace, "addr", "add", f"{address}/24", "dev", device)
        ip("-n", namespace, "link", "set", device, "up")
    ip("-n", host.namespace, "link", "set", "lo", "up")
    ip("-n", host.namespace, "route", "add", "default", "via", f"{INSIDE}.1")
    router.run(["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])
    rules(router, RULES)
    return host


def close_peers_port(host: Host) -> None:
    """What comes to the host's port 7421 is dropped; what it sends leaves."""
    rules(host, CLOSED)


def open_again(host: Host) -> None:
    host.run(["nft", "flush", "ruleset"])


def rules(host: Host, text: str) -> None:
    ran = host.run(["nft", "-f", "-"], input=text)
    assert ran.returncode == 0, ran.stderr
