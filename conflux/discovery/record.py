"""What a node says of itself by mDNS, and what is made of what is said by anybody.

A service of type `_conflux._tcp.local.`, named IDENTITY-INCARNATION: the incarnation is drawn anew whenever a node
starts to announce itself, so a name is never taken, by a stranger or by the node's own last life (E2). Its TXT record:

    v        version of this record: "1"
    cluster  name of the cluster
    key      fingerprint of the cluster's key; "insecure" where there is none
    id       the identity's first characters, for people with an mDNS browser
    label    the node's label, for the same; may be missing

No secrets and no state: whoever is on the LAN reads it, and whoever is on the LAN can forge it. So what is read here
is checked to the last character and is good for one thing: an address to try.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from conflux.errors import OptionsError
from conflux.transport.address import Address

SERVICE_TYPE = "_conflux._tcp.local."
RECORD_VERSION = "1"
INSECURE = "insecure"
SHORT_IDENTITY_CHARACTERS = 8
INCARNATION_BYTES = 4
TEXT_VALUE_BYTES_MAX = 200  # a TXT string has at most 255 bytes, its key included

_IDENTITY = re.compile(r"[0-9a-z_]{1,48}")
_INSTANCE = re.compile(r"([0-9a-z_]{1,48})-([0-9a-f]{8})")
_CLUSTER = re.compile(r"[a-z][a-z0-9-]{0,31}")
_FINGERPRINT = re.compile(r"[0-9a-z]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What this node says of itself.

    Raises:
        ValueError: it can't be said, or must not be: a loopback address would send others to themselves.
    """

    cluster: str
    fingerprint: str
    identity: str
    address: Address
    label: str = ""

    def __post_init__(self) -> None:
        if _CLUSTER.fullmatch(self.cluster) is None:
            raise ValueError(f"{self.cluster!r} is no name of a cluster")
        if _FINGERPRINT.fullmatch(self.fingerprint) is None:
            raise ValueError(f"{self.fingerprint!r} is no fingerprint of a key")
        if _IDENTITY.fullmatch(self.identity) is None:
            raise ValueError(f"{self.identity!r} can't be announced as an identity")
        if self.address.is_loopback or self.address.port == 0:
            raise ValueError(f"{self.address} is nowhere that another host could reach")
        if len(self.label.encode()) > TEXT_VALUE_BYTES_MAX:
            raise ValueError("the label is too long to be announced")

    def text(self) -> dict[str, str]:
        """The TXT record."""
        text = {
            "v": RECORD_VERSION,
            "cluster": self.cluster,
            "key": self.fingerprint,
            "id": self.identity[:SHORT_IDENTITY_CHARACTERS],
        }
        return text | {"label": self.label} if self.label else text


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What somebody said of a node. Well-formed, which doesn't make it true."""

    cluster: str
    fingerprint: str
    identity: str
    incarnation: str
    addresses: tuple[str, ...] = field(default=())  # HOST:PORT

    @property
    def instance(self) -> str:
        return f"{self.identity}-{self.incarnation}"


def new_incarnation() -> str:
    """What tells one life of a node from another."""
    return secrets.token_hex(INCARNATION_BYTES)


def service_name(instance: str) -> str:
    """The full name of an instance's service."""
    return f"{instance}.{SERVICE_TYPE}"


def is_well_named(name: str) -> bool:
    """Could a node have chosen this name for its service?"""
    return _instance(name) is not None


def read(name: str, texts: Iterable[bytes], endpoints: Iterable[tuple[str, int]]) -> list[Sighting]:
    """What is said under a service's name: one sighting per TXT record that makes sense, so mostly one.

    A forger can add a TXT record to another node's name; he must not silence the true one by that.
    """
    instance = _instance(name)
    if instance is None:
        return []
    addresses = tuple(dict.fromkeys(_dialable(endpoints)))
    sightings = {}
    for text in map(_parse, texts):
        cluster, fingerprint = text.get("cluster", ""), text.get("key", "")
        if text.get("v") == RECORD_VERSION and _CLUSTER.fullmatch(cluster) and _FINGERPRINT.fullmatch(fingerprint):
            sightings[cluster, fingerprint] = Sighting(
                cluster=cluster,
                fingerprint=fingerprint,
                identity=instance[1],
                incarnation=instance[2],
                addresses=addresses,
            )
    return list(sightings.values())


def _instance(name: str) -> re.Match[str] | None:
    instance, dot, service = name.lower().partition(".")
    return _INSTANCE.fullmatch(instance) if dot and service == SERVICE_TYPE else None


def _parse(data: bytes) -> dict[str, str]:
    """The strings KEY=VALUE of a TXT record, each led by its length. Of a key that comes twice the first counts."""
    text: dict[str, str] = {}
    at = 0
    while at < len(data):
        string = data[at + 1 : at + 1 + data[at]]
        at += 1 + data[at]
        key, equals, value = string.decode("ascii", "replace").partition("=")
        if equals:
            text.setdefault(key.lower(), value)
    return text


def _dialable(endpoints: Iterable[tuple[str, int]]) -> Iterator[str]:
    """Those that lead to one other host. Loopback is refused: a record must not turn a node on its own machine."""
    for host, port in endpoints:
        try:
            address = Address.parse(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
            literal = ipaddress.ip_address(host)
        except (OptionsError, ValueError):
            continue
        if isinstance(literal, ipaddress.IPv6Address) and literal.ipv4_mapped is not None:
            continue  # an IPv4 address in disguise has no business in an AAAA record
        unscoped = literal.version == 6 and literal.is_link_local and "%" not in host
        if address.is_dialable and not (address.is_loopback or literal.is_reserved or unscoped):
            yield str(address)
