"""What a node's directory says of itself: who it is, of which cluster, and how far the formation has come."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from typing import Any

import msgspec

from conflux.app import App
from conflux.errors import Damaged, WrongDirectory
from conflux.node.options import NodeOptions
from conflux.storage.interface import Storage
from conflux.wire.peers import Founder, Proposal, encode_canonically

SELF, ACCEPTED, NEVERS, FORMED, ADDRESSES, REMOVED = "self", "accepted", "nevers", "formed", "addresses", "removed"
ARCHIVE = "archive"
NIL = b"\xc0"  # msgpack's None: facts are replaced, never deleted


class Self(msgspec.Struct, frozen=True):
    """What a directory was made for; never changes."""

    identity: str
    label: str
    public_key: str
    secret_key: str
    cluster: str
    size: int  # of the cluster when it is formed; 0 in a node that joins one
    app: str
    app_version: int

    @property
    def founder(self) -> Founder:
        return Founder(self.identity, self.label, self.public_key)


@dataclass(frozen=True, slots=True)
class Directory:
    """The facts of a node's storage, typed."""

    storage: Storage
    self: Self
    accepted: Proposal | None
    nevers: frozenset[str]  # ids of proposals that this node never accepts
    formed: bool
    addresses: dict[str, str]  # last known, by identity: hints for dialling
    removed: bool = False  # from its cluster, for good
    archive: str = ""  # where an embedded node's lay at its last start; empty: it had none

    @property
    def cluster_id(self) -> str | None:
        return cluster_id(self.accepted) if self.formed and self.accepted else None


def new_identity() -> str:
    """128 random bits, as 32 hex digits."""
    return secrets.token_hex(16)


def cluster_id(proposal: Proposal) -> str:
    """The hash of a proposal is the id of the cluster that it becomes."""
    return hashlib.blake2b(encode_canonically(proposal), digest_size=16).hexdigest()


def create(
    storage: Storage, options: NodeOptions, app: App[Any, Any], *, identity: str, public_key: str, secret_key: str
) -> Directory:
    """Make a new storage this node's."""
    mine = Self(
        identity=identity,
        label=options.label,
        public_key=public_key,
        secret_key=secret_key,
        cluster=options.cluster,
        size=options.size,
        app=app.name,
        app_version=app.version,
    )
    storage.record_facts({SELF: msgspec.msgpack.encode(mine)})
    return Directory(storage, mine, None, frozenset(), False, {})


def read(storage: Storage) -> Directory:
    """What the storage says.

    Raises:
        Damaged: it isn't a node's, or a fact does not decode.
    """
    facts = storage.facts()
    try:
        mine = msgspec.msgpack.decode(facts[SELF], type=Self)
        accepted = msgspec.msgpack.decode(facts.get(ACCEPTED, NIL), type=Proposal | None)
        nevers = msgspec.msgpack.decode(facts.get(NEVERS, b"\x90"), type=frozenset[str])
        addresses = msgspec.msgpack.decode(facts.get(ADDRESSES, b"\x80"), type=dict[str, str])
    except KeyError as error:
        raise Damaged("the directory does not say which node it is") from error
    except msgspec.MsgspecError as error:
        raise Damaged(f"a fact of the directory does not decode: {error}") from error
    archive = os.fsdecode(facts.get(ARCHIVE, b""))
    return Directory(storage, mine, accepted, nevers, FORMED in facts, addresses, REMOVED in facts, archive)


def check(mine: Self, options: NodeOptions, app: App[Any, Any]) -> None:
    """Refuse a directory that was made for something else.

    Raises:
        WrongDirectory: with what it was made for and what was asked.
    """
    pairs = [
        ("cluster", mine.cluster, options.cluster, "Give its name with --cluster."),
        ("node", mine.label, options.label, "Directories were mixed up: put each back in its place."),
        ("cluster size", mine.size, options.size, f"Leave --cluster-size out, or give {mine.size}."),
        ("app", mine.app, app.name, f"Start it with the app it was formed with: {mine.app}."),
        ("app version", mine.app_version, app.version, f"Start it with version {mine.app_version} of {mine.app}."),
    ]
    for what, there, asked, hint in pairs:
        if there != asked and (what, there) != ("cluster size", 0):
            raise WrongDirectory(f"the directory is of {what} {there}, not {asked}", hint=hint)


def record_accepted(storage: Storage, proposal: Proposal) -> None:
    """From now on this node stands by the proposal, over any crash."""
    storage.record_facts({ACCEPTED: msgspec.msgpack.encode(proposal)})


def record_never(storage: Storage, nevers: frozenset[str], *, gives_up: bool) -> None:
    """This node never accepts these proposals; where it `gives_up`, the one it accepted is among them."""
    facts = {NEVERS: msgspec.msgpack.encode(sorted(nevers))}
    if gives_up:
        facts[ACCEPTED] = NIL
    storage.record_facts(facts)


def record_formed(storage: Storage) -> None:
    """The accepted proposal is a cluster."""
    storage.record_facts({FORMED: b"\x01"})


def record_joined(storage: Storage, proposal: Proposal) -> None:
    """The cluster that the proposal once was has let this node in."""
    storage.record_facts({ACCEPTED: msgspec.msgpack.encode(proposal), FORMED: b"\x01"})


def record_removed(storage: Storage) -> None:
    """The cluster has removed this node."""
    storage.record_facts({REMOVED: b"\x01"})


def record_archive(storage: Storage, place: str) -> None:
    """From now on the archive has to be at this place; empty: there is none."""
    storage.record_facts({ARCHIVE: os.fsencode(place)})


def record_addresses(storage: Storage, addresses: dict[str, str]) -> None:
    """Where the members were last seen."""
    storage.record_facts({ADDRESSES: msgspec.msgpack.encode(addresses)})
