"""JSON values as bytes: arguments and actions. Strict on the way in, so that all nodes decode the same.

What takes part in every action goes through msgspec, which is several times as fast; msgpack reads what comes from
elsewhere and isn't in the one encoding that `encode` gives a value, since it alone can tell of a key that stands twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any, TypeAlias

import msgpack
import msgspec

from conflux import limits
from conflux.errors import MalformedValue

Value: TypeAlias = Any  # None, bool, int of 64 bits, finite float, str, list of values, dict from str to value

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode
_UNREADABLE = (ValueError, TypeError, OverflowError, RecursionError)  # what either decoder raises
_PLAIN = frozenset({str, int, bool, type(None)})


def check(value: Value, depth: int = 1) -> None:
    """Refuse what isn't a JSON value; subclasses too, since they'd come back as their base.

    Raises:
        MalformedValue: with what was found.
    """
    kind = type(value)
    if kind in _PLAIN:
        return
    if kind is float:
        if not isfinite(value):
            raise MalformedValue(f"{value} is no JSON number")
        return
    if kind is not dict and kind is not list:
        raise MalformedValue(f"{_describe(value)} is no JSON value")
    if depth > limits.VALUE_DEPTH_MAX:
        raise MalformedValue(f"nested more than {limits.VALUE_DEPTH_MAX} deep")
    if kind is dict:
        for key in value:
            if type(key) is not str:
                raise MalformedValue(f"a key must be a str, not {_describe(key)}")
        value = value.values()
    for item in value:
        if type(item) not in _PLAIN:
            check(item, depth + 1)


def encode(value: Value, bytes_max: int = limits.ACTION_BYTES_MAX) -> bytes:
    """The value's bytes.

    Raises:
        MalformedValue: it isn't a JSON value, or takes more than `bytes_max`.
    """
    check(value)
    try:
        packed = _encode(value)
    except OverflowError as error:
        raise MalformedValue("an integer doesn't fit into 64 bits") from error
    except UnicodeEncodeError as error:
        raise MalformedValue("a str holds a lone surrogate") from error
    if len(packed) > bytes_max:
        raise MalformedValue(f"{len(packed):,} bytes are more than the {bytes_max:,} that a value may take")
    return packed


def encode_list(items: Sequence[Value]) -> bytes:
    """As `encode` of a list of these items, and sooner done where they are few and plain: the arguments of a call are.

    Raises:
        MalformedValue: as `encode`.
    """
    for item in items:
        if type(item) not in _PLAIN:
            return encode([*items])
    try:
        packed = _encode(items)
    except (OverflowError, UnicodeEncodeError):
        return encode([*items])  # which says what is wrong
    return packed if len(packed) <= limits.ACTION_BYTES_MAX else encode([*items])


def encode_with_copy(value: Value) -> tuple[bytes, Value]:
    """As `encode`, and with it what all nodes decode from these bytes: nothing that can be changed through `value`.

    Sooner done where it is a flat dict of plain values, as most actions are: a copy is the same as what is decoded.

    Raises:
        MalformedValue: as `encode`.
    """
    if type(value) is dict:
        for key, item in value.items():
            if type(key) is not str or type(item) not in _PLAIN:
                break
        else:
            try:
                packed = _encode(value)
            except (OverflowError, UnicodeEncodeError):
                packed = encode(value)  # which says what is wrong
            if len(packed) <= limits.ACTION_BYTES_MAX:
                return packed, value.copy()
    packed = encode(value)
    return packed, decode_trusted(packed)


def decode(packed: bytes) -> Value:
    """The value that these bytes stand for, checked: for bytes from the network.

    Raises:
        MalformedValue: no JSON value; one exception for all that msgpack raises.
    """
    try:
        value = _decode(packed)
    except _UNREADABLE as error:
        raise MalformedValue(f"these bytes are no value: {error}") from error
    if type(value) is list:
        for item in value:  # arguments end here as a rule: without a dict among them, no key can stand twice
            if type(item) not in _PLAIN:
                break
        else:
            return value
    check(value)
    if _encode(value) == packed:
        return value
    value = _unpack(packed)
    check(value)
    return value


def decode_trusted(packed: bytes) -> Value:
    """The value that these bytes stand for, where `encode` made them and a checksum has kept them."""
    try:
        return _decode(packed)
    except _UNREADABLE as error:
        raise MalformedValue(f"these bytes are no value: {error}") from error


def _unpack(packed: bytes) -> Value:
    try:
        return msgpack.unpackb(
            packed, strict_map_key=True, ext_hook=_refuse_extension, object_pairs_hook=_without_repeats
        )
    except (*_UNREADABLE, msgpack.UnpackException) as error:
        raise MalformedValue(f"these bytes are no value: {error}") from error


def _without_repeats(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise MalformedValue("a key stands twice in a dict")
    return found


def _refuse_extension(code: int, _data: bytes) -> None:
    raise MalformedValue(f"extension type {code} is no JSON value")


def _describe(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"
