"""How a snapshot stands on disk: an LMDB environment of its own, with two sub-databases.

    chunks  4-byte big-endian number -> crc32 u32, bytes of the body
    meta    "header"                 -> "conflux\\0", format version u32, index, term, revision u64, fields, crc32
            "end"                    -> chunk count, body bytes u64, checksum of the whole, crc32; written last

The checksum of the whole is over header and body and not over how the body was cut: it is what two nodes compare.
A chunk's checksum covers its number.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from zlib import crc32

from conflux import limits
from conflux.errors import NewerFormat, SnapshotDamaged
from conflux.storage.interface import SnapshotHeader

CHUNKS = b"chunks"
META = b"meta"
HEADER = b"header"
END = b"end"

WHOLE_BYTES = 16
_NUMBER = struct.Struct(">I")
_CHECKSUM = struct.Struct(">I")
_FORMAT = struct.Struct(">8sI")
_NUMBERS = struct.Struct(">QQQ")
_FIELDS_BYTES = struct.Struct(">Q")
_END = struct.Struct(f">QQ{WHOLE_BYTES}s")
_MAGIC = b"conflux\0"


class SnapshotHasher:
    """The checksum of the whole, of a body that comes bit by bit."""

    def __init__(self, header: SnapshotHeader) -> None:
        head = _numbers(header) + _FIELDS_BYTES.pack(len(header.fields)) + header.fields
        self._hasher = hashlib.blake2b(head, digest_size=WHOLE_BYTES)

    def update(self, part: bytes) -> None:
        """Add the next part of the body."""
        self._hasher.update(part)

    def digest(self) -> bytes:
        """Of the header and all parts so far."""
        return self._hasher.digest()


@dataclass(frozen=True, slots=True)
class End:
    """What the last write of a snapshot says."""

    chunk_count: int
    body_bytes: int
    checksum: bytes


def chunk_key(number: int) -> bytes:
    """Big-endian, so that LMDB's byte order is the body's."""
    return _NUMBER.pack(number)


def encode_chunk(number: int, chunk: bytes) -> bytes:
    """The value of one chunk."""
    return _CHECKSUM.pack(crc32(chunk, crc32(chunk_key(number)))) + chunk


def decode_chunk(number: int, value: bytes | memoryview | None) -> bytes | memoryview:
    """The chunk, a part of `value`; raises SnapshotDamaged naming it."""
    if value is None:
        raise SnapshotDamaged(f"chunk {number} of the snapshot is missing")
    chunk = value[_CHECKSUM.size :]
    if len(value) < _CHECKSUM.size or _CHECKSUM.unpack_from(value)[0] != crc32(chunk, crc32(chunk_key(number))):
        raise SnapshotDamaged(f"chunk {number} of the snapshot does not match its checksum")
    return chunk


def encode_header(header: SnapshotHeader) -> bytes:
    """The value of the header."""
    body = _FORMAT.pack(_MAGIC, limits.FORMAT_VERSION) + _numbers(header) + header.fields
    return body + _CHECKSUM.pack(crc32(body))


def decode_header(value: bytes | None) -> SnapshotHeader:
    """Raises NewerFormat and SnapshotDamaged."""
    body = _checked("header", value, _FORMAT.size + _NUMBERS.size)
    magic, version = _FORMAT.unpack_from(body)
    if magic != _MAGIC:
        raise SnapshotDamaged("the snapshot was not written by Conflux")
    if version > limits.FORMAT_VERSION:
        raise NewerFormat(f"a snapshot has format {version}; this version of Conflux reads {limits.FORMAT_VERSION}")
    index, term, revision = _NUMBERS.unpack_from(body, _FORMAT.size)
    fields = body[_FORMAT.size + _NUMBERS.size :]
    return SnapshotHeader(index=index, term=term, revision=revision, fields=fields)


def encode_end(end: End) -> bytes:
    """The value of the end."""
    body = _END.pack(end.chunk_count, end.body_bytes, end.checksum)
    return body + _CHECKSUM.pack(crc32(body))


def decode_end(value: bytes | None) -> End:
    """Raises SnapshotDamaged."""
    return End(*_END.unpack(_checked("end", value, _END.size)[: _END.size]))


def _numbers(header: SnapshotHeader) -> bytes:
    return _NUMBERS.pack(header.index, header.term, header.revision)


def _checked(what: str, value: bytes | None, bytes_min: int) -> bytes:
    if value is None:
        raise SnapshotDamaged(f"the {what} of the snapshot is missing")
    body, checksum = value[: -_CHECKSUM.size], value[-_CHECKSUM.size :]
    if len(body) < bytes_min or _CHECKSUM.unpack(checksum)[0] != crc32(body):
        raise SnapshotDamaged(f"the {what} of the snapshot does not match its checksum")
    return body
