"""Bytes that no Conflux writes, and whose checksums are right all the same, are damage by name."""

from __future__ import annotations

import struct
from zlib import crc32

import pytest

from conflux.errors import Damaged
from conflux.raft.entry import Entry, Kind
from conflux.storage import layout
from conflux.storage.layout import HardState
from tests.storage.making import entry

UNKNOWN_KIND = 99


def value_of_kind(index: int, kind: int) -> memoryview:
    checksum = crc32(b"payload", crc32(struct.pack(">QQB", index, 1, kind)))
    return memoryview(struct.pack(">QBI", 1, kind, checksum) + b"payload")


def test_an_entry_comes_back_as_it_was() -> None:
    assert layout.decode_entry(3, memoryview(layout.encode_entry(entry(3)))) == entry(3)


def test_a_key_of_another_length_is_damage() -> None:
    assert layout.entry_position(layout.entry_key(7)) == 7
    with pytest.raises(Damaged, match="a key of 3 bytes"):
        layout.entry_position(b"abc")


def test_an_entry_that_is_cut_short_is_damage_and_is_shown_as_bytes() -> None:
    with pytest.raises(Damaged, match="entry 3 is cut short: 4 bytes"):
        layout.decode_entry(3, memoryview(b"four"))
    assert layout.salvage_entry(3, memoryview(b"four")) == Entry(3, 0, Kind.NOOP, b"four")


def test_an_entry_of_an_unknown_kind_is_damage_though_its_checksum_is_right() -> None:
    with pytest.raises(Damaged, match="of a kind that this version does not know"):
        layout.decode_entry(3, value_of_kind(3, UNKNOWN_KIND))
    assert layout.salvage_entry(3, value_of_kind(3, UNKNOWN_KIND)) == Entry(3, 1, Kind.NOOP, b"payload")


def test_a_hard_state_of_another_program_is_damage_though_its_checksum_is_right() -> None:
    state = layout.encode_hard_state(HardState())
    head = b"foreign\0" + state[8:12]
    with pytest.raises(Damaged, match="not written by Conflux"):
        layout.decode_hard_state(head + struct.pack(">I", crc32(head)) + state[16:])
