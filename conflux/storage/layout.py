"""How a node's data stands on disk: three sub-databases, and a checksum in every value.

    log     8-byte big-endian position -> term u64, kind u8, crc32 u32, payload
    meta    "hard_state"            -> "conflux\\0", format version u32, crc32 of the two, then term, commit index,
                                       snapshot index, snapshot term u64, log offset i64, journal's epoch u64, vote,
                                       crc32 of all before it
    facts   name                    -> crc32 u32, bytes

An entry's position is its index plus the log offset, which is 0 until a log is dropped for a snapshot that isn't in
it. Then the new log's positions begin after the old one's. So what is no part of the log any more, cut off or dropped,
is always what stands at or below the snapshot's position, and may be deleted at leisure.

LMDB hands back a flipped bit without a word, so a value that carries no checksum of ours doesn't exist. A checksum
also covers the key: a value that was moved is as wrong as one that was changed.

Rule 1: "hard_state" with its first 16 bytes keeps its place in every later format, so that any program can tell a
newer directory from a damaged one. Rule 2: a change of anything else raises `limits.FORMAT_VERSION`.
"""

from __future__ import annotations

import struct
from functools import cache
from zlib import crc32

from msgspec import Struct

from conflux import limits
from conflux.errors import Damaged, NewerFormat
from conflux.raft.entry import Entry, Kind
from conflux.raft.invariant import invariant

LOG = b"log"
META = b"meta"
FACTS = b"facts"
HARD_STATE = b"hard_state"

VOTE_BYTES_MAX = 128
FACT_NAME_BYTES_MAX = 128  # LMDB takes keys of up to 511 bytes

_INDEX = struct.Struct(">Q")
_ENTRY = struct.Struct(">QBI")  # term, kind, crc32
_SIGNED = struct.Struct(">QQB")  # index, term, kind: what the entry's checksum covers before the payload
_FORMAT = struct.Struct(">8sI")  # magic, format version
_NUMBERS = struct.Struct(f">QQQQqQ?B{VOTE_BYTES_MAX}s")
_NUMBERS_BEFORE = {  # of earlier formats
    1: struct.Struct(f">QQQQ?B{VOTE_BYTES_MAX}s"),  # no log offset
    2: struct.Struct(f">QQQQq?B{VOTE_BYTES_MAX}s"),  # no journal
}
_CHECKSUM = struct.Struct(">I")
_MAGIC = b"conflux\0"
_FORMAT_BYTES = _FORMAT.size + _CHECKSUM.size


class HardState(Struct, frozen=True, kw_only=True):
    """What Raft must never forget, beside the log. It goes down with every transaction."""

    term: int = 0
    vote: str | None = None
    commit_index: int = 0
    snapshot_index: int = 0
    snapshot_term: int = 0
    log_offset: int = 0
    journal_epoch: int = 0  # what the journal holds of it comes after this; 0: there is no journal yet

    @property
    def base_position(self) -> int:
        """What stands here or below in the log's sub-database is no part of the log."""
        return self.snapshot_index + self.log_offset


# The log.


def entry_key(position: int) -> bytes:
    """Big-endian, so that LMDB's byte order is the log's order."""
    return _INDEX.pack(position)


def entry_position(key: bytes | memoryview) -> int:
    """The position that a key of the log stands for; raises Damaged if it is none."""
    if len(key) != _INDEX.size:
        raise Damaged(f"the log has a key of {len(key)} bytes: {bytes(key)[:16].hex()}")
    (position,) = _INDEX.unpack(key)
    return int(position)


def encode_entry(entry: Entry) -> bytes:
    """The value of one entry."""
    checksum = crc32(entry.payload, crc32(_SIGNED.pack(entry.index, entry.term, entry.kind)))
    return _ENTRY.pack(entry.term, entry.kind, checksum) + entry.payload


def checked_term(index: int, value: memoryview) -> int:
    """The entry's term, once its checksum is found right; raises Damaged. The hot path of opening: no copy."""
    if len(value) < _ENTRY.size:
        raise Damaged(f"entry {index} is cut short: {len(value)} bytes")
    term, kind, checksum = _ENTRY.unpack_from(value)
    if crc32(value[_ENTRY.size :], crc32(_SIGNED.pack(index, term, kind))) != checksum:
        raise Damaged(f"entry {index} does not match its checksum")
    return int(term)


def is_membership(value: memoryview) -> bool:
    """True where an entry's value is of that kind."""
    return value[_ENTRY.size - _CHECKSUM.size - 1] == Kind.MEMBERSHIP


def payload_bytes(value: memoryview) -> int:
    """How long the payload of an entry's value is."""
    return len(value) - _ENTRY.size


def decode_entry(index: int, value: memoryview) -> Entry:
    """The entry that stands at `index`; raises Damaged naming the index."""
    term = checked_term(index, value)
    try:
        kind = Kind(value[_ENTRY.size - _CHECKSUM.size - 1])
    except ValueError:
        raise Damaged(f"entry {index} is of a kind that this version does not know") from None
    return Entry(index, term, kind, bytes(value[_ENTRY.size :]))


def salvage_entry(index: int, value: memoryview) -> Entry:
    """What can be shown of a damaged entry: nothing of it is to be trusted."""
    if len(value) < _ENTRY.size:
        return Entry(index, 0, Kind.NOOP, bytes(value))
    term, kind, _ = _ENTRY.unpack_from(value)
    known = Kind(kind) if kind in Kind.__members__.values() else Kind.NOOP
    return Entry(index, term, known, bytes(value[_ENTRY.size :]))


# The hard state.


def encode_hard_state(state: HardState) -> bytes:
    """Fixed width: writing it never moves anything else in the tree."""
    vote = b"" if state.vote is None else state.vote.encode()
    invariant(len(vote) <= VOTE_BYTES_MAX, f"a vote has at most {VOTE_BYTES_MAX} bytes")
    body = _head(limits.FORMAT_VERSION) + _NUMBERS.pack(
        state.term,
        state.commit_index,
        state.snapshot_index,
        state.snapshot_term,
        state.log_offset,
        state.journal_epoch,
        state.vote is not None,
        len(vote),
        vote,
    )
    return body + _CHECKSUM.pack(crc32(body))


@cache
def _head(version: int) -> bytes:
    head = _FORMAT.pack(_MAGIC, version)
    return head + _CHECKSUM.pack(crc32(head))


def decode_hard_state(value: bytes) -> HardState:
    """Raises NewerFormat before it interprets anything but the version, and Damaged."""
    layout = _NUMBERS_BEFORE.get(_checked_format(value), _NUMBERS)
    (checksum,) = _CHECKSUM.unpack(value[-_CHECKSUM.size :])
    if len(value) != _FORMAT_BYTES + layout.size + _CHECKSUM.size or crc32(value[: -_CHECKSUM.size]) != checksum:
        raise Damaged("hard_state (term, vote, commit index) does not match its checksum")
    *numbers, voted, vote_bytes, vote = layout.unpack_from(value, _FORMAT_BYTES)
    term, commit_index, snapshot_index, snapshot_term, *later = numbers
    log_offset, journal_epoch, *_ = *later, 0, 0
    return HardState(
        term=term,
        vote=vote[:vote_bytes].decode() if voted else None,
        commit_index=commit_index,
        snapshot_index=snapshot_index,
        snapshot_term=snapshot_term,
        log_offset=log_offset,
        journal_epoch=journal_epoch,
    )


def _checked_format(value: bytes) -> int:
    if len(value) < _FORMAT_BYTES or _CHECKSUM.unpack_from(value, _FORMAT.size)[0] != crc32(value[: _FORMAT.size]):
        raise Damaged("hard_state: the format version does not match its checksum")
    magic, version = _FORMAT.unpack_from(value)
    if magic != _MAGIC:
        raise Damaged("hard_state was not written by Conflux")
    if version > limits.FORMAT_VERSION:
        raise NewerFormat(f"the directory has format {version}; this version of Conflux reads {limits.FORMAT_VERSION}")
    return int(version)


# Facts.


def fact_key(name: str) -> bytes:
    """The key of a fact."""
    key = name.encode()
    invariant(0 < len(key) <= FACT_NAME_BYTES_MAX, f"a fact's name has 1 to {FACT_NAME_BYTES_MAX} bytes")
    return key


def encode_fact(key: bytes, content: bytes) -> bytes:
    """The value of one fact."""
    return _CHECKSUM.pack(crc32(content, crc32(key))) + content


def decode_fact(key: bytes, value: bytes) -> tuple[str, bytes]:
    """Name and content; raises Damaged naming the fact."""
    content = value[_CHECKSUM.size :]
    if len(value) < _CHECKSUM.size or _CHECKSUM.unpack_from(value)[0] != crc32(content, crc32(key)):
        raise Damaged(f"fact {key.decode(errors='replace')!r} does not match its checksum")
    return key.decode(), content
