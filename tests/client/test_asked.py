"""A question that is asked until it is answered: what is asked again, and what is then known of the attempts before."""

from __future__ import annotations

import pytest

from conflux.client.asked import PAUSE_SECONDS, Asked
from conflux.errors import Busy, ChangeRefused, NoLeader, NotApplied, NotReady
from conflux.wire.clients import Change, ChangeMembers, Code, Consistency, Read, Refused, TransferLeadership

NOW_S = 100.0


def change() -> Asked:
    asked = Asked(ChangeMembers(1, Change.REMOVE, "n4"))
    asked.sent(NOW_S, "a")
    return asked


@pytest.mark.parametrize(("code", "error"), [(Code.NO_LEADER, NoLeader), (Code.BUSY, Busy), (Code.NOT_READY, NotReady)])
def test_a_change_that_is_refused_for_now_is_asked_again_soon(code, error):
    asked = change()
    assert asked.refused(Refused(1, code, "not now"), NOW_S) is None
    assert isinstance(asked.refusal, error) and str(asked.refusal) == "not now"
    assert asked.asked_s + asked.again_s == pytest.approx(NOW_S + PAUSE_SECONDS)


def test_what_was_refused_each_time_was_not_done():
    asked = change()
    asked.refused(Refused(1, Code.NO_LEADER, "not now"), NOW_S)
    asked.give_up_attempt()
    assert not asked.may_be_done and not asked.outcome_is_open


def test_a_change_that_can_not_be_is_an_error_at_once():
    error = change().refused(Refused(1, Code.BAD_ARGUMENTS, "there is no member n4"), NOW_S)
    assert isinstance(error, ChangeRefused) and str(error) == "there is no member n4"


def test_a_change_without_an_answer_may_be_done():
    asked = change()
    assert asked.outcome_is_open and not asked.may_be_done
    asked.give_up_attempt()
    asked.sent(NOW_S + 3, "a")
    asked.refused(Refused(1, Code.NO_LEADER, "not now"), NOW_S + 3)
    assert asked.may_be_done and asked.outcome_is_open


def test_where_the_leader_has_changed_a_change_is_asked_again_at_once():
    asked = change()
    asked.leader_changed()
    assert asked.asked_s == 0.0 and asked.may_be_done


def test_a_read_is_never_open_and_asked_again_whatever_the_reason():
    asked = Asked(Read(1, Consistency.LINEARIZABLE))
    asked.sent(NOW_S, "a")
    asked.leader_changed()
    assert asked.refused(Refused(1, Code.GONE, "no longer"), NOW_S) is None
    asked.give_up_attempt()
    assert not asked.outcome_is_open


def test_a_transfer_that_is_refused_is_not_asked_again():
    asked = Asked(TransferLeadership(1, "n4"))
    assert type(asked.refused(Refused(1, Code.NO_LEADER, "not to that node"), NOW_S)) is NotApplied
