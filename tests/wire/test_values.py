"""JSON values: every refusal, on the way in and on the way out, and that what passes comes back the same."""

from __future__ import annotations

import math
import struct
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conflux import limits
from conflux.errors import MalformedValue
from conflux.wire import values

texts = st.text(st.characters(exclude_categories=("Cs",)))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**63), max_value=2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    texts,
)
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5), max_leaves=25
)


def same(left: Any, right: Any) -> bool:
    """Equal, and of equal types all the way down: 1, 1.0 and True are three values."""
    if type(left) is not type(right):
        return False
    if type(left) is list:
        return len(left) == len(right) and all(map(same, left, right))
    if type(left) is dict:
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if type(left) is float:
        return struct.pack(">d", left) == struct.pack(">d", right)
    return bool(left == right)


def nested(depth: int, kind: type = list) -> Any:
    """`depth` containers in one another."""
    value: Any = kind()
    for _ in range(depth - 1):
        value = [value] if kind is list else {"in": value}
    return value


@given(json_values)
def test_what_is_encoded_comes_back_equal_and_of_the_same_types(value):
    assert same(values.decode(values.encode(value)), value)
    assert same(values.decode_trusted(values.encode(value)), value)


@given(json_values)
def test_one_value_has_one_encoding(value):
    assert values.encode(values.decode(values.encode(value))) == values.encode(value)


class Text(str):
    pass


class Number(int):
    pass


class Mapping(dict):  # type: ignore[type-arg]
    pass


REFUSED = [
    ("nan", float("nan")),
    ("infinity", float("inf")),
    ("minus infinity", -math.inf),
    ("too large", 2**64),
    ("too small", -(2**63) - 1),
    ("far too large", 10**5000),
    ("surrogate", "a\ud800"),
    ("bytes", b"a"),
    ("bytearray", bytearray(b"a")),
    ("tuple", (1, 2)),
    ("set", {1}),
    ("object", object()),
    ("class", int),
    ("subclass of str", Text("a")),
    ("subclass of int", Number(1)),
    ("subclass of dict", Mapping()),
    ("complex", 1j),
]


@pytest.mark.parametrize("value", [value for _, value in REFUSED], ids=[name for name, _ in REFUSED])
def test_k5_what_is_no_json_value_is_refused_wherever_it_stands(value):
    for held in (value, [value], {"a": value}, [[1, {"a": [value]}]]):
        with pytest.raises(MalformedValue):
            values.encode(held)


@pytest.mark.parametrize("value", [value for _, value in REFUSED], ids=[name for name, _ in REFUSED])
def test_k5_what_is_no_json_value_is_refused_as_an_argument_in_the_same_words(value):
    for arguments in ((value,), ("a", value), ([value],), ({"a": value},)):
        with pytest.raises(MalformedValue) as as_arguments:
            values.encode_list(arguments)
        with pytest.raises(MalformedValue) as as_a_list:
            values.encode([*arguments])
        assert str(as_arguments.value) == str(as_a_list.value)


@given(st.lists(json_values, max_size=4))
def test_arguments_have_the_bytes_of_their_list(arguments):
    assert values.encode_list(tuple(arguments)) == values.encode(arguments)


@given(json_values | st.dictionaries(st.text(max_size=3), st.none() | st.booleans() | st.integers(-5, 5) | st.text()))
def test_an_action_has_its_bytes_and_what_they_decode_to(action):
    packed, decoded = values.encode_with_copy(action)
    assert packed == values.encode(action)
    assert repr(decoded) == repr(values.decode_trusted(packed))  # which tells 1 from True, and orders of keys


def test_what_an_action_is_decoded_to_is_nobody_elses():
    for action in ({"type": "add"}, {"type": "add", "things": [1]}):
        _, decoded = values.encode_with_copy(action)
        decoded["type"] = "another"
        decoded.setdefault("things", []).append(2)
        assert action in ({"type": "add"}, {"type": "add", "things": [1]})


@pytest.mark.parametrize("value", [value for _, value in REFUSED], ids=[name for name, _ in REFUSED])
def test_k5_what_is_no_json_value_is_refused_as_an_action_in_the_same_words(value):
    for action in (value, {"a": value}, {"a": [value]}):
        with pytest.raises(MalformedValue) as as_action:
            values.encode_with_copy(action)
        with pytest.raises(MalformedValue) as as_a_value:
            values.encode(action)
        assert str(as_action.value) == str(as_a_value.value)


def test_an_action_may_take_as_much_as_a_value():
    most = {"a": "a" * (limits.ACTION_BYTES_MAX - 10)}
    assert values.encode_with_copy(most) == (values.encode(most), most)
    with pytest.raises(MalformedValue, match="more than the 262,144"):
        values.encode_with_copy({"a": "a" * limits.ACTION_BYTES_MAX})


def test_arguments_may_take_as_much_together_as_a_value():
    rest = limits.ACTION_BYTES_MAX - 10
    assert len(values.encode_list(("a" * rest,))) <= limits.ACTION_BYTES_MAX
    with pytest.raises(MalformedValue, match="more than the 262,144"):
        values.encode_list(("a" * rest, "b" * 10))


@pytest.mark.parametrize("key", [1, None, b"a", (1,), 1.5, True, Text("a"), "\ud800"])
def test_k5_a_key_that_is_no_str_is_refused(key):
    with pytest.raises(MalformedValue):
        values.encode({key: 1})


def test_the_limits_of_64_bits_themselves_pass():
    assert values.decode(values.encode([-(2**63), 2**64 - 1])) == [-(2**63), 2**64 - 1]


@pytest.mark.parametrize("kind", [list, dict])
def test_k2_32_deep_passes_and_33_does_not(kind):
    deepest = nested(limits.VALUE_DEPTH_MAX, kind)
    assert values.decode(values.encode(deepest)) == deepest
    too_deep = nested(limits.VALUE_DEPTH_MAX + 1, kind)
    with pytest.raises(MalformedValue, match="more than 32 deep"):
        values.encode(too_deep)
    with pytest.raises(MalformedValue, match="more than 32 deep"):
        values.decode(msgpack.packb(too_deep))


def test_scalars_may_stand_in_the_deepest_container():
    deepest = nested(limits.VALUE_DEPTH_MAX - 1)
    innermost = deepest
    while innermost:
        innermost = innermost[0]
    innermost.append([None, 1.5, "a"])
    assert values.decode(values.encode(deepest)) == deepest


def test_k2_a_value_that_holds_itself_is_refused():
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(MalformedValue, match="deep"):
        values.encode(loop)


@pytest.mark.parametrize("depth", [100, 511, 512, 513, 1023, 1024, 1025, 100_000])
def test_k2_bytes_that_are_nested_far_too_deep_are_refused(depth):
    for opening in (b"\x91", b"\x81\xa1a"):
        with pytest.raises(MalformedValue):
            values.decode(opening * depth + b"\xc0")


@pytest.mark.parametrize(
    "header", [b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff"]
)
def test_k3_a_header_of_four_billion_elements_is_refused(header):
    with pytest.raises(MalformedValue):
        values.decode(header + b"\xc0" * 100)


@pytest.mark.parametrize(
    "packed",
    [
        msgpack.packb(msgpack.ExtType(5, b"abc")),
        b"\xd6\xff\0\0\0\0",
        msgpack.packb(msgpack.Timestamp(2**33, 5)),
        b"\xd4\xff\x00",  # a timestamp of a length that there is none of
        b"\xc7\x0c\xff" + b"\xff" * 12,
        b"\xc7\x00\x01",
    ],
)
def test_k4_extension_types_and_timestamps_are_refused(packed):
    for held in (packed, b"\x91" + packed, b"\x81\xa1a" + packed, b"\x81" + packed + b"\xc0"):
        with pytest.raises(MalformedValue):
            values.decode(held)


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xc1",
        b"\xc0\xc0",
        b"\x92\xc0",
        b"\xa1\xff",
        b"\xa3\xed\xa0\x80",
        b"\xcb" + struct.pack(">d", math.nan),
        b"\xca" + struct.pack(">f", math.inf),
        b"\xc4\x01a",
        b"\x81\x01\xc0",
        b"\x81\xc4\x01a\xc0",
        b"\x81\xc0\xc0",
        b"\x81\x90\xc0",
        b"\xd9",
    ],
    ids=lambda packed: packed.hex() or "nothing",
)
def test_k1_bytes_that_are_no_json_value_are_one_exception(packed):
    with pytest.raises(MalformedValue):
        values.decode(packed)


def test_k5_a_key_that_stands_twice_is_refused():
    with pytest.raises(MalformedValue):
        values.decode(b"\x82\xa1a\x01\xa1a\x02")


@given(st.binary(max_size=60))
def test_k1_any_bytes_are_a_value_or_malformed(packed):
    try:
        value = values.decode(packed)
    except MalformedValue:
        return
    assert same(values.decode(values.encode(value)), value)


@given(json_values, st.data())
def test_k1_a_value_with_a_changed_byte_is_a_value_or_malformed(value, data):
    packed = bytearray(values.encode(value))
    place = data.draw(st.integers(min_value=0, max_value=len(packed) - 1))
    packed[place] = data.draw(st.integers(min_value=0, max_value=255))
    try:
        values.encode(values.decode(bytes(packed)))
    except MalformedValue:
        pass


@pytest.mark.parametrize("value", ["", [], {}, 0, False, None, {"": ""}])
def test_k9_empty_values_are_values(value):
    assert same(values.decode(values.encode(value)), value)


def test_k9_a_name_of_a_megabyte_is_refused_for_its_size():
    with pytest.raises(MalformedValue, match=r"1,048,581 bytes are more than the 262,144"):
        values.encode("x" * limits.MIB)
    with pytest.raises(MalformedValue):
        values.encode({"x" * limits.MIB: 1})


def test_the_largest_value_passes_and_one_byte_more_does_not():
    fits = "x" * (limits.ACTION_BYTES_MAX - 5)
    assert len(values.encode(fits)) == limits.ACTION_BYTES_MAX
    with pytest.raises(MalformedValue):
        values.encode(fits + "x")
    assert values.encode("abc", bytes_max=4) == b"\xa3abc"
    with pytest.raises(MalformedValue):
        values.encode("abcd", bytes_max=4)


def test_what_is_refused_is_named_in_a_short_line():
    with pytest.raises(MalformedValue) as caught:
        values.encode([tuple(range(1000))])
    assert "tuple" in str(caught.value) and len(str(caught.value)) < 100
    assert "JSON values" in caught.value.hint
