"""What an entry's payload holds: a header of fixed width, then records. Fixed from the first version on.

Every kind of entry has the header, no-op and membership too, so the entry of a revision is found by binary search over
indices, and the log's clock goes on over elections.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TypeAlias

import msgspec
from msgspec import Struct

from conflux.errors import Damaged
from conflux.wire.clients import Outcome

PAYLOAD_VERSION = 1
_HEADER = struct.Struct(">B3xIIQQQ")  # version, app version, actions, first revision, log time, wall time


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
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


Record: TypeAlias = Calls | SessionOpened | SessionClosed | StateHash

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


def records_of(payload: bytes) -> list[Record]:
    """The records.

    Raises:
        Damaged: they don't decode.
    """
    try:
        return _decoder.decode(memoryview(payload)[_HEADER.size :])
    except msgspec.MsgspecError as error:
        raise Damaged(f"an entry's records do not decode: {error}") from error


def noop_payload(last_payload: bytes | None, *, app_version: int, wall_time_us: int) -> bytes:
    """The payload of a term's first entry: revision and log time go on where the last entry left them."""
    last = header_of(last_payload) if last_payload is not None else None
    header = Header(
        app_version=app_version,
        actions=0,
        first_revision=last.next_revision if last else 1,
        log_time_us=last.log_time_us if last else 0,
        wall_time_us=wall_time_us,
    )
    return _pack(header) + _NO_RECORDS


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
