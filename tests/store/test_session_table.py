"""The table of sessions: it holds what a dict would, and no table changes once it is made."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conflux import limits
from conflux.store.session import Session, session_id
from conflux.store.session_table import BUCKETS, SessionTable

numbers = st.integers(0, 2**62) | st.integers(0, 40) | st.builds(session_id, st.integers(1, 300), st.integers(0, 3))
changes = st.lists(st.tuples(st.sampled_from(["set", "discard"]), numbers, st.integers(0, 9)), max_size=60)


def session(number: int, next_sequence: int = 0) -> Session:
    return Session(id=number, seconds=1, last_used_us=0, next_sequence=next_sequence)


@given(changes)
def test_it_holds_what_a_dict_would_and_earlier_tables_stay(steps):
    table, twin = SessionTable(), {}
    earlier = []
    for what, number, next_sequence in steps:
        earlier.append((table, dict(twin)))
        if what == "set":
            table = table.set(session(number, next_sequence))
            twin[number] = session(number, next_sequence)
        else:
            table = table.discard(number)
            twin.pop(number, None)
    for known, expected in [*earlier, (table, twin)]:
        assert dict(known) == expected and len(known) == len(expected)
        assert all(known.find(number) == expected.get(number) for _, number, _ in steps)
        assert all((number in known) is (number in expected) for _, number, _ in steps)


@given(st.lists(numbers, unique=True), st.randoms())
def test_tables_of_the_same_sessions_are_equal_however_they_came_about(ids, random):
    table, other = SessionTable(), SessionTable().set(session(7)).discard(7)
    for number in ids:
        table = table.set(session(number))
    for number in random.sample(ids, len(ids)):
        other = other.set(session(number))
    assert table == other
    assert not ids or table != other.discard(ids[0])


def test_what_is_not_there_is_said_as_a_mapping_says_it():
    table = SessionTable().set(session(5))
    assert table[5] == session(5) and table.get(6) is None and table.find(6) is None
    with pytest.raises(KeyError):
        table[6]
    assert "x" not in table and table.discard(6) is table


@pytest.mark.parametrize(
    "ids", [[session_id(5, each) for each in range(1000)], [session_id(each, 0) for each in range(3, 10_003)]]
)
def test_sessions_are_spread_over_the_buckets(ids):
    table = SessionTable()
    for number in ids:
        table = table.set(session(number))
    assert len(table) == len(ids) <= limits.SESSIONS_MAX
    assert max(map(len, table._buckets)) <= 2 * len(ids) / BUCKETS
