"""A state's one encoding: for hashes, for transfer, for snapshots.

State is what the codec gives back unchanged: None, bool, int, float, str, bytes, list, dict with str keys, and
pyrsistent's `pvector` and `pmap`. Nothing else: a tuple would come back as a list, a set has no order. The encoder is a
generator, so that a large state is encoded in slices between the turns of a loop; `state_decoder` is its mirror.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Iterator
from heapq import merge
from itertools import chain, islice
from typing import Any

import msgpack
import msgspec
from pyrsistent import CheckedPMap, CheckedPVector, PMap, PVector

from conflux import limits
from conflux.errors import MalformedValue

DIGEST_BYTES = 16
GROUP_ELEMENTS = 512  # that are packed between two looks at the clock; fewer than 65,536
GROUP_BYTES = 64 * 1024  # or so many bytes
RUN_ELEMENTS = 4 * GROUP_ELEMENTS  # keys that are sorted at once

_encode = msgspec.msgpack.Encoder().encode  # the same bytes as msgpack's for scalars, in half the time
_SHORT = frozenset({type(None), bool, int, float})
_TEXT = frozenset({str, bytes})
_KEYS = frozenset({str})
_SCALARS = _SHORT | _TEXT
VECTOR, MAP = 1, 2  # extension types; each marks, as first element, an array that stands for a vector or a map
_VECTOR_MARK = msgpack.packb(msgpack.ExtType(VECTOR, b""))
_MAP_MARK = msgpack.packb(msgpack.ExtType(MAP, b""))
_LONG_ARRAY = 16  # elements; a header has 1 byte for fewer, 3 from here on
_LONG_TEXT, _LONG_BINARY = b"\xdb", b"\xc6"  # of msgpack, each followed by a length of 4 bytes


def encode_slices(state: Any) -> Generator[bytes, None, bool]:
    """The state's encoding in small pieces; some are empty. None takes long, whatever the state is.

    Returns:
        True where no list and no dict is in it: such a state can't be changed, only replaced.

    Raises:
        MalformedValue: a part of it is of a type that a state can't hold, an integer or str that doesn't encode, or
            nested too deep.
    """
    try:
        return (yield from _slices(state))
    except OverflowError as error:
        raise MalformedValue("the state holds an integer of more than 64 bits") from error
    except UnicodeEncodeError as error:
        raise MalformedValue("the state holds a str with a lone surrogate") from error


def encode_state(state: Any) -> bytes:
    """The state's encoding at once."""
    return b"".join(encode_slices(state))


def digest(slices: Iterable[bytes]) -> bytes:
    """Hash of an encoding."""
    hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in slices:
        hasher.update(part)
    return hasher.digest()


def to_plain(state: Any) -> Any:
    """The state with lists and dicts in place of vectors and maps, and hex text for bytes: what JSON can print."""
    kind = type(state)
    if kind is list or isinstance(state, PVector):
        return [to_plain(item) for item in state]
    if kind is dict or isinstance(state, PMap):
        return {key: to_plain(value) for key, value in state.items()}
    return state.hex() if kind is bytes else state


def _slices(state: Any) -> Generator[bytes, None, bool]:
    """Descend into containers without recursion: a piece is what was packed since the last, however deep that was.

    What a container holds is taken by the group. One that holds no containers itself is packed in one go, which costs a
    fifth of doing so one by one.
    """
    packer = msgpack.Packer()
    pack = packer.pack
    groups: Iterator[list[Any]] = iter(())
    elements: Iterator[Any] = iter((state,))
    open_containers = [(groups, elements)]  # the groups that are still to come, and what is left of one
    packed: list[bytes] = []
    packed_elements = packed_bytes = 0
    is_frozen = True
    while open_containers:
        if packed_elements >= GROUP_ELEMENTS or packed_bytes >= GROUP_BYTES:
            yield b"".join(packed)
            packed, packed_elements, packed_bytes = [], 0, 0
        groups, elements = open_containers[-1]
        for value in elements:
            kind = type(value)
            packed_elements += 1
            if kind in _SHORT or (kind in _TEXT and len(value) < GROUP_BYTES):
                packed.append(piece := pack(value))
                packed_bytes += len(piece)
                if packed_bytes >= GROUP_BYTES:
                    break  # and go on with the next one
            elif kind in _TEXT:
                yield b"".join(packed)
                packed, packed_elements, packed_bytes = [], 0, 0
                yield from _long(value)
            elif len(open_containers) > limits.STATE_DEPTH_MAX:
                raise MalformedValue("the state is nested too deep")
            elif _is_plain(value):
                is_frozen = False
                packed.append(piece := pack(value))
                packed_elements += len(value)
                packed_bytes += len(piece)
                if packed_elements >= GROUP_ELEMENTS or packed_bytes >= GROUP_BYTES:
                    break
            else:
                is_frozen = is_frozen and kind is not list and kind is not dict
                head, inner = yield from _opened(value, packer)
                packed.append(head)
                open_containers.append((inner, iter(())))
                break  # its elements come first
        else:
            group = next(groups, None)
            if group is None:
                open_containers.pop()
            elif _is_flat(group):
                packed.append(piece := _encode(group)[1 if len(group) < _LONG_ARRAY else 3 :])  # without its header
                packed_elements += len(group)
                packed_bytes += len(piece)
            else:
                open_containers[-1] = (groups, iter(group))
    yield b"".join(packed)
    return is_frozen


def _is_plain(value: Any) -> bool:
    """True for a short list or dict without containers in it: its encoding is MessagePack's own."""
    kind = type(value)
    if kind is list:
        return len(value) <= GROUP_ELEMENTS and _is_flat(value)
    if kind is not dict or len(value) > GROUP_ELEMENTS // 2:
        return False
    return _KEYS.issuperset(map(type, value)) and _is_flat([*value, *value.values()])


def _is_flat(group: list[Any]) -> bool:
    """True where these are neither containers nor, all together, long."""
    kinds = set(map(type, group))
    if kinds <= _SHORT:
        return True
    if not kinds <= _SCALARS:
        return False
    texts = group if kinds <= _TEXT else [value for value in group if type(value) in _TEXT]
    return sum(map(len, texts)) < GROUP_BYTES


def _opened(value: Any, packer: msgpack.Packer) -> Generator[bytes, None, tuple[bytes, Iterator[list[Any]]]]:
    """How a container begins, and the values that follow, by the group."""
    kind = type(value)
    if kind is list:
        return packer.pack_array_header(len(value)), _groups(value)
    if kind is dict:
        return packer.pack_map_header(len(value)), _pairs(value.items())
    if isinstance(value, PVector) and not isinstance(value, CheckedPVector):
        return packer.pack_array_header(len(value) + 1) + _VECTOR_MARK, _groups(value)
    if isinstance(value, PMap) and not isinstance(value, CheckedPMap):
        # Sorted, because a pmap's own order follows str hashes, which differ between processes.
        keys = yield from _sorted_keys(value)
        return packer.pack_array_header(2 * len(value) + 1) + _MAP_MARK, _pairs((key, value[key]) for key in keys)
    raise MalformedValue(f"a state can't hold a {kind.__name__}: use lists, dicts, pvector and pmap")


def _sorted_keys(held: PMap[Any, Any]) -> Generator[bytes, None, Iterator[str]]:
    """The keys in order, sorted in slices."""
    runs: list[list[str]] = []
    keys = iter(held)
    while group := list(islice(keys, GROUP_ELEMENTS)):
        if not runs or len(runs[-1]) >= RUN_ELEMENTS:
            runs.append([])
        runs[-1].extend(map(_checked_key, group))
        yield b""
    for run in runs:
        run.sort()
        if len(runs) > 1:
            yield b""
    return merge(*runs) if len(runs) > 1 else chain(*runs)


def _long(value: str | bytes) -> Iterator[bytes]:
    """A long str or bytes in pieces. A str's length in bytes comes before it, so it is encoded twice."""
    length = 0
    for piece in _pieces(value):
        length += len(piece)
        yield b""
    if length >= 2**32:
        raise MalformedValue(f"the state holds a {type(value).__name__} of {length:,} bytes")
    yield (_LONG_TEXT if type(value) is str else _LONG_BINARY) + length.to_bytes(4, "big")
    yield from _pieces(value)


def _pieces(value: str | bytes) -> Iterator[bytes]:
    for start in range(0, len(value), GROUP_BYTES):
        piece = value[start : start + GROUP_BYTES]
        yield piece.encode() if isinstance(piece, str) else piece


def _checked_key(key: Any) -> str:
    """The key of a map; raises MalformedValue if it is no str."""
    if type(key) is not str:
        raise MalformedValue(f"a state's keys are str, not {type(key).__name__}")
    return key


def _groups(values: Iterable[Any]) -> Iterator[list[Any]]:
    rest = iter(values)
    while group := list(islice(rest, GROUP_ELEMENTS)):
        yield group


def _pairs(items: Iterable[tuple[Any, Any]]) -> Iterator[list[Any]]:
    """Keys and values in turn."""
    rest = iter(items)
    while group := list(chain.from_iterable(islice(rest, GROUP_ELEMENTS // 2))):
        if set(map(type, group[::2])) != {str}:
            for key in group[::2]:
                _checked_key(key)
        yield group
