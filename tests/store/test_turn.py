"""The leader's turn: what becomes of a call, what never reaches the log, and where a turn ends."""

from __future__ import annotations

from typing import Any

import pytest
from pyrsistent import pvector

from conflux import limits
from conflux.app import App, now
from conflux.store.machine import Machine
from conflux.store.records import header_of, records_of
from conflux.store.session import session_id
from conflux.store.turn import Refusal, Turn, arguments_problem
from conflux.usercode import inside_user_code
from conflux.wire import values
from conflux.wire.clients import Code, Perform, Rejection
from tests.store.harness import (
    GIVEN,
    SECOND_US,
    FakeClock,
    Leader,
    facts,
    folded,
    make_app,
    outcomes_of,
    perform,
)


def added(thing: Any) -> bytes:
    return values.encode({"type": "add", "thing": thing})


@pytest.fixture
def leader() -> Leader:
    return Leader()


def refused(leader: Leader, request: Perform) -> Refusal:
    """The refusal of a request, which must leave no trace."""
    before = facts(leader.machine)
    turn = leader.turn()
    refusal = turn.perform(request)
    assert isinstance(refusal, Refusal), refusal
    assert turn.is_empty
    assert facts(leader.machine) == before
    return refusal


# ---- What becomes of a call ----


def test_an_action_is_reduced_and_kept_as_bytes(leader):
    session = leader.open_session()
    assert leader.perform(session, 0, ("add", "x")) == [added("x")]
    assert (leader.machine.state, leader.machine.revision) == (pvector(["x"]), 1)


def test_none_dispatches_nothing_and_counts_no_revision(leader):
    session = leader.open_session()
    leader.perform(session, 0, ("add", "x"))
    assert leader.perform(session, 1, ("add_once", "x")) == [None]
    assert (leader.machine.revision, leader.machine.sessions[session].next_sequence) == (1, 2)


def test_a_void_takes_its_number_and_does_nothing(leader):
    session = leader.open_session()
    assert leader.perform(session, 0, (), ("add", "x")) == [None, added("x")]
    assert leader.machine.revision == 1


def test_what_a_method_raises_is_its_answer(leader):
    session = leader.open_session()
    assert leader.perform(session, 0, ("fail", "full")) == [Rejection("ValueError", "full")]
    assert leader.machine.revision == 0


def test_an_exception_that_is_returned_is_a_rejection_too(leader):
    assert leader.perform(leader.open_session(), 0, ("give_error",)) == [Rejection("KeyError", "'given'")]


def test_a_reducer_that_raises_on_the_leader_is_a_rejection_and_the_state_stays(leader):
    session = leader.open_session()
    leader.perform(session, 0, ("add", "x"))
    assert leader.perform(session, 1, ("explode",)) == [Rejection("RuntimeError", "the reducer can't", True)]
    assert (leader.machine.state, leader.machine.revision) == (pvector(["x"]), 1)


def test_a_rejection_is_a_record_since_it_depends_on_the_state(leader):
    leader.perform(leader.open_session(), 0, ("fail", "full"))
    (calls,) = records_of(leader.entries[-1].payload)
    assert calls.outcomes == [Rejection("ValueError", "full")]
    assert header_of(leader.entries[-1].payload).actions == 0


def test_later_calls_of_a_turn_see_what_earlier_ones_did(leader):
    turn = leader.turn()
    session = turn.open_session()
    judged = turn.perform(perform(session, 0, ("add_once", "x"), ("add_once", "x")))
    assert outcomes_of(judged) == [added("x"), None]


@pytest.mark.parametrize(
    "given",
    [
        {"a": (1, 2)},
        (1, 2),
        {1, 2},
        {"a": float("nan")},
        {1: "a"},
        b"bytes",
        2**64,
        "\ud800",
        ValueError,
        {"type": "@@conflux/opened"},
        "x" * limits.ACTION_BYTES_MAX,
    ],
    ids=lambda value: str(type(value)),
)
def test_an_action_that_is_no_json_value_is_a_rejection_and_nothing_changes(leader, given):
    GIVEN["it"] = given
    (outcome,) = leader.perform(leader.open_session(), 0, ("give", "it"))
    assert (outcome.type, outcome.by_reducer) == ("MalformedValue", False)
    assert (leader.machine.revision, leader.machine.state) == (0, pvector())


def test_k10_an_action_may_not_pose_as_one_of_ours(leader):
    GIVEN["it"] = {"type": "@@conflux/opened"}
    (outcome,) = leader.perform(leader.open_session(), 0, ("give", "it"))
    assert "must not begin with @@conflux/" in outcome.message


@pytest.mark.parametrize("given", [{}, [], "", 0, False, [[]], "plain"])
def test_k9_any_json_value_may_be_an_action_even_an_empty_one(leader, given):
    GIVEN["it"] = given
    assert leader.perform(leader.open_session(), 0, ("give", "it")) == [values.encode(given)]
    assert leader.machine.revision == 1


def test_a15_the_reducer_gets_the_decoded_bytes_and_never_the_methods_own_object():
    made, seen = {"type": "add", "things": [1]}, []
    app: App[Any, Any] = App({"act": lambda state: made}, lambda state, action: seen.append(action) or 0)
    leader = Leader(app)
    leader.perform(leader.open_session(), 0, ("act",))
    assert seen[-1] == made
    assert seen[-1] is not made and seen[-1]["things"] is not made["things"]


def test_a_long_message_is_cut_at_a_whole_character(leader):
    (outcome,) = leader.perform(leader.open_session(), 0, ("fail", "é" * limits.ERROR_TEXT_BYTES_MAX))
    assert outcome.message == "é" * (limits.ERROR_TEXT_BYTES_MAX // 2)


def test_a_message_with_a_lone_surrogate_is_told_as_well_as_it_can_be():
    def fail(state: Any) -> Any:
        raise ValueError("a\ud800b")

    leader = Leader(App({"fail": fail}, lambda state, action: state or 0))
    assert leader.perform(leader.open_session(), 0, ("fail",)) == [Rejection("ValueError", "a?b")]
    assert facts(folded(leader.entries, leader.app)) == facts(leader.machine)


# ---- Log time ----


def test_now_inside_a_method_is_log_time(leader):
    session = leader.open_session()
    leader.time_us = 90 * SECOND_US
    assert leader.perform(session, 0, ("add_time",)) == [added(90.0)]


def test_log_time_never_goes_back(leader):
    leader.time_us = 90 * SECOND_US
    session = leader.open_session()
    leader.time_us = 10 * SECOND_US
    assert leader.perform(session, 0, ("add_time",)) == [added(90.0)]
    assert leader.machine.log_time_us == 90 * SECOND_US


def test_now_is_refused_outside_a_method_and_in_a_reducer():
    def reduce(state: Any, action: Any) -> Any:
        return now() if action else 0

    leader = Leader(App({"act": lambda state: "go"}, reduce))
    (outcome,) = leader.perform(leader.open_session(), 0, ("act",))
    assert (outcome.type, outcome.by_reducer) == ("RuntimeError", True)
    with pytest.raises(RuntimeError, match="only a method"):
        now()


def test_now_is_over_once_a_method_has_raised(leader):
    leader.perform(leader.open_session(), 0, ("fail",))
    with pytest.raises(RuntimeError):
        now()


def test_methods_and_reducers_know_that_they_are_inside():
    seen = []
    app: App[Any, Any] = App(
        {"act": lambda state: seen.append(inside_user_code()) or "go"},
        lambda state, action: seen.append(inside_user_code()) or 0,
    )
    leader = Leader(app)
    leader.perform(leader.open_session(), 0, ("act",))
    assert seen == [True, True, True] and not inside_user_code()


# ---- Exactly once ----


def test_a_repeat_gets_the_same_outcomes_and_is_not_run_again(leader):
    session = leader.open_session()
    calls = [("add", "x"), ("fail", "no"), ("add_once", "x"), ("explode",)]
    first = leader.perform(session, 0, *calls)
    before = facts(leader.machine)
    turn = leader.turn()
    assert outcomes_of(turn.perform(perform(session, 0, *calls))) == first
    assert turn.is_empty and facts(leader.machine) == before


def test_a_repeat_names_the_entry_and_revision_of_the_first_time(leader):
    session = leader.open_session()
    leader.perform(session, 0, ("add", "x"), ("add", "y"))
    index = leader.machine.index
    leader.perform(session, 2, ("add", "z"))
    (segment,) = leader.turn().perform(perform(session, 1, ("add", "y"))).segments
    assert (segment.index, segment.first_revision, segment.first_sequence) == (index, 2, 1)


def test_a_repeat_with_more_behind_it_runs_only_what_is_new(leader):
    session = leader.open_session()
    leader.perform(session, 0, ("add", "x"))
    assert leader.perform(session, 0, ("add", "x"), ("add", "y")) == [added("x"), added("y")]
    assert list(leader.machine.state) == ["x", "y"]


def test_a_repeat_within_the_same_turn_joins_the_first(leader):
    turn = leader.turn()
    session = turn.open_session()
    first = turn.perform(perform(session, 0, ("add", "x")))
    again = turn.perform(perform(session, 0, ("add", "x")))
    assert again.segments == first.segments
    assert list(leader.log(turn).state) == ["x"]


def test_a_repeat_with_other_arguments_still_gets_the_first_answer(leader):
    session = leader.open_session()
    leader.perform(session, 0, ("add", "x"))
    assert leader.perform(session, 0, ("add", "other")) == [added("x")]


def test_a_late_copy_of_a_call_whose_answer_is_forgotten_does_nothing(leader):
    session = leader.open_session()
    leader.perform(session, 0, ("add", "x"))
    leader.perform(session, 1, ("add", "y"), unanswered=1)
    assert leader.perform(session, 0, ("add", "x")) == []
    assert list(leader.machine.state) == ["x", "y"]


def test_a_first_unanswered_from_the_future_forgets_nothing_that_is_not_made(leader):
    session = leader.open_session()
    leader.perform(session, 0, ("add", "x"), unanswered=900)
    assert leader.perform(session, 0, ("add", "x")) == [added("x")]


def test_f2_a_repeat_after_a_change_of_leader_gets_the_same_answer(leader):
    session = leader.open_session()
    first = leader.perform(session, 0, ("add", "x"), ("fail", "no"))
    leader.noop()
    assert leader.perform(session, 0, ("add", "x"), ("fail", "no")) == first
    assert list(leader.machine.state) == ["x"]


# ---- What never reaches the log ----


def test_a_gap_is_refused_with_the_call_to_send_again_from(leader):
    session = leader.open_session()
    leader.perform(session, 0, ("add", "x"))
    refusal = refused(leader, perform(session, 2, ("add", "z")))
    assert (refusal.code, refusal.sequence) == (Code.RESEND, 1)


def test_an_unknown_session_is_refused_as_expired(leader):
    assert refused(leader, perform(77, 0, ("add", "x"))).code is Code.SESSION_EXPIRED


def test_a_closed_session_is_refused_as_expired(leader):
    turn = leader.turn()
    session = turn.open_session()
    turn.close_session(session)
    leader.log(turn)
    assert refused(leader, perform(session, 0, ("add", "x"))).code is Code.SESSION_EXPIRED


def test_an_unknown_method_is_refused_with_those_there_are_and_the_whole_frame_with_it(leader):
    session = leader.open_session()
    refusal = refused(leader, perform(session, 0, ("add", "x"), ("sing",)))
    assert (refusal.code, refusal.sequence) == (Code.UNKNOWN_METHOD, 1)
    assert "no method 'sing'" in refusal.message and "add_once" in refusal.message


@pytest.mark.parametrize("arguments", [b"", b"\xc1", b"\x91\xcb\x7f\xf8\0\0\0\0\0\0", b"\x91\xc4\x01a"])
def test_arguments_that_are_no_json_values_are_refused(leader, arguments):
    request = Perform(1, leader.open_session(), 0, 0, [("add", arguments)])
    assert refused(leader, request).code is Code.BAD_ARGUMENTS


@pytest.mark.parametrize("arguments", [{}, "x", None, 5])
def test_k7_arguments_that_are_no_list_are_refused(leader, arguments):
    request = Perform(1, leader.open_session(), 0, 0, [("add", values.encode(arguments))])
    assert refused(leader, request).code is Code.BAD_ARGUMENTS


@pytest.mark.parametrize(("method", "given"), [("add", ()), ("add", (1, 2)), ("add_time", (1,)), ("fail", (1, 2))])
def test_too_many_or_too_few_arguments_are_refused(leader, method, given):
    refusal = refused(leader, perform(leader.open_session(), 0, (method, *given)))
    assert refusal.code is Code.BAD_ARGUMENTS and refusal.message.startswith(f"{method}: ")


def test_arguments_are_counted_against_the_methods_signature():
    assert arguments_problem(lambda state, *things: None, 7) is None
    assert arguments_problem(lambda state, thing=None: None, 1) is None
    assert arguments_problem(lambda state, *, thing: None, 0) is not None
    assert arguments_problem(max, 3) is None  # a builtin without a signature


def test_more_unanswered_calls_than_the_limit_are_refused_as_busy(leader, monkeypatch):
    monkeypatch.setattr(limits, "UNANSWERED_MAX", 3)
    session = leader.open_session()
    leader.perform(session, 0, ("add", 0), ("add", 1), ("add", 2))
    assert refused(leader, perform(session, 3, ("add", 3))).code is Code.BUSY
    assert leader.perform(session, 3, ("add", 3), unanswered=1) == [added(3)]


def test_a_full_table_takes_no_new_session_and_drops_no_live_one(leader, monkeypatch):
    monkeypatch.setattr(limits, "SESSIONS_MAX", 2)
    kept = [leader.open_session(), leader.open_session()]
    turn = leader.turn()
    assert turn.open_session().code is Code.BUSY and turn.is_empty
    assert sorted(leader.machine.sessions) == kept


def test_closing_a_session_that_is_not_there_logs_nothing(leader):
    turn = leader.turn()
    turn.close_session(5)
    assert turn.is_empty


def test_a_session_is_named_by_its_entry_and_its_place_in_it(leader):
    turn = leader.turn()
    assert [turn.open_session(), turn.open_session()] == [session_id(1, 0), session_id(1, 1)]


# ---- Expiry ----


def test_f3_a_session_expires_by_log_time_after_its_last_use(leader):
    used, unused = leader.open_session(), leader.open_session()
    leader.time_us = (limits.SESSION_SECONDS - 1) * SECOND_US
    leader.perform(used, 0, ("add", "x"))
    leader.time_us = (limits.SESSION_SECONDS + 1) * SECOND_US
    assert refused(leader, perform(unused, 0, ("add", "y"))).code is Code.SESSION_EXPIRED
    assert leader.perform(used, 1, ("add", "z")) == [added("z")]


def test_an_expired_session_is_gone_from_the_table_at_the_same_entry_on_all_nodes(leader):
    leader.open_session()
    leader.time_us = limits.SESSION_SECONDS * SECOND_US
    leader.log(leader.turn())
    assert not leader.machine.sessions
    assert facts(folded(leader.entries, leader.app)) == facts(leader.machine)


def test_the_machine_knows_when_the_next_session_may_expire(leader):
    leader.open_session()
    assert leader.machine.sweep_us == limits.SESSION_SECONDS * SECOND_US
    leader.time_us = leader.machine.sweep_us
    leader.log(leader.turn())
    assert leader.machine.sweep_us > 2**60


# ---- Where a turn ends ----


def test_a_turn_of_many_calls_ends_at_its_limit_and_leaves_the_rest(leader, monkeypatch):
    monkeypatch.setattr(limits, "TURN_RECORDS_MAX", 3)
    session = leader.open_session()
    turn = leader.turn()
    judged = turn.perform(perform(session, 0, *[("add", n) for n in range(5)], unanswered=0))
    assert len(outcomes_of(judged)) == 3 and turn.is_full
    assert (judged.rest.first_sequence, len(judged.rest.calls)) == (3, 2)
    assert list(leader.log(turn).state) == [0, 1, 2]
    assert leader.turn().perform(judged.rest).rest is None


def test_a_turn_of_large_actions_ends_at_its_limit_of_bytes(leader):
    session = leader.open_session()
    turn = leader.turn()
    large = "x" * (limits.ACTION_BYTES_MAX - 100)
    judged = turn.perform(perform(session, 0, *[("add", large)] * 4))
    assert len(outcomes_of(judged)) == 3 and len(judged.rest.calls) == 1


def test_a_turn_of_slow_methods_ends_when_its_time_is_over(leader):
    session = leader.open_session()
    turn = leader.turn()
    leader.clock.step_s = limits.TURN_JUDGE_SECONDS_MAX / 2.5
    judged = turn.perform(perform(session, 0, *[("add", n) for n in range(9)]))
    assert 1 <= len(outcomes_of(judged)) <= 3 and judged.rest.first_sequence == len(outcomes_of(judged))


def test_a_request_that_finds_a_full_turn_waits_whole_for_the_next(leader, monkeypatch):
    session, other = leader.open_session(), leader.open_session()
    leader.perform(session, 0, ("add", 0))
    monkeypatch.setattr(limits, "TURN_RECORDS_MAX", 1)
    turn = leader.turn()
    turn.perform(perform(other, 0, ("add", "full")))
    judged = turn.perform(perform(session, 0, ("add", 0), ("add", 1)))
    assert outcomes_of(judged) == [added(0)] and (judged.rest.first_sequence, len(judged.rest.calls)) == (0, 2)


def test_a_turn_with_more_in_it_than_its_limit_runs_nothing_of_a_request(leader, monkeypatch):
    session = leader.open_session()
    turn = leader.turn()
    for _ in range(3):
        turn.open_session()
    monkeypatch.setattr(limits, "TURN_RECORDS_MAX", 1)
    judged = turn.perform(perform(session, 0, *[("add", n) for n in range(5)]))
    assert outcomes_of(judged) == [] and len(judged.rest.calls) == 5


def test_a_turn_makes_headway_however_long_the_arguments_take_to_read(leader):
    session = leader.open_session()
    for _ in range(3):  # each turn finds its time over before the first call
        turn = Turn(
            leader.app,
            leader.machine,
            index=leader.machine.index + 1,
            term=1,
            log_time_us=0,
            wall_time_us=0,
            clock=FakeClock(step_s=limits.TURN_JUDGE_SECONDS_MAX * 2),
        )
        judged = turn.perform(perform(session, 0, ("add", "x")))
    assert outcomes_of(judged) == [added("x")]


def test_reading_arguments_uses_up_nothing_of_the_time_that_is_there_for_methods(leader, monkeypatch):
    session, decode = leader.open_session(), values.decode

    def slowly(packed: bytes) -> Any:
        leader.clock.now_s += limits.TURN_JUDGE_SECONDS_MAX / 10
        return decode(packed)

    monkeypatch.setattr(values, "decode", slowly)
    judged = leader.turn().perform(perform(session, 0, *(("add", number) for number in range(100))))
    assert judged.rest is None and len(outcomes_of(judged)) == 100


def test_what_is_left_of_a_request_is_not_read_as_a_whole_again_in_every_turn(leader, monkeypatch):
    monkeypatch.setattr(limits, "TURN_RECORDS_MAX", 10)
    session, decode, reads = leader.open_session(), values.decode, []
    monkeypatch.setattr(values, "decode", lambda packed: reads.append(packed) or decode(packed))
    request: Perform | None = perform(session, 0, *(("add", number) for number in range(1000)))
    turns = 0
    while request is not None:
        turn = leader.turn()
        judged = turn.perform(request)
        leader.log(turn)
        request, turns = judged.rest, turns + 1
    assert turns == 100 and len(reads) == 1000 + 990
    assert leader.machine.revision == 1000


# ---- Users' objects that bite ----


class Biting:
    """An object whose text can't be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class BitingError(Exception):
    __str__ = Biting.__str__


def nested(depth: int) -> tuple[Any, ...]:
    value: tuple[Any, ...] = ()
    for _ in range(depth):
        value = (value,)
    return value


@pytest.mark.parametrize(
    "given",
    [BitingError(), Biting(), {"type": Biting()}, {"type": 10**5000}, [nested(100_000)]],
    ids=["error", "action", "type", "number", "nested"],
)
def test_an_object_of_the_users_that_can_not_be_printed_is_a_rejection(leader, given):
    GIVEN["it"] = given
    (outcome,) = leader.perform(leader.open_session(), 0, ("give", "it"))
    assert isinstance(outcome, Rejection)


# ---- Kept in step with the fold ----


def test_what_the_leader_has_after_an_entry_is_what_a_follower_folds(leader):
    session = leader.open_session()
    leader.perform(session, 0, ("add", "x"), ("fail", "no"), ("explode",), (), ("add_once", "x"))
    leader.noop()
    leader.perform(session, 3, ("add", "late"), ("add", "y"), ("add", "z"), unanswered=2)
    assert facts(folded(leader.entries, leader.app)) == facts(leader.machine)


def test_an_empty_turn_may_be_logged_to_let_time_pass(leader):
    leader.time_us = 7 * SECOND_US
    leader.log(leader.turn())
    assert header_of(leader.entries[-1].payload).log_time_us == 7 * SECOND_US
    assert folded(leader.entries, make_app()).log_time_us == 7 * SECOND_US


def test_a_method_that_exits_is_a_rejection_and_not_the_end_of_the_leader():
    app = App(name="exits")

    @app.method
    def leave(state):
        raise SystemExit(3)

    app.reduce = lambda state, action: state or []
    machine = Machine.initial(app)
    turn = Turn(app, machine, index=1, term=1, log_time_us=0, wall_time_us=0, clock=lambda: 0.0)
    session = turn.open_session()
    judged = turn.perform(Perform(1, session, 0, 0, [("leave", values.encode([]))]))
    assert [outcome.type for segment in judged.segments for outcome in segment.outcomes] == ["SystemExit"]
