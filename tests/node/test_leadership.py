"""What a leader that ends leaves behind: who is refused, who must ask again, and that no refusal is a lie."""

from __future__ import annotations

from typing import Any

import pytest

from conflux import limits
from conflux.node.options import NodeOptions
from conflux.wire.clients import Answers, CloseSession, Code, OpenSession, Refused, SessionOpened
from tests.client.cluster import Cluster
from tests.store.harness import perform


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


def opened(cluster: Cluster) -> int:
    cluster.hear(OpenSession(1))
    cluster.turn()
    cluster.commit()
    session: int = cluster.out.pop().session
    return session


def told(cluster: Cluster, kind: type) -> list[Any]:
    return [message for message in cluster.out if isinstance(message, kind)]


def test_requests_that_were_not_judged_are_refused_when_leadership_ends(cluster):
    session = opened(cluster)
    cluster.hear(perform(session, 0, ("add", 1), request=7))
    cluster.hear(OpenSession(8))
    cluster.hear(CloseSession(session))
    cluster.depose()
    assert [(refused.request, refused.code) for refused in told(cluster, Refused)] == [
        (7, Code.NO_LEADER),
        (8, Code.NO_LEADER),
    ]


def test_requests_whose_outcome_is_open_are_not_refused(cluster):
    session = opened(cluster)
    cluster.hear(perform(session, 0, ("add", 1), request=7))
    cluster.hear(OpenSession(8))
    cluster.turn()
    cluster.depose()
    assert told(cluster, Refused) == [] and len(cluster.out) == 1  # who waits for both is told once to ask again


def test_f12_a_request_of_which_a_part_is_in_the_log_is_not_refused(cluster, monkeypatch):
    session = opened(cluster)
    monkeypatch.setattr(limits, "TURN_RECORDS_MAX", 1)
    cluster.hear(perform(session, 0, ("add", 1), ("add", 2), request=7))
    cluster.turn()
    cluster.depose(survive=4)
    assert 7 not in [refused.request for refused in told(cluster, Refused)]  # its first call may yet be applied
    cluster.lead()
    assert cluster.things == [1]


def test_an_entry_that_commits_after_all_was_never_said_to_be_refused(cluster):
    session = opened(cluster)
    cluster.hear(perform(session, 0, ("add", 1), request=7))
    cluster.turn()
    cluster.depose(survive=4)
    cluster.lead()
    cluster.hear(perform(session, 0, ("add", 1), request=9))
    cluster.turn()
    assert [answers.outcomes for answers in told(cluster, Answers)] and cluster.things == [1]


def test_answers_to_old_calls_are_given_at_once_and_to_new_ones_when_committed(cluster):
    session = opened(cluster)
    cluster.hear(perform(session, 0, ("add", 1)))
    cluster.turn()
    cluster.commit()
    cluster.out.clear()
    cluster.hear(perform(session, 0, ("add", 1), ("add", 2)))
    cluster.turn()
    assert [answers.first_sequence for answers in told(cluster, Answers)] == [0]
    cluster.commit()
    assert [answers.first_sequence for answers in told(cluster, Answers)] == [0, 1]


def test_a_session_is_expired_once_the_entry_that_ended_it_is_committed(cluster):
    session = opened(cluster)
    cluster.hear(CloseSession(session))
    cluster.turn()
    cluster.hear(perform(session, 0, ("add", 1), request=7))
    cluster.turn()
    assert told(cluster, Refused) == []
    cluster.commit()
    assert [(refused.request, refused.code) for refused in told(cluster, Refused)] == [(7, Code.SESSION_EXPIRED)]


def test_a_session_whose_end_is_lost_was_never_said_to_be_expired(cluster):
    session = opened(cluster)
    cluster.hear(CloseSession(session))
    cluster.hear(perform(session, 0, ("add", 1), request=7))
    cluster.turn()
    cluster.depose(survive=0)
    assert told(cluster, Refused) == [] and len(cluster.out) == 1  # it is told to ask again
    cluster.lead()
    cluster.hear(perform(session, 0, ("add", 1), request=8))
    cluster.turn()
    cluster.commit()
    assert [answers.first_sequence for answers in told(cluster, Answers)] == [0]


def test_a_leader_that_slept_asks_a_majority_before_it_calls_a_session_expired(cluster):
    opened(cluster)
    cluster.hear(perform(77 << 10, 0, ("add", 1), request=7))  # opened by another leader since, for all it knows
    cluster.turn()
    cluster.depose()
    assert told(cluster, Refused) == []


def test_an_opening_that_is_lost_is_never_answered(cluster):
    cluster.hear(OpenSession(5))
    cluster.turn()
    cluster.depose(survive=0)
    cluster.lead()
    cluster.commit()
    assert told(cluster, SessionOpened) == []


def test_log_time_goes_on_where_the_last_leader_left_it(cluster):
    cluster.clock.now_s += 5.0
    opened(cluster)
    before = cluster.replica.machine.log_time_us
    cluster.depose()
    cluster.clock.now_s += 1000.0  # nobody leads
    cluster.lead()
    opened(cluster)
    assert before == 5_000_000 == cluster.replica.machine.log_time_us


def test_a_leader_with_too_much_uncommitted_lets_requests_wait(cluster):
    session = opened(cluster)
    for sequence in range(8):
        cluster.hear(perform(session, sequence, ("add", sequence), unanswered=sequence))
        cluster.turn()
    assert cluster.leadership is not None and not cluster.leadership.has_work
    cluster.commit()
    assert cluster.leadership.has_work
    cluster.turn()
    cluster.commit()
    assert cluster.things == list(range(8))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"cluster": "Big"}, "cluster name 'Big'"),
        ({"cluster": "a" * 33}, "cluster name"),
        ({"label": ""}, "id ''"),
        ({"label": "../x"}, "id '../x'"),
        ({"label": "a\n"}, "id"),
        ({"size": 0}, "cluster size 0"),
        ({"size": 10}, "cluster size 10"),
        ({"heartbeat_interval_ms": 1}, "heartbeat interval"),
        ({"election_timeout_ms": (500, 300)}, "must not end before it begins"),
        ({"election_timeout_ms": (60, 90)}, "at least two heartbeat intervals"),
    ],
)
def test_options_that_are_wrong_are_named(given, problem):
    with pytest.raises(Exception, match="Invalid options") as caught:
        NodeOptions(**{"cluster": "test", "label": "a", "size": 3} | given)
    assert problem in str(caught.value)


def test_options_in_milliseconds_become_ticks():
    options = NodeOptions(cluster="test", label="a", size=3).raft_options()
    assert (options.election_ticks_min, options.election_ticks_max, options.heartbeat_ticks) == (60, 100, 10)
