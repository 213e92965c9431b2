"""The network interfaces of this machine: where to listen, what to announce, who is near."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from conflux.transport.address import Address

INTERFACE_ADDRESSES_MAX = 32  # listened on; each costs two sockets
ANNOUNCED_ADDRESSES_MAX = 8  # more would not fit into one packet with the rest

# Bridges of containers and virtual machines: whoever is behind them is no other machine of the LAN.
_VIRTUAL_PREFIXES = ("docker", "br-", "veth", "virbr", "vmnet", "cni", "flannel", "podman")
_NEAR, _FAR, _LINK_LOCAL = range(3)


@dataclass(frozen=True, slots=True, order=True)
class InterfaceAddress:
    """One address of one interface."""

    is_virtual: bool  # first, so that these are sorted last
    name: str
    host: str
    prefix_bits: int
    index: int

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.host

    @property
    def network(self) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
        return ipaddress.ip_network(f"{self.host}/{self.prefix_bits}", strict=False)


def interface_addresses(*, loopback: bool = False) -> tuple[InterfaceAddress, ...]:
    """What this machine is reachable at by others (or, for tests, by itself alone), in a stable order."""
    import ifaddr

    found = []
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            host, scope = (ip.ip, 0) if isinstance(ip.ip, str) else (ip.ip[0], ip.ip[2])
            literal = ipaddress.ip_address(host)
            if literal.is_loopback != loopback or literal.is_unspecified or not _is_usable(host, scope):
                continue
            if loopback and literal.version == 6:
                continue  # there is no multicast on ::1
            virtual = adapter.name.startswith(_VIRTUAL_PREFIXES)
            found.append(InterfaceAddress(virtual, adapter.name, host, ip.network_prefix, adapter.index or 0))
    return tuple(sorted(found)[:INTERFACE_ADDRESSES_MAX])


def listened_on(local: Iterable[InterfaceAddress], own: Address | None) -> tuple[InterfaceAddress, ...]:
    """Those to browse and announce on. A node of IPv4 has nothing to say to IPv6, unless there is nothing else."""
    everything = tuple(local)
    version_4 = tuple(each for each in everything if not each.is_ipv6)
    only_4 = own is not None and _version(own.host) == 4
    return version_4 if only_4 and version_4 else everything


def announced(own: Address, local: Iterable[InterfaceAddress]) -> tuple[str, ...]:
    """The addresses that others are told. May wait for a name server.

    An address that someone chose is announced as it is; "all interfaces" are all of them, loopback never.
    """
    if own.is_dialable:
        hosts = [own.host.partition("%")[0]] if _version(own.host) else _resolve(own.host)
    else:
        hosts = [each.host for each in local if not (own.host == "0.0.0.0" and each.is_ipv6)]
    reachable = (host for host in hosts if not ipaddress.ip_address(host).is_loopback)
    return tuple(dict.fromkeys(reachable))[:ANNOUNCED_ADDRESSES_MAX]


def nearness(local: Iterable[InterfaceAddress]) -> Callable[[str], int]:
    """How to rank addresses: a machine of an own subnet answers, or is refused, sooner than one behind routers."""
    networks = {each.network for each in local}

    def rank(address: str) -> int:
        literal = ipaddress.ip_address(Address.parse(address).host)
        if literal.version == 6 and literal.is_link_local:
            return _LINK_LOCAL
        return _NEAR if any(literal in network for network in networks) else _FAR

    return rank


def _version(host: str) -> int | None:
    """4, 6, or None for a name."""
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return None


def _is_usable(host: str, scope: int) -> bool:
    """An IPv6 address can't be bound in its first second, while the host makes sure that nobody else has it."""
    if ":" not in host:
        return True
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0, 0, scope))
    except OSError:
        return False
    return True


def _resolve(name: str) -> list[str]:
    try:
        return [str(entry[4][0]).partition("%")[0] for entry in socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)]
    except OSError:
        return []
