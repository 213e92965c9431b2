"""Which ports the nodes of this machine listen on, and by what address others reach them."""

from __future__ import annotations

import random
import socket
from dataclasses import replace

from conflux.discovery.local import LocalNode, Manifest
from conflux.errors import ConfluxError, OptionsError
from conflux.transport.address import PORT_MAX, Address, PortTaken

FIRST_PORT = 7420
PORT_TRIES_MAX = 64
# Below those that systems give to outgoing connections: such a one may be taken between our look and the node's start.
PORTS_WITHOUT_A_NAME = range(10_240, 32_768)
LOOPBACK = "127.0.0.1"
EVERYWHERE = "0.0.0.0"
LOOPBACK_OF = {EVERYWHERE: LOOPBACK, "::": "::1"}


def with_addresses(
    manifest: Manifest,
    running: dict[str, str],
    *,
    bind: str | None,
    advertise: str | None,
    only: str | None = None,
) -> Manifest:
    """The manifest with an address for each node: what it had, if that is free, else another one.

    Args:
        running: addresses of the nodes that run already, by label.
        bind, advertise: what was asked for.
        only: the label of the one node that gets an address; default: all that don't run.

    Raises:
        PortTaken: a port that was asked for isn't free, or none is.
        OptionsError: an address is malformed, or nobody could dial it.
    """
    asked = Address.parse(bind, port_default=0) if bind else None
    host = asked.host if asked else _last_host(manifest)
    public = _public_host(host, advertise)
    others = [node for node in manifest.nodes if only not in (None, node.label)]
    taken: set[int] = {Address.parse(address).port for address in running.values()}
    taken |= {Address.parse(node.address).port for node in others if node.address}
    nodes = []
    for place, node in enumerate([node for node in manifest.nodes if only in (None, node.label)]):
        if node.label in running:
            nodes.append(replace(node, address=running[node.label]))
            continue
        if asked is not None and asked.port:
            port = _asked_port(host, asked.port + 2 * place)
        else:
            port = _free_port(node, host, taken, is_whole=manifest.is_whole)
        taken.add(port)
        nodes.append(
            replace(node, bind=str(Address(host, port)), address=_public_address(public, port, place, advertise))
        )
    placed = {node.label: node for node in nodes}
    return replace(manifest, nodes=tuple(placed.get(node.label, node) for node in manifest.nodes))


def dialled_here(bind: str) -> str:
    """What programs of this machine dial to reach who listens on `bind`."""
    address = Address.parse(bind)
    return str(Address(LOOPBACK_OF.get(address.host, address.host), address.port))


def _last_host(manifest: Manifest) -> str:
    """Where the nodes listened last, else where they do if nobody says.

    Raises:
        OptionsError: it was an address of this machine, and is none any more.
    """
    bound = next((node.bind for node in manifest.nodes if node.bind), None)
    if bound is None:
        return LOOPBACK if manifest.is_whole else EVERYWHERE
    host = Address.parse(bound).host
    if not _is_own(host):
        raise OptionsError(
            f"the nodes here listened on {host}, which is no address of this machine any more",
            hint="Name where to listen: --bind HOST[:PORT]; 0.0.0.0 is every address.",
        )
    return host


def _public_host(host: str, advertise: str | None) -> str:
    """The host that others dial."""
    if advertise is not None:
        asked = Address.parse(advertise, port_default=0)
        if asked.is_loopback and not Address(host, 0).is_loopback:
            raise OptionsError(
                f"other machines can't dial {asked.host}: it is each machine's own loopback",
                hint="Name an address of this machine on the network: --advertise HOST[:PORT]",
            )
        return asked.host
    return _own_address() if not Address(host, 1).is_dialable else host


def _public_address(host: str, port: int, place: int, advertise: str | None) -> str:
    asked = Address.parse(advertise, port_default=0).port if advertise else 0
    return str(Address(host, asked + 2 * place if asked else port))


def _own_address() -> str:
    """This machine's address on its network: where packets to elsewhere leave, else the first but loopback.

    Raises:
        ConfluxError: it has none.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("10.255.255.255", 9))  # sends nothing: it only asks the routing table
            found = str(probe.getsockname()[0])
            if not Address(found, 1).is_loopback:
                return found
        except OSError:
            pass
    import ifaddr

    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            if isinstance(ip.ip, str) and not Address(ip.ip, 1).is_loopback:
                return ip.ip
    raise ConfluxError(
        "this machine has no address on a network", hint="Name one with --bind HOST[:PORT] or --advertise HOST[:PORT]."
    )


def _asked_port(host: str, port: int) -> int:
    if port > PORT_MAX or not _is_free(host, port):
        raise PortTaken(
            f"port {port} (or {port + 1}) of {host} is taken",
            hint="Name another with --bind HOST:PORT, or leave the port out.",
        )
    return port


def _free_port(node: LocalNode, host: str, taken: set[int], *, is_whole: bool) -> int:
    last = Address.parse(node.bind or node.address, port_default=0).port if node.address else 0
    if last and not _near(last, taken) and _is_free(host, last):
        return last
    for attempt in range(PORT_TRIES_MAX):
        port = random.choice(PORTS_WITHOUT_A_NAME) if is_whole else FIRST_PORT + 2 * attempt
        if port <= PORT_MAX and not _near(port, taken) and _is_free(host, port):
            return port
    raise PortTaken(f"no two neighbouring free ports were found on {host}", hint="Name one with --bind HOST:PORT.")


def _is_own(host: str) -> bool:
    """True where something could listen on `host`. A name is left to the node, which looks it up."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def _near(port: int, taken: set[int]) -> bool:
    return bool({port - 1, port, port + 1} & taken)


def _is_free(host: str, port: int) -> bool:
    for each in (port, port + 1):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, each))
            except OSError:
                return False
    return True
