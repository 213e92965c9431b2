"""Addresses of nodes: "HOST:PORT", written once for two neighbouring ports.

PORT is where clients come, PORT + 1 where peers come. Addresses arrive from options, from the member list and, as mere
hints, from the network: whatever is not plainly a host and a port is refused here, before it reaches a socket library
that knows many more things to do with a string.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from conflux.errors import ConfluxError, OptionsError

PORT_MAX = 65534  # the peers' port is the next one
HOST_CHARACTERS_MAX = 253

_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?\.?")
_SCOPE = re.compile(r"[A-Za-z0-9._-]{1,32}")
_HINT = "An address is HOST:PORT, e.g. 192.168.1.10:7420 or [2001:db8::10]:7420."


class PortTaken(ConfluxError):
    """Another program listens on one of the two ports."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host (IPv6 without brackets) and the port for clients."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str, *, port_default: int | None = None) -> Address:
        """Read "HOST:PORT", or "HOST" where there is a `port_default`.

        Raises:
            OptionsError: it is neither.
        """
        host, bracketed, port = _split(text)
        if bracketed != _is_ipv6(host) or not (bracketed or _is_plain_host(host)):
            raise OptionsError(f"{text!r} is not an address: its host is malformed.", hint=_HINT)
        if port is None and port_default is not None:
            return cls(host, port_default)
        # `isdecimal` alone takes the digits of every script.
        if port is None or not (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) <= PORT_MAX):
            raise OptionsError(f"{text!r} is not an address: its port is not in 0..{PORT_MAX}.", hint=_HINT)
        return cls(host, int(port))

    def __str__(self) -> str:
        return f"{self._bracketed_host}:{self.port}"

    @property
    def client_endpoint(self) -> str:
        """Where clients connect."""
        return f"tcp://{self._bracketed_host}:{self.port}"

    @property
    def peer_endpoint(self) -> str:
        """Where peers connect."""
        return f"tcp://{self._bracketed_host}:{self.port + 1}"

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.host

    @property
    def is_loopback(self) -> bool:
        """Is the host this machine and nothing else? A name isn't, but `localhost`: it may point anywhere."""
        literal = _literal(self.host)
        return self.host.lower() == "localhost" if literal is None else literal.is_loopback

    @property
    def is_dialable(self) -> bool:
        """Can another node connect to it? 0.0.0.0, :: and port 0 are only good for listening."""
        literal = _literal(self.host)
        return self.port > 0 and (literal is None or not (literal.is_unspecified or literal.is_multicast))

    @property
    def _bracketed_host(self) -> str:
        return f"[{self.host}]" if self.is_ipv6 else self.host


def _split(text: str) -> tuple[str, bool, str | None]:
    """The host, whether it stood in brackets, and the port's text."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise OptionsError(f"{text!r} is not an address: a bracket is missing.", hint=_HINT)
        return host, True, rest[1:] if rest else None
    host, colon, port = text.rpartition(":")
    return (host, False, port) if colon else (text, False, None)


def _is_plain_host(host: str) -> bool:
    return len(host) <= HOST_CHARACTERS_MAX and _NAME.fullmatch(host) is not None


def _is_ipv6(host: str) -> bool:
    _, percent, scope = host.partition("%")
    return _literal(host) is not None and ":" in host and (not percent or _SCOPE.fullmatch(scope) is not None)


def _literal(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(literal, ipaddress.IPv6Address) and literal.ipv4_mapped is not None:
        return literal.ipv4_mapped  # ::ffff:0.0.0.0 is 0.0.0.0 in disguise
    return literal
