"""From bytes to a state, in slices: the mirror of `states.encode_slices`, for bytes that come in chunks of any size.

msgpack parses a few KiB at a time and keeps what is not complete. What would take long at the end of a large container
- looking at every element, making it a vector or a map - is put off: a `_Deferred` stands for it until it was done, a
slice a step, in the order in which containers end, so that what stands inside comes first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from operator import ge
from typing import Any

import msgpack
from pyrsistent import PMap, PVector, pmap, pvector

from conflux.errors import MalformedValue
from conflux.wire.states import GROUP_ELEMENTS, MAP, VECTOR

WINDOW_BYTES = 2048  # that are parsed in one step: as many empty containers, at worst


class _Mark:
    """A decoded marker, which no user's value can be."""


class _Deferred:
    """Stands for a container until the work on it is done."""

    __slots__ = ("is_done", "value")

    def __init__(self) -> None:
        self.is_done = False
        self.value: Any = None


_MARKS = {VECTOR: _Mark(), MAP: _Mark()}
_STRAYS = frozenset({_Mark, msgpack.Timestamp})  # what the encoder never writes as a value
_STR = frozenset({str})
_ODD = _STRAYS | {_Deferred}
_REFUSED = (ValueError, TypeError, OverflowError, RecursionError, KeyError, msgpack.UnpackException)


class StateDecoder:
    """Takes the bytes in order: `feed` some, `step` until it has no more to do with them, and at the end `finish`.

    Args:
        bytes_max: how many will come. A container that claims to hold more is refused.
    """

    def __init__(self, bytes_max: int) -> None:
        self._unpacker = msgpack.Unpacker(
            strict_map_key=True,
            ext_hook=_mark,
            list_hook=self._list,
            object_hook=self._dict,
            max_buffer_size=0,
            max_array_len=bytes_max,
            max_map_len=bytes_max,
            max_str_len=bytes_max,
            max_bin_len=bytes_max,
            max_ext_len=bytes_max,
        )
        self._fed: deque[memoryview] = deque()
        self._parsed_bytes = 0
        self._work: deque[tuple[_Deferred, Iterator[None]]] = deque()
        self._found: list[Any] = []  # the state, once it is there

    def feed(self, chunk: bytes) -> None:
        """The next bytes; they are only kept."""
        if chunk:
            self._fed.append(memoryview(chunk))

    def step(self) -> bool:
        """Do a little; True while there's more to do with what was fed.

        Raises:
            MalformedValue: these bytes are no state. Whoever goes on gets nonsense.
        """
        try:
            if self._work:
                self._do_some()
            elif self._fed:
                self._parse_some()
        except _REFUSED as error:
            self._end()
            raise MalformedValue(f"these bytes are no state: {error}") from error
        return bool(self._work or self._fed)

    def finish(self) -> Any:
        """The state. Does what is left to do.

        Raises:
            MalformedValue: these bytes are none.
        """
        while self.step():
            pass
        self._end()
        if not self._found:
            raise MalformedValue("these bytes are no state: the end is missing")
        return _settled(self._found)[0]

    def _end(self) -> None:
        """Nothing more is parsed. The parser holds on to this object, which would then wait for the collector."""
        self._work.clear()
        self._fed.clear()
        self._unpacker = None

    def _parse_some(self) -> None:
        if self._found:
            raise ValueError("bytes follow its end")
        window = self._fed[0][:WINDOW_BYTES]
        self._unpacker.feed(window)
        self._parsed_bytes += len(window)
        self._fed[0] = self._fed[0][WINDOW_BYTES:]
        if not self._fed[0]:
            self._fed.popleft()
        try:
            state = self._unpacker.unpack()
        except msgpack.OutOfData:
            return
        _refuse_strays([state])
        self._found.append(state)
        if self._unpacker.tell() != self._parsed_bytes:
            raise ValueError("bytes follow its end")

    def _do_some(self) -> None:
        deferred, work = self._work[0]
        if next(work, self) is self:
            deferred.is_done = True
            self._work.popleft()

    def _defer(self, items: Any) -> _Deferred:
        deferred = _Deferred()
        work = (_dict_slices if type(items) is dict else _list_slices)(deferred, items)
        self._work.append((deferred, work))
        return deferred

    def _list(self, items: list[Any]) -> Any:
        if len(items) <= GROUP_ELEMENTS and _ODD.isdisjoint(map(type, items)):
            return items
        if len(items) > GROUP_ELEMENTS or not _is_ready(items):
            return self._defer(items)
        return _revived(items)

    def _dict(self, found: dict[Any, Any]) -> Any:
        if len(found) > GROUP_ELEMENTS or not _is_ready(found.values()):
            return self._defer(found)
        return _checked_dict(found)


def decode_state(packed: bytes) -> Any:
    """The state that `encode_state` encoded, equal and of the same types.

    Raises:
        MalformedValue: these bytes are none.
    """
    decoder = StateDecoder(len(packed))
    decoder.feed(packed)
    return decoder.finish()


def _mark(code: int, _data: bytes) -> _Mark:
    return _MARKS[code]


# Small containers, at once.


def _is_ready(values: Any) -> bool:
    """True where no value waits for its work."""
    return all(value.is_done for value in values if type(value) is _Deferred)


def _revived(items: list[Any]) -> Any:
    if type(items[0]) is not _Mark:
        return _settled(items)
    values = _settled(items[1:])
    if items[0] is _MARKS[VECTOR]:
        return pvector(values)
    keys = values[::2]
    _check_order(keys)
    return pmap(_checked_dict(dict(zip(keys, values[1::2], strict=True))))


def _checked_dict(found: dict[Any, Any]) -> dict[Any, Any]:
    _check_keys(found)
    if not _ODD.isdisjoint(map(type, found.values())):
        found.update(zip(found, _settled(list(found.values())), strict=True))
    return found


def _settled(values: list[Any]) -> list[Any]:
    """The values themselves, where some were deferred; refuses strays."""
    if _ODD.isdisjoint(map(type, values)):
        return values
    values = [value.value if type(value) is _Deferred else value for value in values]
    _refuse_strays(values)
    return values


def _refuse_strays(values: list[Any]) -> None:
    if not _STRAYS.isdisjoint(map(type, values)):
        raise MalformedValue("these bytes are no state: an extension type stands where a value should")


def _check_keys(keys: Iterable[Any]) -> None:
    if not _STR.issuperset(map(type, keys)):
        raise MalformedValue("these bytes are no state: a key is no str")


def _check_order(keys: list[Any]) -> None:
    """A map is written in the order of its keys, each once."""
    _check_keys(keys)
    if any(map(ge, keys, islice(keys, 1, None))):
        raise MalformedValue("these bytes are no state: the keys of a map are out of order")


# Large containers, in slices.


def _dict_slices(deferred: _Deferred, found: dict[Any, Any]) -> Iterator[None]:
    items = iter(found.items())
    while group := dict(islice(items, GROUP_ELEMENTS)):
        settled = _checked_dict(dict(group))
        for key, value in group.items():
            if settled[key] is not value:
                found[key] = settled[key]  # no new key: the iteration may go on
        yield
    deferred.value = found


def _list_slices(deferred: _Deferred, items: list[Any]) -> Iterator[None]:
    if items and type(items[0]) is _Mark:
        return (_vector_slices if items[0] is _MARKS[VECTOR] else _map_slices)(deferred, items)
    return _plain_slices(deferred, items)


def _plain_slices(deferred: _Deferred, items: list[Any]) -> Iterator[None]:
    for start in range(0, len(items), GROUP_ELEMENTS):
        group = items[start : start + GROUP_ELEMENTS]
        settled = _settled(group)
        if settled is not group:
            items[start : start + GROUP_ELEMENTS] = settled
        yield
    deferred.value = items


def _vector_slices(deferred: _Deferred, items: list[Any]) -> Iterator[None]:
    vector: PVector[Any] = pvector()
    for start in range(1, len(items), GROUP_ELEMENTS):
        vector = vector.extend(_settled(items[start : start + GROUP_ELEMENTS]))
        yield
    yield from _freed(items)
    deferred.value = vector


def _map_slices(deferred: _Deferred, items: list[Any]) -> Iterator[None]:
    """What `pmap` does at once: buckets by hash, twice as many as there are keys."""
    if len(items) % 2 == 0:
        raise MalformedValue("these bytes are no state: a map has a key without a value")
    bucket_count = len(items) - 1
    buckets: list[list[tuple[str, Any]] | None] = []
    while len(buckets) < bucket_count:
        buckets.extend([None] * min(bucket_count - len(buckets), 16 * GROUP_ELEMENTS))
        yield
    for start in range(1, len(items), GROUP_ELEMENTS):
        group = _settled(items[start : start + GROUP_ELEMENTS])
        _check_order(items[max(start - 2, 1) : start + GROUP_ELEMENTS : 2])
        for key, value in zip(group[::2], group[1::2], strict=True):
            bucket = buckets[hash(key) % bucket_count]
            if bucket:
                bucket.append((key, value))
            else:
                buckets[hash(key) % bucket_count] = [(key, value)]
        yield
    vector: PVector[Any] = pvector()
    for start in range(0, bucket_count, GROUP_ELEMENTS):
        vector = vector.extend(buckets[start : start + GROUP_ELEMENTS])
        yield
    yield from chain(_freed(items), _freed(buckets))
    deferred.value = PMap(bucket_count // 2, vector)  # type: ignore[call-arg]  # missing in the stubs


def _freed(items: list[Any]) -> Iterator[None]:
    """Empty a list from its end: to free it at once takes as long as it is."""
    while items:
        del items[-8 * GROUP_ELEMENTS :]
        yield
