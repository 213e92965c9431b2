"""States that bring their own `dump` and `load`: what stands for them everywhere, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from conflux.app import App
from conflux.errors import ConfluxError, MalformedValue
from conflux.store import development, image
from conflux.store.dumps import copied, dumped, encoder_of, proven, state_of
from conflux.store.hash_points import HashPoint
from conflux.store.machine import Machine
from conflux.store.replaying import replay
from conflux.usercode import inside_user_code
from conflux.wire.clients import Rejection
from conflux.wire.state_decoder import WINDOW_BYTES
from conflux.wire.states import digest, encode_slices, encode_state
from tests.store.harness import Leader


class Bag:
    """Compares with nothing but itself, as an object does that says nothing else."""

    def __init__(self, things: tuple[Any, ...] = ()) -> None:
        self.things = things


def add(state: Bag, thing: Any) -> Any:
    return {"type": "add", "thing": thing}


def reduce(state: Bag | None, action: Any) -> Bag:
    return Bag() if state is None else Bag((*state.things, action["thing"]))


def dump(state: Bag) -> Any:
    return list(state.things)


def load(value: Any) -> Bag:
    return Bag(tuple(value))


def app_of(
    dump: Callable[[Any], Any] = dump, load: Callable[[Any], Any] = load, reduce: Callable[[Any, Any], Any] = reduce
) -> App[Any, Any]:
    return App({"add": add}, reduce, name="bag", dump=dump, load=load)


def raising(value: Any) -> Any:
    raise KeyError("shelf")


def leaving(value: Any) -> Any:
    raise SystemExit(3)


def a_bag(app: App[Any, Any], *things: Any) -> Machine:
    leader = Leader(app)
    leader.perform(leader.open_session(), 0, *(("add", thing) for thing in things))
    return leader.machine


def kept(machine: Machine, app: App[Any, Any]) -> tuple[image.Fields, bytes]:
    machine.hash_point.finish()
    return image.decode_fields(image.encode_fields(machine, app)), b"".join(image.encode_body(machine, app))


def restored(machine: Machine, app: App[Any, Any], by: App[Any, Any]) -> Machine:
    fields, body = kept(machine, app)
    steps = image.decode_slices(fields, [body], by, index=machine.index, term=machine.term, bytes_total=len(body))
    return next(step for step in steps if step is not None)


def test_an_app_without_them_has_the_codecs_own_encoder_and_its_state_as_it_is():
    app: App[Any, Any] = App({"add": add}, reduce)
    state = ["x"]
    assert encoder_of(app) is encode_slices
    assert dumped(app, state) is state and state_of(app, state) is state
    assert list(proven(app, state)) == list(encode_slices(state))


def test_the_encoding_of_a_state_is_that_of_its_dump():
    app, state = app_of(), Bag(("x", 1))
    assert b"".join(encoder_of(app)(state)) == encode_state(["x", 1])
    assert HashPoint(1, state, encoder_of(app)).finish().digest == digest(encode_slices(["x", 1]))
    assert copied(app, state).things == ("x", 1)


def test_bytes_may_stand_for_a_state():
    app = app_of(lambda state: bytes(state.things), lambda value: Bag(tuple(value)))
    assert copied(app, Bag((1, 2))).things == (1, 2)
    assert b"".join(proven(app, Bag((1, 2)))) == encode_state(b"\x01\x02")


def test_a_large_piece_of_a_dump_is_loaded_in_steps_before_the_next_one_is_made():
    app, state = app_of(), Bag((2.5,) * 5000)
    encoded = list(encoder_of(app)(state))
    pieces = proven(app, state)
    for piece in encoded:
        assert len(piece) > WINDOW_BYTES
        assert next(pieces) == piece
        for _ in range(len(piece) // WINDOW_BYTES):
            assert next(pieces) == b""  # others go on meanwhile
    assert not any(pieces)


def test_a_machine_comes_back_from_its_snapshot_with_the_apps_own_state():
    app = app_of()
    machine = a_bag(app, "x", ["y"])
    back = restored(machine, app, app)
    assert type(back.state) is Bag and back.state.things == ("x", ["y"])
    assert back.hash_point.digest == machine.hash_point.digest and back.revision == 2


def test_hash_points_hash_what_stands_for_the_state(monkeypatch):
    monkeypatch.setattr("conflux.limits.HASH_POINT_BYTES_MIN", 100)
    machine = a_bag(app_of(), *["x" * 50] * 5)
    point = machine.hash_point.finish()
    assert point.revision and point.digest == digest(encode_slices(["x" * 50] * point.revision))


def test_a_log_is_replayed_to_the_hash_of_the_dump():
    leader = Leader(app_of())
    leader.perform(leader.open_session(), 0, ("add", "x"))
    found = replay(Machine.initial(leader.app), leader.entries, leader.app)
    assert found.state_hash == digest(encode_slices(["x"]))


def test_they_run_as_user_code():
    seen = []

    def looking(value: Any) -> Any:
        seen.append(inside_user_code())
        return value

    app = app_of(looking, looking, lambda state, action: 0)
    copied(app, 1)
    assert seen == [True, True, True] and not inside_user_code()


# ---- what is refused ----


@pytest.mark.parametrize(
    ("dump", "load", "text"),
    [
        (raising, load, "the app's dump raises KeyError: 'shelf'"),
        (leaving, load, "the app's dump raises SystemExit: 3"),
        (lambda state: state.things, load, "what the app's dump gives is no state: a state can't hold a tuple"),
        (dump, raising, "the app's load fails on what its dump gave: KeyError: 'shelf'"),
        (dump, leaving, "the app's load fails on what its dump gave: SystemExit: 3"),
        (dump, lambda value: Bag((*value, 1)), "the app's load does not bring back what its dump gave"),
        (dump, lambda value: Bag((("a", "tuple"),)), "what the app's load gives can't be dumped again"),
    ],
)
def test_an_initial_state_that_does_not_come_back_is_refused_before_anything_begins(dump, load, text):
    with pytest.raises(ConfluxError, match="the reducer's initial state can't be kept: ") as raised:
        Machine.initial(app_of(dump, load))
    assert text in str(raised.value)


def forgetful(value: Any) -> Bag:
    """Right for small states only: what the check of the initial state can't see."""
    return Bag(tuple(value)[:2])


def test_a_state_that_would_not_come_back_is_not_kept():
    app = app_of(load=forgetful)
    machine = a_bag(app, 1, 2, 3)
    with pytest.raises(MalformedValue, match="does not bring back"):
        kept(machine, app)
    assert kept(a_bag(app, 1, 2), app)


@pytest.mark.parametrize(
    ("load", "text"), [(forgetful, "does not bring back what its dump gave"), (raising, "fails on what its dump gave")]
)
def test_a_load_that_was_edited_since_is_named_when_the_snapshot_is_read(load, text):
    machine = a_bag(app_of(), 1, 2, 3)
    with pytest.raises(ConfluxError, match=text) as raised:
        restored(machine, app_of(), app_of(load=load))
    assert type(raised.value) is ConfluxError and raised.value.hint  # the snapshot itself is not damaged


def test_a_dump_that_raises_at_a_hash_point_is_a_problem_and_no_error(monkeypatch):
    monkeypatch.setattr("conflux.limits.HASH_POINT_BYTES_MIN", 100)

    def picky(state: Bag) -> Any:
        return raising(state) if len(state.things) > 1 else dump(state)

    machine = a_bag(app_of(picky), *["x" * 50] * 5)
    assert "the app's dump raises KeyError" in str(machine.hash_point.finish().problem)
    assert machine.revision == 5  # committed actions stay


# ---- development mode ----


@pytest.fixture
def development_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(development, "is_on", lambda: True)


def sharing(state: Bag | None, action: Any) -> Bag:
    """Changes what it is given, deep inside."""
    if state is None:
        return Bag(([],))
    state.things[0].append(action["thing"])
    return Bag(state.things)


@pytest.mark.usefixtures("development_mode")
@pytest.mark.parametrize(
    ("app", "text"),
    [
        (app_of(load=forgetful), "does not bring back"),
        (app_of(reduce=sharing), "changes the state that it is given"),
        (app_of(dump=lambda state: dump(state) if len(state.things) < 3 else raising(state)), "dump raises KeyError"),
    ],
)
def test_what_would_be_found_at_a_snapshot_is_found_at_the_very_action(app, text):
    leader = Leader(app)
    session = leader.open_session()
    outcomes = [outcome for number in range(3) for outcome in leader.perform(session, number, ("add", number))]
    refused = [outcome for outcome in outcomes if isinstance(outcome, Rejection)]
    assert refused and text in refused[0].message


@pytest.mark.usefixtures("development_mode")
def test_what_is_right_passes_in_development_mode():
    assert a_bag(app_of(), 1, 2, 3).state.things == (1, 2, 3)
