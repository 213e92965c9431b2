"""What an entry's payload holds: a header of fixed width, then records. Fixed from the first version on.

Every kind of entry has the header, no-op and membership too, so the entry of a revision is found by binary search over
indices, and the log's clock goes on over elections.
"""

from __future__ import annotations

import struct
from typing import TypeAlias

import msgspec
from msgspec import Struct

from conflux.errors import Damaged
from conflux.store.membership import Member, Membership, Replacement, Token
from conflux.wire.clients import Outcome

PAYLOAD_VERSION = 1
_HEADER = struct.Struct(">B3xIIQQQ")  # version, app version, actions, first revision, log time, wall time


_REVISIONS, _REVISIONS_AT = struct.Struct(">IQ"), 8  # actions, first revision: a part of it


class Header(Struct, frozen=True, kw_only=True):
    """What every entry says of itself."""

    app_version: int  # of the app whose reducer folds this entry
    actions: int  # how many of its records dispatched one
    first_revision: int  # of its first action; without one, what the next action's will be
    log_time_us: int  # since the cluster began; stands still without a leader
    wall_time_us: int  # since 1970, by the leader's clock: a label for people

    @property
    def next_revision(self) -> int:
        return self.first_revision + self.actions


class Calls(Struct, tag=1, array_like=True, frozen=True):
    """Calls `first_sequence`, + 1 … of a session, with what became of each."""

    session: int
    first_unanswered: int  # the table forgets answers before it
    first_sequence: int
    methods: list[str]  # one a call, or just one where they are all the same
    outcomes: list[Outcome]


class SessionOpened(Struct, tag=2, array_like=True, frozen=True):
    """A session begins; its id follows from the entry's index and this record's place among those that open one."""

    seconds: int  # of log time after its last use until it expires


class SessionClosed(Struct, tag=3, array_like=True, frozen=True):
    """A session ends, and its answers with it."""

    session: int


class StateHash(Struct, tag=4, array_like=True, frozen=True):
    """The hash of the state at a hash point, once a majority has it: every node holds its own against it."""

    revision: int
    digest: bytes


class MembersChanged(Struct, tag=5, array_like=True, frozen=True):
    """The members from this entry on, all of them: in an entry of its own, of kind MEMBERSHIP."""

    members: list[Member]
    removed: list[str]
    tokens: list[Token]
    replacement: Replacement | None

    def membership(self) -> Membership:
        """The value that the rest works with."""
        return Membership.made_of(self.members, removed=self.removed, tokens=self.tokens, replacement=self.replacement)


Record: TypeAlias = Calls | SessionOpened | SessionClosed | StateHash | MembersChanged

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(list[Record])
_NO_RECORDS = _encode([])


def encode_payload(header: Header, records: list[Record]) -> bytes:
    """The payload of an entry."""
    return _pack(header) + _encode(records)


def header_of(payload: bytes) -> Header:
    """The header alone, which is cheap.

    Raises:
        Damaged: it is none.
    """
    try:
        version, app_version, actions, first_revision, log_time_us, wall_time_us = _HEADER.unpack_from(payload)
    except struct.error as error:
        raise Damaged("an entry is shorter than its header") from error
    if version != PAYLOAD_VERSION:
        raise Damaged(f"an entry is of format {version}, not {PAYLOAD_VERSION}")
    return Header(
        app_version=app_version,
        actions=actions,
        first_revision=first_revision,
        log_time_us=log_time_us,
        wall_time_us=wall_time_us,
    )


def next_revision_of(payload: bytes) -> int:
    """What a header says of the next action's revision, where nothing else of it is asked for.

    Raises:
        Damaged: it is none.
    """
    try:
        actions, first_revision = _REVISIONS.unpack_from(payload, _REVISIONS_AT)
    except struct.error as error:
        raise Damaged("an entry is shorter than its header") from error
    if payload[0] != PAYLOAD_VERSION:
        raise Damaged(f"an entry is of format {payload[0]}, not {PAYLOAD_VERSION}")
    return int(first_revision + actions)


def records_of(payload: bytes) -> list[Record]:
    """The records.

    Raises:
        Damaged: they don't decode.
    """
    try:
        return _decoder.decode(memoryview(payload)[_HEADER.size :])
    except ValueError as error:  # of msgspec, or a str that is none
        raise Damaged(f"an entry's records do not decode: {error}") from error


def noop_payload(
    last_payload: bytes | None, *, app_version: int, wall_time_us: int, beginning: tuple[int, int] = (1, 0)
) -> bytes:
    """The payload of a term's first entry: revision and log time go on where the last entry left them.

    Args:
        last_payload: of the log's last entry; None: the log is empty.
        beginning: the next action's revision, and the log time, of an empty log: where its snapshot ends.
    """
    last = header_of(last_payload) if last_payload is not None else None
    first_revision, log_time_us = (last.next_revision, last.log_time_us) if last else beginning
    header = Header(
        app_version=app_version,
        actions=0,
        first_revision=first_revision,
        log_time_us=log_time_us,
        wall_time_us=wall_time_us,
    )
    return _pack(header) + _NO_RECORDS


def members_changed(membership: Membership) -> MembersChanged:
    """The record that puts a membership in force."""
    return MembersChanged(
        list(membership.members_by_identity),
        list(membership.removed),
        list(membership.tokens),
        membership.replacement,
    )


def membership_of(payload: bytes) -> Membership | None:
    """What a membership entry's payload puts in force; None where it is none."""
    try:
        found = [record for record in records_of(payload) if isinstance(record, MembersChanged)]
    except Damaged:
        return None
    membership = found[0].membership() if len(found) == 1 else None
    return membership if membership is not None and membership.problem() is None else None


def method_names(calls: Calls) -> list[str]:
    """The method of each call."""
    return calls.methods * len(calls.outcomes) if len(calls.methods) == 1 else calls.methods


def _pack(header: Header) -> bytes:
    return _HEADER.pack(
        PAYLOAD_VERSION,
        header.app_version,
        header.actions,
        header.first_revision,
        header.log_time_us,
        header.wall_time_us,
    )
