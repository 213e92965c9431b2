"""The encoding of states: it comes back equal, is one and the same in every process, and refuses what it can't keep."""

from __future__ import annotations

import contextlib
import gc
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
from conflux.wire.state_decoder import StateDecoder, decode_state
from conflux.wire.states import GROUP_ELEMENTS, digest, encode_slices, encode_state, to_plain

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


def could_be_changed(state: Any) -> bool:
    """Whether a list or a dict is in it."""
    if type(state) in (list, dict):
        return True
    parts = state.values() if isinstance(state, PMap) else state if isinstance(state, PVector) else ()
    return any(map(could_be_changed, parts))


def told_at_the_end(state: Any) -> bool:
    slices = encode_slices(state)
    while True:
        try:
            next(slices)
        except StopIteration as end:
            return end.value


@given(states)
def test_the_encoder_tells_whether_a_state_could_be_changed(state):
    assert told_at_the_end(state) is not could_be_changed(state)


@pytest.mark.parametrize("inner", [["x"], {"x": 1}, [["x"] * 3000], {str(number): 1 for number in range(3000)}])
def test_what_could_be_changed_is_found_behind_many_texts(inner):
    assert told_at_the_end(pvector(["x"] * 5000))
    assert not told_at_the_end(pvector([*["x"] * 5000, inner]))
    assert not told_at_the_end(pmap({"a": pvector(["x"] * 5000), "b": pvector([inner])}))


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
    assert len(slices) >= 5 and max(map(len, slices)) < 8 * GROUP_ELEMENTS


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


def decoded_in_steps(packed: bytes, chunk_bytes: int) -> Any:
    decoder = StateDecoder(len(packed))
    for start in range(0, len(packed), chunk_bytes):
        decoder.feed(packed[start : start + chunk_bytes])
        while decoder.step():
            pass
    return decoder.finish()


@given(states, st.integers(min_value=1, max_value=40))
def test_a_state_comes_back_from_chunks_of_any_size(state, chunk_bytes):
    packed = encode_state(state)
    assert same(decoded_in_steps(packed, chunk_bytes), state)


MANY = 3 * GROUP_ELEMENTS + 7
LARGE = {
    "list": list(range(MANY)),
    "dict": {f"{number}": number for number in range(MANY)},
    "vector": pvector(range(MANY)),
    "map": pmap({f"{number}": number for number in range(MANY)}),
    "empty lists": [[]] * MANY,
    "small dicts": [{"a": [number]} for number in range(MANY)],
    "texts": ["text " * 500] * MANY,
}
NESTED = [
    *LARGE.values(),
    [LARGE, [LARGE["map"]], {"in": v(LARGE["vector"], m(a=LARGE["dict"]))}],
    pvector([m(a=1, b=v(2))] * MANY),
    pmap({f"{number}": v(number, LARGE["list"][: number % 600]) for number in range(700)}),
    "long and wide ü\U0001f600" * 20_000,
    b"long" * 50_000,
    ["a" * 65_535, "a" * 65_536, "ü" * 65_536, b"a" * 65_535, b"a" * 65_536],
]


def unsliced(state: Any) -> bytes:
    """The encoding, written down the short way."""
    if isinstance(state, PVector):
        head = msgpack.Packer().pack_array_header(len(state) + 1) + msgpack.packb(msgpack.ExtType(1, b""))
        return head + b"".join(map(unsliced, state))
    if isinstance(state, PMap):
        head = msgpack.Packer().pack_array_header(2 * len(state) + 1) + msgpack.packb(msgpack.ExtType(2, b""))
        return head + b"".join(msgpack.packb(key) + unsliced(state[key]) for key in sorted(state))
    if isinstance(state, list):
        return msgpack.Packer().pack_array_header(len(state)) + b"".join(map(unsliced, state))
    if isinstance(state, dict):
        pairs = (msgpack.packb(key) + unsliced(value) for key, value in state.items())
        return msgpack.Packer().pack_map_header(len(state)) + b"".join(pairs)
    return msgpack.packb(state)


@given(states)
def test_the_encoding_is_the_one_that_hashes_were_made_of(state):
    assert encode_state(state) == unsliced(state)


@pytest.mark.parametrize("state", NESTED, ids=lambda state: type(state).__name__)
def test_large_states_of_every_kind_come_back_and_have_the_same_encoding(state):
    packed = encode_state(state)
    assert packed == unsliced(state)
    assert same(decoded_in_steps(packed, 100_003), state)


class Counted:
    """Counts what one slice touches: calls of Python and C between two looks at the clock."""

    def __init__(self) -> None:
        self.calls = self.most = 0

    def __call__(self, _frame: Any, event: str, _argument: Any) -> None:
        self.calls += event in ("call", "c_call")

    def slice(self, work: Any) -> Any:
        self.calls = 0
        sys.setprofile(self)
        try:
            return work()
        finally:
            sys.setprofile(None)
            self.most = max(self.most, self.calls)


@pytest.mark.parametrize("kind", list(LARGE))
@pytest.mark.parametrize("times", [1, 8])
def test_a_slice_touches_so_many_elements_and_no_more_however_large_the_state(kind, times):
    state = LARGE[kind]
    state = (
        {f"{n} {k}": x for n in range(times) for k, x in state.items()} if hasattr(state, "items") else state * times
    )
    state = pmap(state) if kind == "map" else state
    counted, slices, end = Counted(), encode_slices(state), object()
    while counted.slice(lambda: next(slices, end)) is not end:
        pass
    decoder = StateDecoder(2**30)
    decoder.feed(encode_state(state))
    while counted.slice(decoder.step):
        pass
    assert counted.most < 40 * GROUP_ELEMENTS


def test_pieces_are_small_however_large_what_they_are_of():
    for state in NESTED:
        assert max(map(len, encode_slices(state))) <= 5 * 64 * 1024


@pytest.mark.parametrize("depth", [2, 399])
def test_a_nested_state_comes_back(depth):
    state: Any = 1
    for _ in range(depth):
        state = [state]
    packed = encode_state(state)
    assert encode_state(decoded_in_steps(packed, 7)) == packed
    with pytest.raises(MalformedValue, match="too deep"):
        encode_state([[state]] if depth == 399 else [encode_loop()])


def encode_loop() -> Any:
    loop: dict[str, Any] = {}
    loop["a"] = v(loop)
    return loop


@pytest.mark.parametrize("times", [1, MANY])
@pytest.mark.parametrize(
    "items",
    [[b"\xa1b", b"\x01", b"\xa1a", b"\x01"], [b"\xa1a", b"\x01", b"\xa1a", b"\x01"], [b"\x01", b"\x01"], [b"\xa1a"]],
    ids=["out of order", "twice", "number", "no value"],
)
def test_a_map_that_the_encoder_never_writes_is_not_decoded_however_large(items, times):
    before = b"".join(msgpack.packb(f"A{number:06}") + b"\x01" for number in range(times))
    head = msgpack.Packer().pack_array_header(1 + 2 * times + len(items)) + b"\xc7\x00\x02"
    with pytest.raises(MalformedValue):
        decode_state(head + before + b"".join(items))


@pytest.mark.parametrize("what", [msgpack.Timestamp(5), msgpack.ExtType(1, b""), msgpack.ExtType(7, b"")])
@pytest.mark.parametrize("where", [0, 5, MANY - 1])
@pytest.mark.parametrize("mark", [None, 1, 2])
def test_a_stray_is_found_in_a_large_container(what, where, mark):
    values: list[Any] = [f"{number:06}" for number in range(MANY + MANY % 2)]
    values[where] = what
    head = [] if mark is None else [msgpack.ExtType(mark, b"")]
    if (mark, where, what) == (None, 0, msgpack.ExtType(1, b"")):
        pytest.skip("that is a vector")
    with pytest.raises(MalformedValue):
        decode_state(msgpack.packb(head + values))


def test_a_decoder_leaves_nothing_to_the_collector():
    """States are decoded between turns: what is left over must go at once, whether they were any or not."""
    good = encode_state(pvector([[{"key": number}] * 3 for number in range(2000)]))
    gc.collect()
    gc.disable()
    try:
        for packed in (good, good[:-1], good[: len(good) // 2], b"\x93" + good):
            with contextlib.suppress(MalformedValue):
                decode_state(packed)
        assert gc.collect() < 50
    finally:
        gc.enable()
