"""Sessions: the answers that a client may still ask for, cut to what it asks."""

from __future__ import annotations

import pytest

from conflux.store.session import Segment, Session, session_id
from conflux.wire.clients import Rejection

NO = Rejection("E", "no")


def session(*segments: Segment) -> Session:
    made = Session(id=1, seconds=10, last_used_us=0)
    for segment in segments:
        made = made.with_outcomes(segment, first_unanswered=0, log_time_us=0)
    return made


FIRST = Segment(
    first_sequence=0, outcomes=[b"a", None, b"b", NO, b"c"], index=5, first_revision=10, term=1, wall_time_us=7
)
SECOND = Segment(first_sequence=5, outcomes=[b"d"], index=6, first_revision=13, term=1, wall_time_us=7)


def test_a_session_knows_the_next_call_that_it_takes():
    assert session().next_sequence == 0
    assert session(FIRST).next_sequence == 5
    assert session(FIRST, SECOND).next_sequence == 6


def test_answers_that_are_asked_for_whole_are_the_segments_themselves():
    assert session(FIRST, SECOND).answers(0, 6) == [FIRST, SECOND]


@pytest.mark.parametrize(
    ("first", "end", "outcomes", "revision"),
    [
        (0, 2, [b"a", None], 10),
        (1, 3, [None, b"b"], 11),
        (2, 5, [b"b", NO, b"c"], 11),
        (3, 4, [NO], 12),
        (4, 5, [b"c"], 12),
    ],
)
def test_a_cut_segment_keeps_the_revision_of_its_first_action(first, end, outcomes, revision):
    (cut,) = session(FIRST).answers(first, end)
    assert (cut.first_sequence, list(cut.outcomes), cut.first_revision) == (first, outcomes, revision)
    assert (cut.index, cut.end) == (5, end)


def test_answers_over_two_segments_are_cut_at_both_ends():
    found = session(FIRST, SECOND).answers(4, 6)
    assert [(cut.first_sequence, cut.index) for cut in found] == [(4, 5), (5, 6)]


def test_calls_that_were_not_made_yet_have_no_answers():
    assert session(FIRST).answers(5, 9) == []


def test_answers_below_the_first_unanswered_are_forgotten_whole_segments_at_a_time():
    later = session(FIRST).with_outcomes(SECOND, first_unanswered=5, log_time_us=0)
    assert later.segments == (SECOND,)
    assert session(FIRST).with_outcomes(SECOND, first_unanswered=4, log_time_us=0).segments == (FIRST, SECOND)


def test_use_moves_the_expiry_and_log_time_never_goes_back():
    used = session().with_outcomes(FIRST, first_unanswered=0, log_time_us=3)
    assert used.expires_us == 10_000_003
    assert used.with_outcomes(SECOND, first_unanswered=0, log_time_us=2).last_used_us == 3


def test_session_ids_of_neighbouring_entries_never_meet():
    ids = [session_id(index, ordinal) for index in (1, 2, 3) for ordinal in range(1024)]
    assert len(set(ids)) == len(ids)
