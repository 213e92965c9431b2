"""LMDB's two meta pages, read without LMDB: is the newer one really the newer one?

Transaction n writes meta page n modulo 2, and LMDB believes the page with the higher number. One flipped bit in such a
number would bring back the state before the last transaction: sound in itself, and without what was acknowledged
last. But each transaction also lists the pages that it freed under its own number, in a tree that its meta page
leads to. So both numbers must agree with their lists, and differ by one.

The offsets are those of data format 1 (LMDB 0.9) on a 64-bit machine, in its byte order.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

# After the page's head (16 bytes), magic, version, address and map size: the records of the two root trees.
_META = struct.Struct("=40xIH34xQ4xH42xQQ")
_BRANCH_FLAG = 0x01
_INTEGER_KEY_FLAG = 0x08
_NO_ROOT = 2**64 - 1
_DEPTH_MAX = 32
_FIRST_TRANSACTION = 1  # the one that made the file had nothing to free


class _Meta(NamedTuple):
    page_bytes: int
    free_flags: int
    free_root: int
    main_flags: int
    last_page: int
    transaction: int


def findings(data_file: Path) -> Iterator[str]:
    """What is wrong with the meta pages, one sentence each. May raise anything if they are no such pages at all."""
    with data_file.open("rb") as file:
        first = _Meta._make(_META.unpack(file.read(_META.size)))
        file.seek(first.page_bytes)
        second = _Meta._make(_META.unpack(file.read(_META.size)))
        for number, meta in enumerate((first, second)):
            # LMDB acts upon these without a doubt: a flag for duplicates aborts the process.
            if (meta.free_flags, meta.main_flags) != (_INTEGER_KEY_FLAG, 0):
                yield f"meta page {number} has flags {meta.free_flags:#x} and {meta.main_flags:#x}"
            freed_by = _last_freeing_transaction(file, meta, first.page_bytes)
            if freed_by != (meta.transaction if meta.transaction > _FIRST_TRANSACTION else None):
                yield f"meta page {number} says transaction {meta.transaction}, its list of free pages {freed_by}"
        if abs(first.transaction - second.transaction) != 1:
            yield f"the meta pages are of transactions {first.transaction} and {second.transaction}"


def _last_freeing_transaction(file: BinaryIO, meta: _Meta, page_bytes: int) -> int | None:
    """The last key in the tree of free pages."""
    page = meta.free_root
    for _ in range(_DEPTH_MAX):
        if page == _NO_ROOT:
            return None
        file.seek(page * page_bytes)
        content = file.read(page_bytes)
        flags, lower = struct.unpack_from("=HH", content, 10)
        (node,) = struct.unpack_from("=H", content, lower - 2)  # the last of the page's pointers
        low, high, node_flags, _ = struct.unpack_from("=HHHH", content, node)
        if not flags & _BRANCH_FLAG:
            return int(struct.unpack_from("=Q", content, node + 8)[0])
        page = low | high << 16 | node_flags << 32
    return None
