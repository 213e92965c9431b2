"""K1, K2: whatever bytes arrive, a decoder gives a value or raises its one exception, and keeps nothing of them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest

from conflux.errors import MalformedFrame, MalformedValue
from conflux.wire import values
from conflux.wire.state_decoder import decode_state
from conflux.wire.states import encode_state
from tests.fuzz.budget import FRAMES, GROWTH_BYTES_MAX, SEED, VALUES
from tests.fuzz.memory import resident_bytes
from tests.wire.test_frames import DECODERS, mutated

VALUES_SEEN: list[Any] = [
    None,
    -1,
    2**63,
    1.5,
    "é" * 40,
    [],
    {"type": "append", "number": 7, "padding": "x" * 30},
    [{"a": [1, [2, [3, {"b": None}]]]}, "c", True],
]
DEPTHS = 40  # of lists in lists that are tried


def throw(decode: Callable[[bytes], Any], frames: Iterator[bytes], refusal: type[Exception]) -> tuple[int, int]:
    """Decode all; gives how many were something, and how many were refused."""
    taken = refused = 0
    for frame in frames:
        try:
            decode(frame)
            taken += 1
        except refusal:
            refused += 1
    return taken, refused


@pytest.mark.unmeasured
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("name", "decode", "frames"), DECODERS, ids=[case[0] for case in DECODERS])
def test_random_and_mutated_frames_are_messages_or_malformed(
    name: str, decode: Callable[[bytes], Any], frames: list[bytes], thrown: Callable[..., None]
) -> None:
    random, each = Random(f"{SEED} {name}"), FRAMES // len(DECODERS)
    throw(decode, mutated(random, frames, each // 10), MalformedFrame)  # what a process keeps for good is kept now
    before = resident_bytes()
    taken, refused = throw(decode, mutated(random, frames, each), MalformedFrame)
    gc.collect()
    assert taken + refused == each and min(taken, refused) > each // 100
    assert resident_bytes() - before < GROWTH_BYTES_MAX
    thrown(**{f"frames_of_{name}": each, f"of_them_taken_by_{name}": taken})


def deep(random: Random) -> bytes:
    """A list in a list in a list."""
    return b"\x91" * random.randrange(DEPTHS * random.choice([1, 1, 100])) + b"\xc0"


@pytest.mark.unmeasured
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("decode", "encode"), [(values.decode, values.encode), (decode_state, encode_state)], ids=["values", "states"]
)
def test_random_and_mutated_values_are_values_or_malformed(
    decode: Callable[[bytes], Any], encode: Callable[[Any], bytes], thrown: Callable[..., None]
) -> None:
    random = Random(f"{SEED} {decode.__name__}")
    known = [b"\x00\x00" + encode(value) for value in VALUES_SEEN]  # `mutated` leaves the first two bytes as they are
    count = VALUES // 2
    before = resident_bytes()
    taken, refused = throw(decode, (frame[2:] for frame in mutated(random, known, count)), MalformedValue)
    deep_taken, deep_refused = throw(decode, (deep(random) for _ in range(count // 100)), MalformedValue)
    assert taken + refused == count and min(taken, refused, deep_taken, deep_refused) > 0
    assert resident_bytes() - before < GROWTH_BYTES_MAX
    thrown(values_and_states=count + count // 100)
