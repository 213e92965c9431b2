"""How the journal's records stand in its sectors: pure, bytes in and bytes out.

    sector   512 bytes: epoch u64, record u16, left u16, crc32 u32 of these and the rest, 496 bytes of the record
    record   crc32 u32 of all that follows, length of the hard state u16, index of the first entry u64, count u32,
             the hard state, then each entry as in `layout`, its length u32 before it; zeros up to the sector's end

A disk writes a sector whole or not at all. So a sector is what it was before a write or what it is after it, its
checksum right in both cases, or zeros where none was written yet. A write that a crash cut short shows as a record
some of whose sectors are old; a wrong checksum is damage, and never passes for a write that did not come to its end:
what was acknowledged is not dropped in silence. The record's own checksum is for two writes that were cut short in the
same place, one after the other: their sectors may fit together, and no write was both.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple
from zlib import crc32

from conflux import limits
from conflux.errors import Damaged
from conflux.storage import layout
from conflux.storage.layout import HardState

SECTOR_BYTES = 512
SECTORS = limits.JOURNAL_BYTES // SECTOR_BYTES

_PLACE = struct.Struct(">QHH")  # epoch, number of the record in it, how many sectors of the record follow
_CHECKSUM = struct.Struct(">I")
_HEAD_BYTES = _PLACE.size + _CHECKSUM.size
_ROOM = SECTOR_BYTES - _HEAD_BYTES
_BLANK = bytes(SECTOR_BYTES)
_RECORD = struct.Struct(">HQI")
_LENGTH = struct.Struct(">I")


class Written(NamedTuple):
    """One write: what `persist` was given."""

    hard: HardState
    first: int  # index of the first entry; what stood from there on is replaced. Without an entry it means nothing
    values: list[bytes]  # of the entries, as `layout.encode_entry` makes them


class _Sector(NamedTuple):
    epoch: int
    record: int
    left: int
    content: bytes


def encode_record(written: Written) -> bytes:
    """The record's bytes, before they are spread over sectors."""
    hard = layout.encode_hard_state(written.hard)
    parts = [_RECORD.pack(len(hard), written.first, len(written.values)), hard]
    for value in written.values:
        parts += (_LENGTH.pack(len(value)), value)
    return b"".join(parts)


def sectors_for(record: bytes) -> int:
    """How many sectors a record takes."""
    return -(-(_CHECKSUM.size + len(record)) // _ROOM)


def encode_sectors(record: bytes, epoch: int, number: int) -> bytes:
    """A record as it stands in the file: its number counts the records of the epoch, from 0."""
    count = sectors_for(record)
    body = record.ljust(count * _ROOM - _CHECKSUM.size, b"\0")
    record = _CHECKSUM.pack(crc32(body)) + body
    parts: list[bytes] = []
    for place in range(count):
        head, content = _PLACE.pack(epoch, number, count - 1 - place), record[place * _ROOM : (place + 1) * _ROOM]
        parts += (head, _CHECKSUM.pack(crc32(content, crc32(head))), content)
    return b"".join(parts)


def decode_journal(data: bytes, epoch: int) -> list[Written]:
    """What was written in this epoch, in order; a last record that a crash cut short is none.

    Raises:
        Damaged: a sector is, or one is missing before the end.
    """
    if len(data) != SECTORS * SECTOR_BYTES:
        raise Damaged(f"the journal has {len(data):,} bytes, not {SECTORS * SECTOR_BYTES:,}")
    sectors = [_decode_sector(data, place) for place in range(SECTORS)]
    records, end = _records_of(lambda place: sectors[place], epoch)
    for sector in sectors[end:]:
        if sector is not None and sector.epoch == epoch and sector.record > len(records):
            raise Damaged(f"record {len(records)} of the journal is missing, and a later one is there")
        if sector is not None and sector.epoch > epoch:
            raise Damaged("the journal goes on where the data file has not arrived: one of them is an old copy")
    return [_decode_record(record) for record in records]


def decode_while_written(data: bytes, epoch: int) -> list[Written]:
    """The same beside a node that writes: what can't be read is being written."""

    def sector_at(place: int) -> _Sector | None:
        try:
            return _decode_sector(data, place)
        except Damaged:
            return None

    return [_decode_record(record) for record in _records_of(sector_at, epoch)[0]]


def _records_of(sector_at: Callable[[int], _Sector | None], epoch: int) -> tuple[list[bytes], int]:
    """The records that are whole, and the place behind them."""
    records: list[bytes] = []
    place = 0
    while place < SECTORS:
        content = _record_at(sector_at, place, epoch, len(records))
        record = b"".join(content)
        if not content or _CHECKSUM.unpack_from(record)[0] != crc32(record[_CHECKSUM.size :]):
            break
        records.append(record[_CHECKSUM.size :])
        place += len(content)
    return records, place


def _record_at(sector_at: Callable[[int], _Sector | None], place: int, epoch: int, number: int) -> list[bytes]:
    """What the sectors of a record hold; nothing, where it does not begin here or is cut short."""
    first = sector_at(place)
    if first is None or place + first.left >= SECTORS:
        return []
    content = []
    for left in range(first.left, -1, -1):
        sector = sector_at(place + first.left - left)
        if sector is None or (sector.epoch, sector.record, sector.left) != (epoch, number, left):
            return []
        content.append(sector.content)
    return content


def _decode_sector(data: bytes, place: int) -> _Sector | None:
    """A sector; None: nothing was ever written there."""
    sector = data[place * SECTOR_BYTES : (place + 1) * SECTOR_BYTES]
    head, content = sector[: _PLACE.size], sector[_HEAD_BYTES:]
    if _CHECKSUM.unpack_from(sector, _PLACE.size)[0] != crc32(content, crc32(head)):
        if sector == _BLANK:
            return None
        raise Damaged(f"sector {place} of the journal does not match its checksum")
    epoch, record, left = _PLACE.unpack(head)
    return _Sector(epoch, record, left, content)


def _decode_record(record: bytes) -> Written:
    hard_bytes, first, count = _RECORD.unpack_from(record)
    place = _RECORD.size + hard_bytes
    hard = layout.decode_hard_state(record[_RECORD.size : place])
    values = []
    for _ in range(count):
        (size,) = _LENGTH.unpack_from(record, place)
        place += _LENGTH.size
        values.append(record[place : place + size])
        place += size
    return Written(hard, first, values)
