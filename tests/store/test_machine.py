"""The fold: what makes a node diverge, and the hash points that find one out."""

from __future__ import annotations

from typing import Any

import pytest
from pyrsistent import pmap, pvector

from conflux import limits
from conflux.app import App, combine_reducers
from conflux.errors import ConfluxError, Damaged, Diverged
from conflux.raft.entry import Entry, Kind
from conflux.store.hash_points import HashPoint
from conflux.store.machine import Machine, fold
from conflux.store.records import StateHash, records_of
from conflux.store.turn import Turn
from conflux.wire.peers import HashedPoint
from conflux.wire.states import digest, encode_slices, encode_state
from tests.store.harness import Leader, facts, folded, make_app

LARGE = "x" * (limits.HASH_POINT_BYTES_MIN // 2)


def app_with(reduce: Any, version: int = 1) -> App[Any, Any]:
    methods = {"add": lambda state, thing: {"type": "add", "thing": thing}}
    return App(methods, reduce, version=version)


def joined(state: Any, action: Any) -> Any:
    return [] if state is None else [*state, action["thing"]]


# ---- The beginning ----


def test_the_initial_state_is_what_the_reducer_makes_of_nothing():
    machine = Machine.initial(make_app())
    assert (machine.state, machine.index, machine.revision) == (pvector(), 0, 0)


def test_a_reducer_that_fails_at_the_initial_state_is_told_in_one_line():
    with pytest.raises(ConfluxError, match="the reducer fails at the initial state: KeyError: 'a'"):
        Machine.initial(app_with(lambda state, action: {}["a"]))


@pytest.mark.parametrize("state", [(1,), {1}, {1: 2}, object(), [2**70], ["\ud800"]])
def test_an_initial_state_that_can_not_be_kept_is_refused(state):
    with pytest.raises(ConfluxError, match="initial state can't be kept"):
        Machine.initial(app_with(lambda _state, _action: state))


def test_an_app_without_a_reducer_has_no_machine():
    with pytest.raises(ConfluxError, match="no reducer"):
        Machine.initial(App({"add": print}))


# ---- Divergence ----


def test_a14_a_reducer_that_raises_on_a_follower_names_the_revision():
    leader = Leader(app_with(joined))
    session = leader.open_session()
    leader.perform(session, 0, ("add", 1), ("add", 2), ("add", 3))

    def picky(state: Any, action: Any) -> Any:
        if action and action["thing"] == 2:
            raise OSError("not here")
        return joined(state, action)

    with pytest.raises(Diverged, match="raised at revision 2, which it did not on the leader: OSError: not here"):
        folded(leader.entries, app_with(picky))


def test_an_entry_of_another_version_of_the_app_is_not_folded():
    leader = Leader(app_with(joined, version=1))
    leader.open_session()
    with pytest.raises(Diverged, match="version 1 of the app, and this is version 2"):
        folded(leader.entries, app_with(joined, version=2))


def test_a_log_that_goes_on_with_another_revision_is_not_folded():
    leader = Leader(app_with(joined))
    session = leader.open_session()
    leader.perform(session, 0, ("add", 1))
    leader.perform(session, 1, ("add", 2))
    machine = folded(leader.entries[:1], leader.app)
    with pytest.raises(Diverged, match="goes on with revision 2, this state with 1"):
        fold(machine, leader.entries[2], leader.app)


def test_a_log_that_uses_a_session_nobody_opened_is_not_folded():
    leader = Leader(app_with(joined))
    session = leader.open_session()
    leader.perform(session, 0, ("add", 1))
    with pytest.raises(Diverged, match=f"uses session {session}"):
        fold(Machine.initial(leader.app), leader.entries[1], leader.app)


def test_an_entry_that_does_not_decode_is_damaged():
    with pytest.raises(Damaged):
        fold(Machine.initial(make_app()), Entry(1, 1, Kind.RECORDS, b"short"), make_app())


def test_a_fold_leaves_the_machine_before_it_as_it_was():
    leader = Leader(app_with(joined))
    session = leader.open_session()
    before = leader.machine
    kept = facts(before)
    leader.perform(session, 0, ("add", 1))
    assert facts(before) == kept


# ---- Hash points ----


def with_hash_point() -> tuple[Leader, int]:
    """A leader whose last entry set a hash point at revision 2."""
    leader = Leader()
    session = leader.open_session()
    for sequence in range(2):
        leader.perform(session, sequence, ("add", LARGE), unanswered=sequence)
    assert leader.machine.hash_point.revision == 2
    return leader, session


def test_a_hash_point_comes_where_the_log_since_the_last_one_outgrows_the_state():
    leader = Leader()
    session = leader.open_session()
    points = []
    for sequence in range(12):
        leader.perform(session, sequence, ("add", LARGE), unanswered=sequence)
        points.append(leader.machine.hash_point.revision)
    assert points == [0, 2, 2, 4, 4, 4, 4, 8, 8, 8, 8, 8]
    assert facts(folded(leader.entries, leader.app)) == facts(leader.machine)


def test_the_hash_of_a_hash_point_goes_into_the_log_once_it_is_worked_out():
    leader, session = with_hash_point()
    leader.perform(session, 2, ("add", 1))
    assert not any(isinstance(record, StateHash) for record in records_of(leader.entries[-1].payload))
    leader.machine.hash_point.finish()
    leader.perform(session, 3, ("add", 2))
    expected = digest(encode_slices(pvector([LARGE] * 2)))
    assert records_of(leader.entries[-1].payload)[-1] == StateHash(2, expected)


def test_the_hash_of_a_hash_point_is_logged_once():
    leader, session = with_hash_point()
    leader.machine.hash_point.finish()
    leader.perform(session, 2, ("add", 1))
    leader.perform(session, 3, ("add", 2))
    logged = [record for entry in leader.entries for record in records_of(entry.payload) if type(record) is StateHash]
    assert len(logged) == 1 and leader.machine.hash_logged == 2


def test_a_hash_that_the_machine_no_longer_knows_is_not_logged():
    leader, session = with_hash_point()
    agreed = HashedPoint(1, 1, b"log", b"state")
    turn = Turn(
        leader.app, leader.machine, index=9, term=1, log_time_us=0, wall_time_us=0, clock=leader.clock, agreed=agreed
    )
    turn.close_session(session)
    payload, _ = turn.finish()
    assert not any(isinstance(record, StateHash) for record in records_of(payload))


def test_an_entry_that_only_lets_time_pass_carries_no_hash():
    leader, _ = with_hash_point()
    leader.machine.hash_point.finish()
    leader.log(leader.turn())
    assert records_of(leader.entries[-1].payload) == []


def with_hash_logged_that_another_app_does_not_have() -> tuple[list[Entry], App[Any, Any]]:
    """A log whose last entry holds the hash of revision 2, and an app that folds that otherwise."""
    leader, session = with_hash_point()
    leader.machine.hash_point.finish()
    leader.perform(session, 2, ("add", 1))

    def forgetful(state: Any, action: Any) -> Any:
        state = things.reduce(state, action)
        return state[1:] if len(state) == 2 else state

    things, other = make_app(), make_app()
    other.reducer(forgetful)
    return leader.entries, other


def test_a16_a_state_that_differs_at_a_hash_point_is_found_out():
    entries, other = with_hash_logged_that_another_app_does_not_have()
    machine = folded(entries[:-1], other)
    machine.hash_point.finish()
    with pytest.raises(Diverged, match="the state at revision 2 is not the one that the cluster agreed on"):
        fold(machine, entries[-1], other)


def test_a16_a_hash_that_is_worked_out_later_is_compared_then():
    entries, other = with_hash_logged_that_another_app_does_not_have()
    point = folded(entries, other).hash_point
    assert not point.is_contradicted
    assert point.finish().is_contradicted


def test_a_hash_in_the_log_where_this_node_has_no_hash_point_is_found_out():
    leader, session = with_hash_point()
    leader.machine.hash_point.finish()
    leader.perform(session, 2, ("add", 1))
    large = App(leader.app.methods, lambda state, action: "x" * 500_000)
    with pytest.raises(Diverged, match="the state at revision 2 is not the one that the cluster agreed on"):
        folded(leader.entries, large)


def test_a_hash_point_hashes_the_state_of_its_revision_though_the_state_goes_on():
    leader, session = with_hash_point()
    point = leader.machine.hash_point
    leader.perform(session, 2, ("add", 1))
    assert point.finish().digest == digest([encode_state(pvector([LARGE] * 2))])


def test_a_hash_point_is_worked_out_in_slices():
    point = HashPoint(1, [["a"] * 6000, {"b": 1}])
    slices = 0
    while point.work():
        assert not point.done and point.digest is None
        slices += 1
    assert slices > 3 and point.done and not point.work()
    assert (point.bytes_total, point.digest) == (
        len(encode_state([["a"] * 6000, {"b": 1}])),
        digest(encode_slices([["a"] * 6000, {"b": 1}])),
    )


def test_a_state_without_an_encoding_has_no_hash_and_says_why():
    point = HashPoint(1, [1, (2,)]).finish()
    assert point.digest is None and "can't hold a tuple" in str(point.problem)


def test_a_state_that_can_not_be_kept_does_not_stop_the_turn():
    leader = Leader(app_with(lambda state, action: 0 if state is None else (action["thing"],)))
    session = leader.open_session()
    for sequence in range(4):
        leader.perform(session, sequence, ("add", LARGE), unanswered=sequence)
    assert facts(folded(leader.entries, leader.app)) == facts(leader.machine)


def test_a_pmap_with_keys_of_several_types_is_a_state_that_can_not_be_kept():
    assert HashPoint(1, pmap({1: 1, "a": 2})).finish().problem is not None


# ---- Reducers put together ----


def test_combined_reducers_fold_like_any_other():
    reduce = combine_reducers({"things": joined, "count": lambda s, a: (s or 0) + 1})
    leader = Leader(app_with(reduce))
    leader.perform(leader.open_session(), 0, ("add", 1), ("add", 2))
    assert leader.machine.state == {"things": [1, 2], "count": 3}
    assert facts(folded(leader.entries, leader.app)) == facts(leader.machine)
