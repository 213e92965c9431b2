"""A state's one encoding: for hashes, for transfer, for snapshots.

State is what the codec gives back unchanged: None, bool, int, float, str, bytes, list, dict with str keys, and
pyrsistent's `pvector` and `pmap`. Nothing else: a tuple would come back as a list, a set has no order. The encoder is a
generator, so that a large state is encoded in slices between the turns of a loop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import msgpack
from pyrsistent import CheckedPMap, CheckedPVector, PMap, PVector, pmap, pvector

from conflux.errors import MalformedValue

DIGEST_BYTES = 16
GROUP_ELEMENTS = 512  # scalars that are packed between two looks at the clock

_SCALARS = frozenset({type(None), bool, int, float, str, bytes})
_VECTOR, _MAP = 1, 2  # extension types; each marks, as first element, an array that stands for a vector or a map
_VECTOR_MARK = msgpack.packb(msgpack.ExtType(_VECTOR, b""))
_MAP_MARK = msgpack.packb(msgpack.ExtType(_MAP, b""))


class _Mark:
    """A decoded marker, which no user's value can be."""


_MARKS = {_VECTOR: _Mark(), _MAP: _Mark()}


def encode_slices(state: Any) -> Iterator[bytes]:
    """The state's encoding in small pieces.

    Raises:
        MalformedValue: a part of it is of a type that a state can't hold, or an integer or str that doesn't encode.
    """
    packer = msgpack.Packer()
    try:
        yield from _slices(state, packer)
    except OverflowError as error:
        raise MalformedValue("the state holds an integer of more than 64 bits") from error
    except UnicodeEncodeError as error:
        raise MalformedValue("the state holds a str with a lone surrogate") from error
    except RecursionError as error:
        raise MalformedValue("the state is nested too deep") from error


def encode_state(state: Any) -> bytes:
    """The state's encoding at once."""
    return b"".join(encode_slices(state))


def decode_state(packed: bytes) -> Any:
    """The state that `encode_state` encoded, equal and of the same types.

    Raises:
        MalformedValue: these bytes are none.
    """
    try:
        state = msgpack.unpackb(packed, strict_map_key=True, ext_hook=_mark, list_hook=_revive, object_hook=_checked)
        _refuse_strays([state])
        return state
    except (ValueError, TypeError, OverflowError, RecursionError, KeyError, msgpack.UnpackException) as error:
        raise MalformedValue(f"these bytes are no state: {error}") from error


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


def _slices(value: Any, packer: msgpack.Packer) -> Iterator[bytes]:
    kind = type(value)
    if kind in _SCALARS:
        yield packer.pack(value)
    elif kind is list:
        yield packer.pack_array_header(len(value))
        yield from _elements(value, packer)
    elif kind is dict:
        yield packer.pack_map_header(len(value))
        yield from _elements(_pairs(value.items()), packer)
    elif isinstance(value, PVector) and not isinstance(value, CheckedPVector):
        yield packer.pack_array_header(len(value) + 1) + _VECTOR_MARK
        yield from _elements(value, packer)
    elif isinstance(value, PMap) and not isinstance(value, CheckedPMap):
        # Sorted, because a pmap's own order follows str hashes, which differ between processes.
        yield packer.pack_array_header(2 * len(value) + 1) + _MAP_MARK
        yield from _elements(_pairs((key, value[key]) for key in sorted(value, key=_checked_key)), packer)
    else:
        raise MalformedValue(f"a state can't hold a {kind.__name__}: use lists, dicts, pvector and pmap")


def _elements(values: Iterable[Any], packer: msgpack.Packer) -> Iterator[bytes]:
    group: list[bytes] = []
    for value in values:
        if type(value) in _SCALARS:
            group.append(packer.pack(value))
            if len(group) >= GROUP_ELEMENTS:
                yield b"".join(group)
                group = []
        else:
            yield b"".join(group)
            group = []
            yield from _slices(value, packer)
    yield b"".join(group)


def _checked_key(key: Any) -> str:
    if type(key) is not str:
        raise MalformedValue(f"a state's keys are str, not {type(key).__name__}")
    return key


def _pairs(items: Iterable[tuple[Any, Any]]) -> Iterator[Any]:
    for key, value in items:
        yield _checked_key(key)
        yield value


def _mark(code: int, _data: bytes) -> _Mark:
    return _MARKS[code]


def _refuse_strays(values: Iterable[Any]) -> None:
    """Refuse what the encoder never writes: a marker that marks nothing, a timestamp."""
    for value in values:
        if type(value) is _Mark or type(value) is msgpack.Timestamp:
            raise MalformedValue("these bytes are no state: an extension type stands where a value should")


def _checked(found: dict[Any, Any]) -> dict[Any, Any]:
    for key in found:
        _checked_key(key)
    _refuse_strays(found.values())
    return found


def _revive(items: list[Any]) -> Any:
    _refuse_strays(islice(items, 1, None))
    if items and type(items[0]) is msgpack.Timestamp:
        _refuse_strays(items)
    if items and type(items[0]) is _Mark:
        if items[0] is _MARKS[_VECTOR]:
            return pvector(items[1:])
        return pmap(_checked(dict(zip(items[1::2], items[2::2], strict=True))))
    return items
