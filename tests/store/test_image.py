"""A machine through its snapshot: what comes back is what was kept, and what is damaged is never taken for one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyrsistent import pmap, pvector

from conflux.app import App
from conflux.errors import ConfluxError, Damaged
from conflux.store import image
from conflux.store.machine import Machine
from conflux.store.membership import Member, Membership, Token
from conflux.wire.states import encode_state
from tests.store.harness import Leader, facts, make_app

MEMBERS = Membership.made_of(
    [Member("a" * 32, "n1", "key"), Member("b" * 32, "n2", "key", "joining", "127.0.0.1:7420")],
    removed=["c" * 32],
    tokens=[Token(b"digest", "learner", 5)],
)


def keep(machine: Machine, app: App[Any, Any]) -> tuple[image.Fields, bytes]:
    machine.hash_point.finish()
    return image.decode_fields(image.encode_fields(machine, app)), b"".join(image.encode_body(machine, app))


def restore(
    fields: image.Fields, body: bytes, machine: Machine, *, cut: int = 1000, app: App[Any, Any] | None = None
) -> Machine:
    chunks = [body[start : start + cut] for start in range(0, len(body), cut)]
    where = {"index": machine.index, "term": machine.term}
    steps = image.decode_slices(fields, chunks, app or make_app(), **where, bytes_total=len(body))
    return next(step for step in steps if step is not None)


def busy_leader() -> Leader:
    """One with sessions in every condition: fresh, with answers of all kinds, closed."""
    leader = Leader()
    first, second, third = (leader.open_session() for _ in range(3))
    leader.perform(first, 0, ("add", "x"), ("fail", "no"), (), ("add", ["y", 1, 2.5, None, True]))
    leader.time_us += 5_000_000
    leader.perform(second, 0, *[("add", number) for number in range(50)])
    leader.perform(first, 4, ("explode",), unanswered=2)
    turn = leader.turn()
    turn.close_session(third)
    leader.log(turn)
    leader.noop()
    return leader


@pytest.mark.parametrize("cut", [1, 7, 1000, 10**6])
def test_a_machine_comes_back_in_every_field(cut):
    leader = busy_leader()
    fields, body = keep(leader.machine, leader.app)
    assert facts(restore(fields, body, leader.machine, cut=cut)) == facts(leader.machine)


def test_the_members_come_back():
    leader = Leader()
    turn = leader.turn()
    turn.change_members(MEMBERS)
    machine = leader.log(turn)
    fields, body = keep(machine, leader.app)
    assert restore(fields, body, machine).membership == MEMBERS


def test_f2_a_repeat_gets_its_first_answer_from_a_restored_machine():
    leader = busy_leader()
    session = min(leader.machine.sessions)
    before = leader.perform(session, 4, ("explode",), unanswered=2)
    fields, body = keep(leader.machine, leader.app)
    leader.machine = restore(fields, body, leader.machine)
    assert leader.perform(session, 4, ("explode",), unanswered=2) == before


def test_what_is_folded_after_a_restore_is_what_would_have_been_folded_without():
    one, other = busy_leader(), busy_leader()
    fields, body = keep(other.machine, other.app)
    other.machine = restore(fields, body, other.machine)
    for leader in (one, other):
        session = leader.open_session()
        leader.perform(session, 0, *[("add", "z" * 10_000) for _ in range(20)])
        leader.noop()
    assert facts(one.machine) == facts(other.machine)


states = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4)
        | st.lists(inner, max_size=4).map(pvector)
        | st.dictionaries(st.text(max_size=3), inner, max_size=4).map(pmap)
    ),
    max_leaves=20,
)


@given(state=states, cut=st.integers(1, 50))
def test_any_state_comes_back_with_its_types(state, cut):
    app = App({"add": print}, lambda _state, _action: state, name="any")
    machine = Machine.initial(app)
    fields, body = keep(machine, app)
    restored = restore(fields, body, machine, cut=cut).state
    assert restored == state
    assert type(restored) is type(state)
    assert encode_state(restored) == encode_state(state)


def test_nodes_that_fold_the_same_write_the_same_bytes():
    leader = busy_leader()
    other = busy_leader()
    assert keep(leader.machine, leader.app) == keep(other.machine, other.app)


@pytest.mark.parametrize(
    "app", [App({"add": print}, print, name="other"), App({"add": print}, print, name="app", version=2)]
)
def test_a_snapshot_of_another_app_is_refused(app):
    leader = busy_leader()
    fields, _ = keep(leader.machine, leader.app)
    with pytest.raises(ConfluxError, match="the snapshot is of app"):
        image.check_app(fields, app)


def test_fields_of_another_format_are_refused():
    leader = busy_leader()
    packed = bytearray(image.encode_fields(leader.machine, leader.app))
    packed[1] = 2 if packed[0] & 0xF0 == 0x90 else packed[1]
    packed[3 if packed[0] == 0xDC else 1] = 2
    with pytest.raises(Damaged):
        image.decode_fields(bytes(packed))


@pytest.mark.parametrize("packed", [b"", b"\xc0", b"\x90", b"\xff" * 50])
def test_bytes_that_are_no_fields_are_refused(packed):
    with pytest.raises(Damaged):
        image.decode_fields(packed)


@given(data=st.data())
def test_a_body_that_was_cut_short_is_refused(data):
    leader = busy_leader()
    fields, body = keep(leader.machine, leader.app)
    end = data.draw(st.integers(0, len(body) - 1))
    with pytest.raises(Damaged):
        restore(fields, body[:end], leader.machine)


@given(data=st.data())
def test_a_body_with_a_wrong_byte_raises_nothing_but_damaged(data):
    leader = busy_leader()
    fields, body = keep(leader.machine, leader.app)
    place, value = data.draw(st.integers(0, len(body) - 1)), data.draw(st.integers(0, 255))
    wrong = body[:place] + bytes([value]) + body[place + 1 :]
    try:
        restore(fields, wrong, leader.machine)
    except Damaged:
        pass


def test_a_machine_of_many_sessions_comes_back_and_others_go_on_meanwhile():
    leader = Leader()
    turn = leader.turn()
    for _ in range(3 * image.SESSIONS_PER_STEP):
        turn.open_session()
    leader.log(turn)
    fields, body = keep(leader.machine, leader.app)
    steps = list(image.decode_slices(fields, [body], leader.app, index=1, term=1, bytes_total=len(body)))
    assert facts(steps[-1]) == facts(leader.machine)
    parts = 3 * image.SESSIONS_PER_STEP // image.PARTS_PER_STEP
    assert steps.count(None) >= parts + 3  # a pause for each few parts, and for each few sessions


def test_a_body_whose_answers_belong_to_no_session_is_refused():
    leader = Leader()
    leader.perform(leader.open_session(), 0, ("add", "x"))
    fields, body = keep(leader.machine, leader.app)
    head_bytes = 4 + int.from_bytes(body[:4])
    with pytest.raises(Damaged, match="stand before the session"):
        restore(fields, body[head_bytes:], leader.machine)


def test_a_body_without_some_of_its_sessions_is_refused():
    leader = busy_leader()
    fields, _ = keep(leader.machine, leader.app)
    empty = Machine.initial(make_app())
    _, body = keep(empty, leader.app)
    with pytest.raises(Damaged, match="hold"):
        restore(fields, body, leader.machine)
