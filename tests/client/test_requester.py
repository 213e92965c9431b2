"""The requester's rules one by one: what is sent when, and what a caller may trust."""

from __future__ import annotations

from typing import Any

import pytest

from conflux import limits
from conflux.client.call import Call
from conflux.client.rejections import rejected
from conflux.client.requester import (
    BACKOFF_SECONDS_MAX,
    BACKOFF_SECONDS_MIN,
    RESEND_SECONDS,
    Requester,
)
from conflux.errors import (
    Busy,
    Closed,
    MalformedValue,
    MethodRejected,
    NoLeader,
    NotReady,
    OutcomeUnknown,
    ReducerFailed,
    SessionExpired,
    UnknownMethod,
)
from conflux.wire import values
from conflux.wire.clients import (
    CLIENTS,
    Answers,
    Appended,
    Code,
    OpenSession,
    Outcome,
    Perform,
    Refused,
    Rejection,
    SessionOpened,
)
from tests.client.told import Told

SESSION = 1024


class Desk:
    """A requester whose clock and post are in the test's hands."""

    def __init__(self, *, opened: bool = True) -> None:
        self.given_up = 0
        self.requester = Requester(self._give_up)
        self.now_s = 1.0
        if opened:
            self.call("first")
            self.open()
            self.answer(0, None)

    def _give_up(self) -> None:
        self.given_up += 1

    def call(
        self, method: str = "add", *, within: float | None = None, appended: bool = False, size: int = 0
    ) -> list[Any]:
        """Submit a call; gives the list of what its caller is told."""
        told: list[Any] = []
        deadline_s = None if within is None else self.now_s + within
        arguments = values.encode(["x" * size])
        self.requester.submit(Call(method, arguments, deadline_s, Told(told.append), when_appended=appended))
        return told

    def pump(self, after: float = 0.0) -> list[Any]:
        self.now_s += after
        return self.requester.pump(self.now_s)

    def open(self) -> Perform:
        """Let the session open; gives the first Perform."""
        (message,) = self.pump()
        assert isinstance(message, OpenSession)
        self.requester.receive(SessionOpened(message.request, SESSION), self.now_s)
        (perform,) = self.pump()
        return perform

    def answer(self, first: int, *outcomes: Outcome, revision: int = 1, session: int = SESSION) -> None:
        self.requester.receive(Answers(session, first, list(outcomes), revision, 5, 2, 9), self.now_s)

    def refuse(self, message: Any, code: Code, sequence: int = 0, text: str = "so it is") -> None:
        self.requester.receive(Refused(message.request, code, text, sequence), self.now_s)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def sequences(message: Perform) -> range:
    return range(message.first_sequence, message.first_sequence + len(message.calls))


ADD = values.encode({"type": "add"})

# ---- Sending ----


def test_a_session_is_opened_once_and_only_when_there_is_a_call():
    desk = Desk(opened=False)
    assert desk.pump() == []
    desk.call()
    assert [type(message) for message in desk.pump()] == [OpenSession]
    assert desk.pump() == []


def test_calls_that_wait_travel_together(desk):
    for _ in range(3):
        desk.call()
    (message,) = desk.pump()
    assert sequences(message) == range(1, 4)
    assert (message.session, message.first_unanswered) == (SESSION, 1)


def test_calls_that_are_handed_in_together_keep_their_order_and_the_first_deadline_counts(desk):
    told: list[Any] = []
    deadlines = [None, desk.now_s + 5, desk.now_s + 0.5, desk.now_s + 3]
    calls = [Call(f"m{place}", b"\x90", each, Told(told.append)) for place, each in enumerate(deadlines)]
    desk.requester.submit(*calls)
    (message,) = desk.pump()
    assert [name for name, _ in message.calls] == ["m0", "m1", "m2", "m3"]
    assert desk.requester.wait_s(desk.now_s) <= 0.5
    desk.pump(0.6)
    assert len(told) == 1 and isinstance(told[0], OutcomeUnknown)


def test_a_later_frame_does_not_wait_for_the_answer_to_an_earlier_one(desk):
    desk.call()
    (first,) = desk.pump()
    desk.call()
    (second,) = desk.pump()
    assert sequences(second) == range(2, 3) and second.request > first.request


def test_frames_are_cut_before_they_grow_too_large(desk):
    for _ in range(10):
        desk.call(size=limits.ACTION_BYTES_MAX - 100)
    messages = desk.pump()
    assert [number for message in messages for number in sequences(message)] == list(range(1, 11))
    assert all(sum(len(packed) for _, packed in message.calls) < limits.FRAME_BYTES_MAX for message in messages)


def test_the_name_of_a_method_counts_in_bytes_where_frames_are_cut(desk):
    name, small = "ä" * (limits.METHOD_NAME_BYTES_MAX // 2), 557
    for _ in range(limits.UNANSWERED_MAX - 2):
        desk.call(name, size=small)
    desk.call(name, size=limits.ACTION_BYTES_MAX - 100)
    frames = [CLIENTS.encode_for_client(message) for message in desk.pump()]
    assert sum(map(len, frames)) > limits.FRAME_BYTES_MAX
    assert max(map(len, frames)) <= limits.FRAME_BYTES_MAX


def test_no_more_calls_are_on_their_way_than_a_session_takes(desk, monkeypatch):
    monkeypatch.setattr(limits, "UNANSWERED_MAX", 3)
    for _ in range(5):
        desk.call()
    assert [len(message.calls) for message in desk.pump()] == [3]
    desk.answer(1, None, None)
    assert [sequences(message) for message in desk.pump()] == [range(4, 6)]


# ---- Answers ----


def test_a_committed_action_is_told_with_all_that_is_known_of_it(desk):
    told = desk.call("add")
    desk.pump()
    desk.answer(1, ADD, revision=7)
    (committed,) = told
    assert (committed.revision, committed.index, committed.term, committed.time_us) == (7, 5, 2, 9)
    assert (committed.action, committed.method, desk.requester.idle) == ({"type": "add"}, "add", True)


def test_revisions_are_counted_over_the_actions_of_an_answer_alone(desk):
    told = [desk.call() for _ in range(4)]
    desk.pump()
    desk.answer(1, ADD, None, Rejection("E", ""), ADD, revision=7)
    assert [told[0][0].revision, told[1][0].revision, told[3][0].revision] == [7, None, 8]


def test_revisions_are_counted_over_an_action_that_is_told_to_nobody_or_does_not_decode(desk):
    told = [desk.call(appended=True), desk.call(), desk.call()]
    desk.pump()
    desk.requester.receive(Appended(SESSION, 1, [ADD], 5, 2), desk.now_s)
    desk.answer(1, ADD, b"\xc1", ADD, revision=7)
    assert told[2][0].revision == 9 and [len(each) for each in told] == [1, 1, 1]


def test_an_answer_whose_beginning_is_known_tells_the_rest_with_their_revisions(desk):
    told = [desk.call() for _ in range(4)]
    desk.pump()
    desk.answer(1, ADD, None, revision=7)
    desk.answer(1, ADD, None, ADD, ADD, revision=7)
    assert [each.revision for (each,) in told] == [7, None, 8, 9]


def test_an_answer_that_comes_twice_is_told_once(desk):
    told = desk.call()
    desk.pump()
    for _ in range(2):
        desk.answer(1, ADD)
    assert len(told) == 1


def test_answers_may_overtake_each_other(desk):
    first, second = desk.call(), desk.call()
    desk.pump()
    desk.answer(2, ADD)
    assert (len(first), len(second), desk.requester.unfinished) == (0, 1, 2)
    desk.answer(1, ADD)
    desk.answer(2, ADD)
    assert (len(first), len(second), desk.requester.idle) == (1, 1, True)


def test_answers_of_another_session_and_other_messages_are_ignored(desk):
    told = desk.call()
    desk.pump()
    desk.answer(1, ADD, session=SESSION + 1)
    desk.requester.receive(Appended(SESSION + 1, 1, [ADD], 5, 2), desk.now_s)
    desk.requester.receive(SessionOpened(999, 5), desk.now_s)
    desk.requester.receive("anything", desk.now_s)
    assert told == [] and desk.requester.session == SESSION


def test_an_action_that_does_not_decode_is_an_error_of_its_caller_alone(desk):
    told, other = desk.call(), desk.call()
    desk.pump()
    desk.answer(1, b"\xc1", ADD)
    assert isinstance(told[0], MalformedValue) and other[0].action == {"type": "add"}


def test_who_waits_only_for_the_leaders_disk_is_told_then_and_not_again(desk):
    soon, later = desk.call(appended=True), desk.call()
    (message,) = desk.pump()
    assert message.when_appended
    desk.requester.receive(Appended(SESSION, 1, [ADD, ADD], 5, 2), desk.now_s)
    assert (soon[0].action, soon[0].revision, soon[0].index, later) == ({"type": "add"}, None, 5, [])
    desk.answer(1, ADD, ADD)
    assert (len(soon), len(later)) == (1, 1)


# ---- Silence ----


def test_after_silence_all_that_is_unanswered_goes_out_again_to_another_node(desk):
    desk.call()
    desk.pump()
    desk.call()
    desk.pump()
    assert desk.pump(RESEND_SECONDS) == []
    (again,) = desk.pump(0.01)
    assert sequences(again) == range(1, 3) and desk.given_up == 1


def test_after_silence_the_opening_is_repeated():
    desk = Desk(opened=False)
    desk.call()
    (first,) = desk.pump()
    (second,) = desk.pump(RESEND_SECONDS + 0.01)
    desk.requester.receive(SessionOpened(first.request, 1), desk.now_s)
    assert desk.requester.session is None  # only the last one counts, so nobody has two
    desk.requester.receive(SessionOpened(second.request, 2), desk.now_s)
    assert desk.requester.session == 2


def test_d12_a_call_whose_answer_was_lost_is_sent_again_though_later_ones_are_answered(desk):
    desk.call()
    desk.pump()  # its answer is lost
    again = []
    for sequence in range(2, 30):
        desk.call()
        again += [message for message in desk.pump(RESEND_SECONDS / 4) if message.first_sequence == 1]
        desk.answer(sequence, ADD)
    assert again


def test_a_restart_sends_all_again_at_once(desk):
    desk.call()
    desk.pump()
    desk.requester.restart(desk.now_s)
    assert [sequences(message) for message in desk.pump()] == [range(1, 2)]


def test_a_restart_opens_again_where_the_opening_was_on_its_way():
    desk = Desk(opened=False)
    desk.call()
    desk.pump()
    desk.requester.restart(desk.now_s)
    assert [type(message) for message in desk.pump()] == [OpenSession]


# ---- Refusals ----


def test_a_refused_frame_goes_out_again_a_little_later_each_time_longer(desk):
    desk.call()
    (message,) = desk.pump()
    pause = BACKOFF_SECONDS_MIN
    for _ in range(6):
        desk.refuse(message, Code.NO_LEADER)
        assert desk.pump(pause * 0.9) == []
        (message,) = desk.pump(pause * 0.2)
        assert sequences(message) == range(1, 2)
        pause = min(2 * pause, BACKOFF_SECONDS_MAX)


def test_an_answer_ends_the_longer_pauses(desk):
    desk.call()
    for _ in range(3):
        (message,) = desk.pump(1.0)
        desk.refuse(message, Code.BUSY)
    desk.pump(1.0)
    desk.answer(1, ADD)
    desk.call()
    (message,) = desk.pump()
    desk.refuse(message, Code.BUSY)
    assert desk.pump(BACKOFF_SECONDS_MIN * 1.1) != []


def test_what_could_not_be_sent_is_tried_again_and_certainly_not_applied(desk):
    told = desk.call(within=0.1)
    (message,) = desk.pump()
    desk.requester.unsent(message, desk.now_s)
    desk.pump(0.2)
    assert isinstance(told[0], NoLeader)


def test_resend_goes_back_to_where_the_node_says(desk):
    for _ in range(4):
        desk.call()
        (message,) = desk.pump()
    desk.refuse(message, Code.RESEND, sequence=2)
    assert [sequences(message) for message in desk.pump()] == [range(2, 5)]


def test_a_refusal_of_a_frame_that_was_overtaken_by_a_repeat_changes_nothing(desk):
    desk.call()
    (old,) = desk.pump()
    desk.requester.restart(desk.now_s)
    desk.pump()
    desk.refuse(old, Code.NO_LEADER)
    assert desk.pump(RESEND_SECONDS * 0.9) == []


def test_a_refusal_that_answers_nothing_of_ours_is_ignored(desk):
    told = desk.call()
    desk.pump()
    desk.requester.receive(Refused(999, Code.SESSION_EXPIRED, "", 0), desk.now_s)
    assert told == [] and desk.requester.session == SESSION


@pytest.mark.parametrize(("code", "kind"), [(Code.UNKNOWN_METHOD, UnknownMethod), (Code.BAD_ARGUMENTS, MethodRejected)])
def test_a_call_that_can_not_run_is_left_out_and_the_others_of_its_frame_go_again(desk, code, kind):
    told = [desk.call(), desk.call("sing"), desk.call()]
    (message,) = desk.pump()
    desk.refuse(message, code, sequence=2, text="no such thing")
    assert type(told[1][0]) is kind and str(told[1][0]) == "no such thing" and told[0] == told[2] == []
    (again,) = desk.pump()
    assert [method for method, _ in again.calls] == ["add", "", "add"]
    desk.answer(1, ADD, None, ADD)
    assert [len(each) for each in told] == [1, 1, 1]


# ---- Time-outs ----


@pytest.mark.parametrize(
    ("code", "kind"), [(Code.NO_LEADER, NoLeader), (Code.BUSY, Busy), (Code.NOT_READY, NotReady), (Code.GONE, NoLeader)]
)
def test_a_call_that_was_only_refused_is_told_the_last_refusal_at_its_deadline(desk, code, kind):
    told = desk.call(within=0.01)
    (message,) = desk.pump()
    desk.refuse(message, code, text="why")
    desk.pump(0.02)
    assert isinstance(told[0], kind if code is not Code.GONE else NoLeader.__base__) and str(told[0]) == "why"


def test_f1_a_call_that_was_sent_and_not_answered_is_unknown_at_its_deadline(desk):
    told = desk.call(within=0.1)
    desk.pump()
    desk.pump(0.2)
    assert [type(result) for result in told] == [OutcomeUnknown]
    desk.answer(1, ADD)
    assert len(told) == 1 and desk.requester.idle


def test_f1_a_call_that_waits_for_a_session_is_not_applied_at_its_deadline():
    desk = Desk(opened=False)
    told = desk.call(within=0.1)
    desk.pump()
    desk.pump(0.2)
    assert [type(result) for result in told] == [NoLeader] and desk.requester.idle


def test_a_call_stays_unknown_while_one_of_its_frames_is_neither_answered_nor_refused(desk):
    told = desk.call(within=1.0)
    desk.pump()
    (second,) = desk.pump(RESEND_SECONDS + 0.01)
    desk.refuse(second, Code.NO_LEADER)
    desk.pump(1.0)
    assert [type(result) for result in told] == [OutcomeUnknown]


def test_a_void_takes_the_place_of_a_call_that_was_given_up(desk):
    told, other = desk.call(within=0.1), desk.call()
    (message,) = desk.pump()
    desk.refuse(message, Code.BUSY)
    (again,) = desk.pump(0.2)
    assert isinstance(told[0], Busy)
    assert [method for method, _ in again.calls] == ["", "add"] and again.calls[0][1] == b""
    desk.answer(1, None, ADD)
    assert len(other) == 1 and desk.requester.idle


def test_calls_without_a_deadline_wait_for_ever(desk):
    told = desk.call()
    for _ in range(50):
        desk.pump(RESEND_SECONDS * 2)
    assert told == []


def test_a_deadline_is_met_by_the_one_who_asks_how_long_to_wait(desk):
    desk.call(within=0.25)
    desk.pump()
    assert desk.requester.wait_s(desk.now_s) == pytest.approx(0.25)
    desk.pump(0.3)
    assert 0 <= desk.requester.wait_s(desk.now_s) <= RESEND_SECONDS


def test_an_idle_requester_need_not_be_asked(desk):
    assert desk.requester.wait_s(desk.now_s) is None


def test_after_a_refusal_the_wait_is_until_the_next_try(desk):
    desk.call()
    (message,) = desk.pump()
    desk.refuse(message, Code.BUSY)
    assert desk.requester.wait_s(desk.now_s) == pytest.approx(BACKOFF_SECONDS_MIN)


# ---- The session's end ----


def test_when_the_session_expires_what_may_be_applied_is_told_and_the_rest_moves_on(desk):
    sent = desk.call()
    desk.pump()
    unsent = desk.call()
    (second,) = desk.pump()
    desk.refuse(second, Code.SESSION_EXPIRED)
    assert [type(result) for result in sent] == [SessionExpired] and unsent == []
    (opening,) = desk.pump()
    desk.requester.receive(SessionOpened(opening.request, 2048), desk.now_s)
    (again,) = desk.pump()
    assert (again.session, sequences(again), again.first_unanswered) == (2048, range(1), 0)


def test_calls_that_were_given_up_do_not_move_to_the_next_session(desk):
    desk.call(within=0.1)
    kept = desk.call()
    (message,) = desk.pump()
    desk.refuse(message, Code.BUSY)
    (again,) = desk.pump(0.2)
    desk.refuse(again, Code.SESSION_EXPIRED)
    assert desk.requester.unfinished == 1 and kept == []


def test_calls_move_to_the_next_session_in_their_order(desk):
    desk.call("one"), desk.call("two")
    (message,) = desk.pump()
    desk.call("three")
    desk.refuse(message, Code.SESSION_EXPIRED)
    (opening,) = desk.pump()
    desk.requester.receive(SessionOpened(opening.request, 2048), desk.now_s)
    (again,) = desk.pump()
    assert [method for method, _ in again.calls] == ["one", "two", "three"]


def test_f12_close_tells_everyone_once(desk):
    sent = desk.call()
    desk.pump()
    waiting = desk.call()
    desk.requester.close(Closed("the node is closed"))
    assert [type(result) for result in sent] == [OutcomeUnknown]
    assert [type(result) for result in waiting] == [Closed]
    assert desk.requester.idle


def test_close_tells_nobody_twice(desk):
    told = desk.call(within=0.1)
    desk.pump()
    desk.pump(0.2)
    desk.requester.close(Closed("the node is closed"))
    assert len(told) == 1


# ---- Rejections ----


def test_a_rejection_has_the_methods_exception_as_its_cause():
    error = rejected(Rejection("ValueError", "full"))
    assert type(error) is MethodRejected and str(error) == "ValueError: full"
    assert type(error.__cause__) is ValueError and str(error.__cause__) == "full"


def test_an_exception_of_the_users_own_is_rebuilt_by_name():
    cause = rejected(Rejection("OutOfStock", "none left")).__cause__
    assert (type(cause).__name__, str(cause)) == ("OutOfStock", "none left")


def test_a_reducer_that_failed_is_told_apart():
    assert type(rejected(Rejection("KeyError", "a", by_reducer=True))) is ReducerFailed


def test_a_rejection_without_a_message_is_the_exceptions_name():
    assert str(rejected(Rejection("Full", ""))) == "Full"


@pytest.mark.parametrize(
    "name",
    [
        *("UnicodeDecodeError", "UnicodeEncodeError", "UnicodeTranslateError", "ExceptionGroup"),
        *("BaseException", "SystemExit", "KeyboardInterrupt", "print", "eval", "int", "no identifier", "", "é", "None"),
    ],
)
def test_whatever_name_a_rejection_carries_its_cause_is_a_harmless_exception(name):
    error = rejected(Rejection(name, "text"))
    assert isinstance(error.__cause__, Exception) and type(error) is MethodRejected
