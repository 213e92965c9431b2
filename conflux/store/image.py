"""A machine as a snapshot holds it: small fields for its header, and a body of sessions, then the state's encoding.

    body    (length u32, part)… 0 u32, then the state as `wire.states` encodes it
    part    a session's head, or one of the segments of the session before it

Everything in it is a function of the log, and so is its encoding: nodes that fold the same entries write the same
bytes. The body is made in small pieces, so that the loop goes on between them.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterable, Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from conflux.app import App
from conflux.errors import ConfluxError, Damaged, MalformedValue
from conflux.store.dumps import Loading, proven
from conflux.store.hash_points import HashPoint
from conflux.store.machine import Machine
from conflux.store.membership import Membership
from conflux.store.records import MembersChanged, members_changed
from conflux.store.session import Segment, Session
from conflux.store.session_table import SessionTable
from conflux.wire.clients import Outcome

IMAGE_VERSION = 1
PARTS_PER_STEP = 16
SESSIONS_PER_STEP = 256
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
    hash_index: Positive
    hash_log_hash: bytes  # the log's, there
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
    term: Positive
    wall_time_us: Positive


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
            hash_index=point.index,
            hash_log_hash=point.log_hash,
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


def with_members(packed: bytes, members: Membership) -> bytes:
    """The same fields, with these members in the place of others. Raises Damaged as `decode_fields` does."""
    return _encode(msgspec.structs.replace(decode_fields(packed), members=members_changed(members)))


def check_app(fields: Fields, app: App[object, object]) -> None:
    """Raises ConfluxError: the snapshot is of another app, or of another version of it."""
    for what, there, here in (("app", fields.app, app.name), ("app version", fields.app_version, app.version)):
        if there != here:
            raise ConfluxError(f"the snapshot is of {what} {there}, not {here}")


def encode_body(machine: Machine, app: App[object, object]) -> Iterator[bytes]:
    """The body, in small pieces.

    Raises:
        MalformedValue: a part of the state is of a type that a state can't hold, or the app can't load it again; maybe
            only at the end.
    """
    for number in sorted(machine.sessions):
        session = machine.sessions[number]
        yield _part(_SessionHead(session.id, session.seconds, session.last_used_us, session.next_sequence))
        for segment in session.segments:
            yield _part(_segment_part(segment))
    yield _END
    yield from proven(app, machine.state)


def decode_slices(
    fields: Fields, chunks: Iterable[bytes], app: App[object, object], *, index: int, term: int, bytes_total: int
) -> Iterator[Machine | None]:
    """The machine that `encode_fields` and `encode_body` were asked to keep, at last; None while there's more to do.

    Args:
        chunks: the body, cut anyhow.
        bytes_total: of all chunks.

    Raises:
        Damaged: these bytes hold none.
        ConfluxError: the app's `load` makes no state of it, or not the one that was kept.
    """
    reader = _BodyReader(app, bytes_total)
    try:
        for chunk in chunks:
            reader.feed(chunk)
            while reader.step():
                yield None
            yield None
        sessions, state = yield from reader.finish()
    except (ValueError, MalformedValue) as error:  # msgspec's errors are of the first kind
        raise Damaged(f"a snapshot's body does not decode: {error}") from error
    if len(sessions) != fields.sessions:
        raise Damaged(f"a snapshot holds {len(sessions)} sessions, and should hold {fields.sessions}")
    known = SessionTable()
    for count, session in enumerate(sessions.values(), 1):
        known = known.set(session)
        if count % SESSIONS_PER_STEP == 0:
            yield None
    yield Machine(
        index=index,
        term=term,
        revision=fields.revision,
        state=state,
        sessions=known,
        membership=fields.members.membership(),
        log_time_us=fields.log_time_us,
        log_hash=fields.log_hash,
        sweep_us=fields.sweep_us,
        hash_point=HashPoint.known(
            fields.hash_revision,
            fields.hash_digest,
            fields.hash_bytes,
            index=fields.hash_index,
            log_hash=fields.hash_log_hash,
        ),
        bytes_since_hash_point=fields.bytes_since_hash_point,
        hash_logged=fields.hash_logged,
    )


class _BodyReader:
    """Takes a body bit by bit: sessions first, then the state."""

    def __init__(self, app: App[object, object], bytes_total: int) -> None:
        self._buffer = bytearray()
        self._heads: list[_SessionHead] = []
        self._segments: dict[int, list[Segment]] = {}
        self._in_state = False
        self._state = Loading(app, bytes_total)

    def feed(self, chunk: bytes) -> None:
        """The next bytes."""
        if self._in_state:
            self._state.feed(chunk)
        else:
            self._buffer += chunk

    def step(self) -> bool:
        """Do a little; True while there's more to do with what was fed."""
        if self._in_state:
            return self._state.step()
        place = 0
        for _ in range(PARTS_PER_STEP):
            part = self._next_part(place)
            if part is None:
                break
            place += _LENGTH.size + len(part)
            if not part:
                self._in_state = True
                self._state.feed(bytes(self._buffer[place:]))
                break
            self._take(_part_decoder.decode(part))
        else:
            del self._buffer[:place]
            return True
        del self._buffer[:place]
        return self._in_state

    def finish(self) -> Generator[None, None, tuple[dict[int, Session], Any]]:
        """Sessions and state; yields while there's more to do."""
        if not self._in_state:
            raise MalformedValue("the end is missing")
        state = yield from self._state.finish()
        return {head.id: _session(head, self._segments[head.id]) for head in self._heads}, state

    def _next_part(self, place: int) -> bytes | None:
        """The part that stands at `place`; empty: the last one was before it. None: it isn't there yet."""
        if len(self._buffer) < place + _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer, place)
        start = place + _LENGTH.size
        return bytes(self._buffer[start : start + length]) if len(self._buffer) >= start + length else None

    def _take(self, part: _SessionHead | _SegmentPart) -> None:
        if isinstance(part, _SessionHead):
            self._heads.append(part)
            self._segments[part.id] = []
        elif self._heads:
            self._segments[self._heads[-1].id].append(_segment(part))
        else:
            raise MalformedValue("answers stand before the session that they are of")


def _part(part: _SessionHead | _SegmentPart) -> bytes:
    packed = _encode(part)
    return _LENGTH.pack(len(packed)) + packed


def _segment_part(segment: Segment) -> _SegmentPart:
    return _SegmentPart(
        segment.first_sequence,
        list(segment.outcomes),
        segment.index,
        segment.first_revision,
        segment.term,
        segment.wall_time_us,
    )


def _segment(part: _SegmentPart) -> Segment:
    return Segment(
        first_sequence=part.first_sequence,
        outcomes=part.outcomes,
        index=part.index,
        first_revision=part.first_revision,
        term=part.term,
        wall_time_us=part.wall_time_us,
    )


def _session(head: _SessionHead, segments: list[Segment]) -> Session:
    return Session(
        id=head.id,
        seconds=head.seconds,
        last_used_us=head.last_used_us,
        next_sequence=head.next_sequence,
        segments=tuple(segments),
    )
