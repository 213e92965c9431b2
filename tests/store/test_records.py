"""What an entry's payload holds. The format is on disks: the bytes here are golden."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conflux.errors import Damaged
from conflux.raft.entry import Entry, Kind
from conflux.store.history import entry_of_revision, events_of
from conflux.store.records import (
    Calls,
    Header,
    SessionClosed,
    SessionOpened,
    StateHash,
    encode_payload,
    header_of,
    method_names,
    next_revision_of,
    noop_payload,
    records_of,
)
from conflux.wire.clients import Rejection

HEADER = Header(app_version=2, actions=1, first_revision=7, log_time_us=3_000_000, wall_time_us=1_700_000_000_000_000)
GOLDEN_HEADER = "01000000000000020000000100000000000000070000000000" + "2dc6c000060a24181e4000"


GOLDEN = [
    (Calls(1024, 3, 15, ["add"], [b"\xa1k", None]), "919601cd0400030f91a361646492c402a16bc0"),
    (Calls(1, 0, 0, ["fail"], [Rejection("E", "m", True)]), "91960101000091a46661696c9193a145a16dc3"),
    (SessionOpened(3600), "919202cd0e10"),
    (SessionClosed(1024), "919203cd0400"),
    (StateHash(9, b"\x01\x02"), "91930409c4020102"),
]

numbers = st.integers(min_value=0, max_value=2**62)
outcomes = st.none() | st.binary(max_size=20) | st.builds(Rejection, st.text(), st.text(), st.booleans())
records = st.one_of(
    st.builds(Calls, numbers, numbers, numbers, st.lists(st.text()), st.lists(outcomes)),
    st.builds(SessionOpened, numbers),
    st.builds(SessionClosed, numbers),
    st.builds(StateHash, numbers, st.binary(max_size=16)),
)
headers = st.builds(
    Header,
    app_version=st.integers(min_value=0, max_value=2**32 - 1),
    actions=st.integers(min_value=0, max_value=2**32 - 1),
    first_revision=st.integers(min_value=0, max_value=2**64 - 1),
    log_time_us=st.integers(min_value=0, max_value=2**64 - 1),
    wall_time_us=st.integers(min_value=0, max_value=2**64 - 1),
)


@given(headers, st.lists(records, max_size=4))
def test_a_payload_gives_back_its_header_and_its_records(header, held):
    payload = encode_payload(header, held)
    assert header_of(payload) == header
    assert records_of(payload) == held


def test_the_header_is_written_as_it_was_in_the_first_version():
    payload = encode_payload(HEADER, [])
    assert payload.hex() == GOLDEN_HEADER + "90"


@pytest.mark.parametrize(("record", "golden"), GOLDEN, ids=lambda value: type(value).__name__)
def test_a_record_is_written_as_it_was_in_the_first_version(record, golden):
    written = encode_payload(HEADER, [record])[len(GOLDEN_HEADER) // 2 :]
    assert written.hex() == golden
    assert records_of(bytes.fromhex(GOLDEN_HEADER + golden)) == [record]


@pytest.mark.parametrize("payload", [b"", b"\x01", bytes.fromhex(GOLDEN_HEADER)[:-1]])
def test_an_entry_shorter_than_its_header_is_damaged(payload):
    with pytest.raises(Damaged, match="shorter than its header"):
        header_of(payload)
    with pytest.raises(Damaged, match="shorter than its header"):
        next_revision_of(payload[:19])  # it ends within the first revision


@given(headers)
def test_the_next_revision_is_told_without_the_rest_of_the_header(header):
    assert next_revision_of(encode_payload(header, [])) == header.next_revision


def test_an_entry_of_a_later_format_is_refused_and_named():
    for read in (header_of, next_revision_of):
        with pytest.raises(Damaged, match="format 2, not 1"):
            read(b"\x02" + bytes.fromhex(GOLDEN_HEADER)[1:])


@pytest.mark.parametrize("rest", ["", "c1", "92", "919205", "9192ff00", "919202a163", "a0", "c0", "9190"])
def test_records_that_do_not_decode_are_damaged(rest):
    with pytest.raises(Damaged, match="do not decode"):
        records_of(bytes.fromhex(GOLDEN_HEADER + rest))


@given(st.binary(max_size=80))
def test_any_bytes_are_a_payload_or_damaged(rest):
    for read in (header_of, records_of):
        try:
            read(bytes.fromhex(GOLDEN_HEADER) + rest)
        except Damaged:
            pass


def test_a_term_begins_where_the_last_entry_left_revision_and_log_time():
    noop = header_of(noop_payload(encode_payload(HEADER, []), app_version=3, wall_time_us=5))
    assert (noop.first_revision, noop.actions, noop.log_time_us) == (8, 0, 3_000_000)
    assert (noop.app_version, noop.wall_time_us) == (3, 5)


def test_the_first_term_begins_at_revision_1_and_log_time_0():
    payload = noop_payload(None, app_version=1, wall_time_us=5)
    assert header_of(payload) == Header(app_version=1, actions=0, first_revision=1, log_time_us=0, wall_time_us=5)
    assert records_of(payload) == []


def test_one_method_name_stands_for_all_calls():
    assert method_names(Calls(1, 0, 0, ["add"], [None, None])) == ["add", "add"]
    assert method_names(Calls(1, 0, 0, ["add", "fail"], [None, None])) == ["add", "fail"]


# ---- History ----


def entry(index: int, first_revision: int, *made: Calls) -> Entry:
    actions = sum(type(outcome) is bytes for calls in made for outcome in calls.outcomes)
    header = Header(app_version=1, actions=actions, first_revision=first_revision, log_time_us=0, wall_time_us=9)
    return Entry(index, 1, Kind.RECORDS, encode_payload(header, list(made)))


def test_an_entry_tells_its_actions_in_order_and_leaves_out_what_dispatched_nothing():
    told = events_of(entry(4, 7, Calls(1, 0, 0, ["a", "b", "c"], [b"x", None, b"y"]), Calls(2, 0, 0, ["d"], [b"z"])))
    assert [(event.revision, event.method, event.action) for event in told] == [
        (7, "a", b"x"),
        (8, "c", b"y"),
        (9, "d", b"z"),
    ]
    assert {(event.index, event.term, event.time_us) for event in told} == {(4, 1, 9)}


@given(st.lists(st.integers(min_value=0, max_value=3), min_size=1, max_size=12), st.integers(min_value=1, max_value=40))
def test_a_revision_is_found_in_the_first_entry_that_holds_it(actions_of_entries, revision):
    log, first = [], 1
    for index, actions in enumerate(actions_of_entries, 1):
        log.append(entry(index, first, Calls(1, 0, 0, ["a"], [b"x"] * actions)))
        first += actions
    found = entry_of_revision(lambda low, high, most: log[low - 1 : high], 1, len(log), revision)
    holding = [index for index, made in enumerate(log, 1) if any(e.revision == revision for e in events_of(made))]
    assert found == (holding[0] if holding else len(log) + 1)


def test_an_entry_without_actions_has_no_events():
    assert events_of(entry(4, 7, Calls(1, 0, 0, ["a"], [None]))) == []
