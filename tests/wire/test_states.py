"""The encoding of states: it comes back equal, is one and the same in every process, and refuses what it can't keep."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections import OrderedDict, namedtuple
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrsistent import PMap, PVector, m, pdeque, plist, pmap, pset, pvector, v

from conflux.errors import MalformedValue
from conflux.wire.states import GROUP_ELEMENTS, decode_state, digest, encode_slices, encode_state, to_plain

ROOT = Path(__file__).resolve().parents[2]

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**63), max_value=2**64 - 1),
    st.floats(allow_nan=False),
    texts,
    st.binary(max_size=8),
)


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    lists = st.lists(inner, max_size=5)
    dicts = st.dictionaries(texts, inner, max_size=5)
    return lists | dicts | lists.map(pvector) | dicts.map(pmap)


states = st.recursive(scalars, containers, max_leaves=25)


def same(left: Any, right: Any) -> bool:
    """Equal, and of equal types all the way down."""
    for kind in (PVector, PMap, list, dict):
        if isinstance(left, kind) or isinstance(right, kind):
            if not (isinstance(left, kind) and isinstance(right, kind) and len(left) == len(right)):
                return False
            if kind in (PMap, dict):
                return all(key in right and same(left[key], right[key]) for key in left)
            return all(map(same, left, right))
    return type(left) is type(right) and (left == right or left != left)


@given(states)
def test_a_state_comes_back_equal_and_of_the_same_types(state):
    assert same(decode_state(encode_state(state)), state)


@given(states)
def test_a_state_that_came_back_has_the_same_encoding(state):
    assert encode_state(decode_state(encode_state(state))) == encode_state(state)


@given(states)
def test_slices_are_the_encoding(state):
    assert b"".join(encode_slices(state)) == encode_state(state)
    assert digest(encode_slices(state)) == digest([encode_state(state)])


@given(st.dictionaries(texts, st.integers(min_value=0, max_value=9), max_size=12), st.randoms())
def test_equal_maps_have_equal_encodings_however_they_were_built(held, random):
    items = list(held.items())
    random.shuffle(items)
    other = m()
    for key, value in items:
        other = (
            other.set(key, 0).set(key, value).set("gone", 1).remove("gone") if key != "gone" else other.set(key, value)
        )
    if "gone" in held:
        other = other.set("gone", held["gone"])
    assert other == pmap(held)
    assert encode_state(other) == encode_state(pmap(held))


HASHED_ANEW = """
from pyrsistent import pmap, pvector
from conflux.wire.states import digest, encode_slices
inner = pmap({f"key {n}": n for n in range(200)})
print(digest(encode_slices(pvector([inner, pmap({"in": inner}), {"z": 1, "a": inner}]))).hex())
"""


def test_a16_equal_states_have_equal_hashes_in_processes_that_hash_differently():
    found = set()
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", HASHED_ANEW]
        found.add(subprocess.run(command, env=environment, capture_output=True, check=True, timeout=60).stdout)
    assert len(found) == 1


Point = namedtuple("Point", "x y")

REFUSED = [
    *((1, 2), {1}, frozenset(), object(), int, 1j, range(3), bytearray(b"a"), memoryview(b"a"), Point(1, 2)),
    *(
        OrderedDict(a=1),
        pset([1]),
        plist([1]),
        pdeque([1]),
        {1: 1},
        {None: 1},
        {b"a": 1},
        pmap({1: 1}),
        2**64,
        "\ud800",
    ),
    *(pmap({"a": (1,)}), pvector([{1}]), {"\ud800": 1}, -(2**63) - 1),
]


@pytest.mark.parametrize("state", REFUSED, ids=lambda state: type(state).__name__)
def test_what_would_not_come_back_unchanged_is_refused_wherever_it_stands(state):
    for held in (state, [state], {"a": state}, pvector([state]), pmap({"a": [state]}), [1] * 600 + [state]):
        with pytest.raises(MalformedValue):
            encode_state(held)


@pytest.mark.parametrize("state", [pmap({1: 1, "a": 2}), pmap({None: 1, "a": 2}), pmap({(): 1, b"": 2})])
def test_a_pmap_with_keys_of_several_types_is_refused_like_any_other(state):
    with pytest.raises(MalformedValue):
        encode_state(state)


def test_a_state_that_holds_itself_is_refused():
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(MalformedValue, match="too deep"):
        encode_state(loop)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, -0.0, 5e-324])
def test_every_float_comes_back_as_it_was(number):
    back = decode_state(encode_state(v(number)))[0]
    assert (back == number or back != back) and math.copysign(1, back) == math.copysign(1, number)


def test_a_large_state_comes_in_many_slices():
    slices = [
        part for part in encode_slices([["a"] * GROUP_ELEMENTS * 3, {"b": list(range(GROUP_ELEMENTS * 2))}]) if part
    ]
    assert len(slices) > 5 and max(map(len, slices)) < 8 * GROUP_ELEMENTS


def test_lists_and_vectors_and_dicts_and_maps_are_told_apart():
    assert len({encode_state(state) for state in ([], pvector(), {}, pmap(), [[]], v(v()), [{}])}) == 7


@pytest.mark.parametrize(
    "packed",
    [
        b"",
        b"\xc1",
        b"\x92\xc0",
        b"\xc0\xc0",
        b"\x81\x01\xc0",
        b"\x91" * 2000,
        msgpack.packb(msgpack.ExtType(3, b"")),
        msgpack.packb([msgpack.ExtType(2, b""), "a"]),
        msgpack.packb([msgpack.ExtType(2, b""), [], 1]),
        b"\xd4\xff\x00",
    ],
    ids=lambda packed: packed[:8].hex(),
)
def test_bytes_that_are_no_state_are_one_exception(packed):
    with pytest.raises(MalformedValue, match="no state"):
        decode_state(packed)


@given(st.binary(max_size=40))
def test_any_bytes_are_decoded_or_malformed(packed):
    try:
        decode_state(packed)
    except MalformedValue:
        pass


@pytest.mark.parametrize(
    "packed",
    [
        msgpack.packb(msgpack.Timestamp(5)),
        msgpack.packb(msgpack.ExtType(1, b"")),
        msgpack.packb([1, msgpack.ExtType(2, b"")]),
        msgpack.packb([msgpack.ExtType(2, b""), 1, 2]),
        b"\x81\xc4\x01a\xc0",
    ],
    ids=["timestamp", "marker alone", "marker inside", "number as key", "bytes as key"],
)
def test_what_the_encoder_never_writes_is_not_decoded(packed):
    with pytest.raises(MalformedValue):
        decode_state(packed)


def test_a_state_is_shown_as_json_can_show_it():
    state = {"a": v(1, m(b=[b"\x01\xff"])), "c": None}
    assert to_plain(state) == {"a": [1, {"b": ["01ff"]}], "c": None}
    assert type(to_plain(v())) is list and type(to_plain(m())) is dict
