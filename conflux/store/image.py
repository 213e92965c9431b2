"""A machine as a snapshot holds it: small fields for its header, and a body of sessions, then the state's encoding.

    body    (length u32, part)… 0 u32, then the state as `wire.states` encodes it
    part    a session's head, or one of the segments of the session before it

Everything in it is a function of the log, and so is its encoding: nodes that fold the same entries write the same
bytes. The body is made in small pieces, so that the loop goes on between them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from pyrsistent import pmap

from conflux.app import App
from conflux.errors import ConfluxError, Damaged, MalformedValue
from conflux.store.machine import HashPoint, Machine
from conflux.store.records import MembersChanged, members_changed
from conflux.store.session import Segment, Session
from conflux.wire.clients import Outcome
from conflux.wire.states import decode_state, encode_slices

IMAGE_VERSION = 1
_LENGTH = struct.Struct(">I")
_END = _LENGTH.pack(0)

Positive = Annotated[int, Meta(ge=0)]


class Fields(Struct, array_like=True, frozen=True):
    """All of a machine but its sessions and its state, and which app made it."""

    version: int
    app: str
    app_version: int
    revision: Positive
    log_time_us: Positive
    log_hash: bytes
    sweep_us: Positive
    hash_revision: Positive
    hash_digest: bytes
    hash_bytes: Positive
    bytes_since_hash_point: Positive
    hash_logged: Positive
    members: MembersChanged
    sessions: Positive  # how many the body holds


class _SessionHead(Struct, tag=1, array_like=True, frozen=True):
    id: Positive
    seconds: Positive
    last_used_us: int
    next_sequence: Positive


class _SegmentPart(Struct, tag=2, array_like=True, frozen=True):
    first_sequence: Positive
    outcomes: list[Outcome]
    index: Positive
    first_revision: Positive


_encode = msgspec.msgpack.Encoder().encode
_fields_decoder = msgspec.msgpack.Decoder(Fields)
_part_decoder = msgspec.msgpack.Decoder(_SessionHead | _SegmentPart)


def encode_fields(machine: Machine, app: App[object, object]) -> bytes:
    """The header's fields. The machine's hash point must be worked out, and its state must have an encoding."""
    point = machine.hash_point
    assert point.digest is not None
    return _encode(
        Fields(
            version=IMAGE_VERSION,
            app=app.name,
            app_version=app.version,
            revision=machine.revision,
            log_time_us=machine.log_time_us,
            log_hash=machine.log_hash,
            sweep_us=machine.sweep_us,
            hash_revision=point.revision,
            hash_digest=point.digest,
            hash_bytes=point.bytes_total,
            bytes_since_hash_point=machine.bytes_since_hash_point,
            hash_logged=machine.hash_logged,
            members=members_changed(machine.membership),
            sessions=len(machine.sessions),
        )
    )


def decode_fields(packed: bytes) -> Fields:
    """Raises Damaged: these are no fields."""
    try:
        fields = _fields_decoder.decode(packed)
    except ValueError as error:  # msgspec's errors, and a str that is none
        raise Damaged(f"a snapshot's header does not decode: {error}") from error
    if fields.version != IMAGE_VERSION:
        raise Damaged(f"a snapshot is of format {fields.version}, not {IMAGE_VERSION}")
    return fields


def check_app(fields: Fields, app: App[object, object]) -> None:
    """Raises ConfluxError: the snapshot is of another app, or of another version of it."""
    for what, there, here in (("app", fields.app, app.name), ("app version", fields.app_version, app.version)):
        if there != here:
            raise ConfluxError(f"the snapshot is of {what} {there}, not {here}")


def encode_body(machine: Machine) -> Iterator[bytes]:
    """The body, in small pieces.

    Raises:
        MalformedValue: a part of the state is of a type that a state can't hold.
    """
    for _, session in sorted(machine.sessions.items()):
        yield _part(_SessionHead(session.id, session.seconds, session.last_used_us, session.next_sequence))
        for segment in session.segments:
            outcomes = list(segment.outcomes)
            yield _part(_SegmentPart(segment.first_sequence, outcomes, segment.index, segment.first_revision))
    yield _END
    yield from encode_slices(machine.state)


def decode_slices(fields: Fields, chunks: Iterable[bytes], *, index: int, term: int) -> Iterator[Machine | None]:
    """The machine that `encode_fields` and `encode_body` were asked to keep, at last; None while there's more to do.

    Args:
        chunks: the body, cut anyhow.

    Raises:
        Damaged: these bytes hold none.
    """
    parts = []
    for chunk in chunks:
        parts.append(chunk)
        yield None
    body = b"".join(parts)
    sessions, place = _sessions(body)
    if len(sessions) != fields.sessions:
        raise Damaged(f"a snapshot holds {len(sessions)} sessions, and should hold {fields.sessions}")
    try:
        state = decode_state(body[place:])
    except MalformedValue as error:
        raise Damaged(f"a snapshot's state does not decode: {error}") from error
    yield Machine(
        index=index,
        term=term,
        revision=fields.revision,
        state=state,
        sessions=pmap(sessions),
        membership=fields.members.membership(),
        log_time_us=fields.log_time_us,
        log_hash=fields.log_hash,
        sweep_us=fields.sweep_us,
        hash_point=HashPoint.known(fields.hash_revision, fields.hash_digest, fields.hash_bytes),
        bytes_since_hash_point=fields.bytes_since_hash_point,
        hash_logged=fields.hash_logged,
    )


def _part(part: _SessionHead | _SegmentPart) -> bytes:
    packed = _encode(part)
    return _LENGTH.pack(len(packed)) + packed


def _sessions(body: bytes) -> tuple[dict[int, Session], int]:
    """The sessions, and where the state begins."""
    heads: dict[int, _SessionHead] = {}
    segments: dict[int, list[Segment]] = {}
    current: list[Segment] | None = None
    place = 0
    try:
        while length := _LENGTH.unpack_from(body, place)[0]:
            part = _part_decoder.decode(body[place + _LENGTH.size : place + _LENGTH.size + length])
            place += _LENGTH.size + length
            if isinstance(part, _SessionHead):
                heads[part.id] = part
                current = segments[part.id] = []
            elif current is not None:
                current.append(_segment(part))
    except (ValueError, struct.error) as error:  # msgspec's errors are of the first kind
        raise Damaged(f"a snapshot's sessions do not decode: {error}") from error
    return {each: _session(head, segments[each]) for each, head in heads.items()}, place + _LENGTH.size


def _segment(part: _SegmentPart) -> Segment:
    return Segment(
        first_sequence=part.first_sequence,
        outcomes=part.outcomes,
        index=part.index,
        first_revision=part.first_revision,
    )


def _session(head: _SessionHead, segments: list[Segment]) -> Session:
    return Session(
        id=head.id,
        seconds=head.seconds,
        last_used_us=head.last_used_us,
        next_sequence=head.next_sequence,
        segments=tuple(segments),
    )
