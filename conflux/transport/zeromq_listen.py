"""How a node comes to listen on its two ports, and what it tells others of where it is."""

from __future__ import annotations

import errno
import socket as os_socket

import zmq

from conflux.errors import ConfluxError, OptionsError
from conflux.transport.address import PORT_MAX, Address, PortTaken
from conflux.transport.sockets import Socket

PAIR_TRIES_MAX = 64  # a free port whose neighbour is free too: the first try nearly always


def allowed_bind(bind: str, *, has_key: bool, insecure: bool) -> Address:
    """Where to listen, as numbers. Without a key only this machine may come, or `insecure` says that all may (J1).

    Raises:
        OptionsError: `bind` is no address of a machine, or not allowed.
    """
    asked = Address.parse(bind)
    resolved = Address(_resolve(asked.host), asked.port)
    if not (has_key or insecure or resolved.is_loopback):
        hint = "Make a key with `conflux keygen cluster.key` and give it to every node with --key, or pass --insecure."
        raise OptionsError(f"{bind} is open to other machines, and there is no cluster key.", hint=hint)
    return resolved


def advertised(advertise: str | None, bind: str, bound: Address) -> Address:
    """What others dial: what was asked for, else the host that was asked for, with the port that was found.

    Raises:
        OptionsError: nobody could dial that (D15).
    """
    asked = Address.parse(bind if advertise is None else advertise, port_default=0)
    address = Address(asked.host, bound.port if advertise is None or asked.port == 0 else asked.port)
    if not address.is_dialable:
        hint = "Name the address that other machines reach this one by: --advertise HOST:PORT"
        raise OptionsError(f"Nobody can dial {address}: it only says where to listen.", hint=hint)
    return address


def listen(clients: Socket, peers: Socket, bind: Address) -> Address:
    """Bind both sockets to neighbouring ports; port 0 finds a pair that is free.

    Raises:
        PortTaken: another program has one of them, or no pair was found.
        ConfluxError: the address is not of this machine, or not allowed.
    """
    if bind.port != 0:
        _bind(clients, bind.client_endpoint)
        _bind(peers, bind.peer_endpoint)
        return bind
    for _ in range(PAIR_TRIES_MAX):
        _bind(clients, bind.client_endpoint)
        endpoint = str(clients.getsockopt_string(zmq.LAST_ENDPOINT))
        found = Address(bind.host, int(endpoint.rpartition(":")[2]))
        try:
            if found.port <= PORT_MAX:
                _bind(peers, found.peer_endpoint)
                return found
        except PortTaken:
            pass
        clients.unbind(endpoint)
    raise PortTaken(f"No two neighbouring free ports were found in {PAIR_TRIES_MAX} tries.", hint="Name a port.")


def _bind(socket: Socket, endpoint: str) -> None:
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        host, _, port = endpoint.removeprefix("tcp://").rpartition(":")
        if error.errno == errno.EADDRINUSE:
            hint = "A node takes the port of its address and the next one: name another, or find who has it: ss -ltnp"
            raise PortTaken(f"Port {port} of {host} is taken.", hint=hint) from None
        raise ConfluxError(f"Can't listen on port {port} of {host}: {error.strerror}.") from None


def _resolve(host: str) -> str:
    """A host's own number: libzmq binds to no names, and only a number is surely loopback or not."""
    try:
        found = os_socket.getaddrinfo(host, None, type=os_socket.SOCK_STREAM, flags=os_socket.AI_PASSIVE)
    except OSError as error:
        raise OptionsError(f"The host {host!r} is not known here: {error.strerror}.") from None
    numbers = [str(entry[4][0]) for entry in found]
    return next((number for number in numbers if ":" not in number), numbers[0])
