"""A log folded anew."""

from __future__ import annotations

from typing import Any

import pytest
from pyrsistent import pvector

from conflux.errors import ConfluxError, Diverged
from conflux.raft.entry import Entry, Kind
from conflux.store.machine import Machine, fold
from conflux.store.past import PastState, fold_some
from conflux.store.records import Calls, Header, Record, SessionOpened, StateHash, encode_payload
from conflux.store.replaying import replay
from conflux.wire import values
from conflux.wire.states import digest, encode_slices
from tests.store.harness import make_app

SESSION = 1024


def entry(index: int, *records: Record, first: int, actions: int = 0, app_version: int = 1) -> Entry:
    header = Header(app_version=app_version, actions=actions, first_revision=first, log_time_us=0, wall_time_us=0)
    return Entry(index, 1, Kind.RECORDS, encode_payload(header, [*records]))


def add(index: int, *things: Any, first: int) -> Entry:
    outcomes: list[Any] = [values.encode({"type": "add", "thing": thing}) for thing in things]
    return entry(index, Calls(SESSION, first, first, ["add"], outcomes), first=first, actions=len(things))


def a_log() -> list[Entry]:
    return [entry(1, SessionOpened(60), first=1), add(2, "a", "b", first=1), add(3, "c", first=3)]


def test_a_log_comes_to_a_state_and_its_hash():
    app = make_app()
    found = replay(Machine.initial(app), a_log(), app)
    assert (found.revision, [*found.state], found.agreed_revision) == (3, ["a", "b", "c"], None)
    assert found.state_hash == digest(encode_slices(found.state))


def test_a_hash_in_the_log_that_is_not_ours_is_named():
    app = make_app()
    wrong = entry(4, StateHash(0, b"x" * 16), first=4)
    with pytest.raises(Diverged, match="revision 0"):
        replay(Machine.initial(app), [*a_log(), wrong], app)


def test_a_hash_in_the_log_that_is_ours_vouches_for_the_state():
    app = make_app()
    machine = Machine.initial(app)
    right = entry(4, StateHash(0, machine.hash_point.finish().digest or b""), first=4)
    assert replay(machine, [*a_log(), right], app).agreed_revision == 0


def with_hashes(app: Any, entries: int) -> tuple[list[Entry], list[int]]:
    """A log of two actions an entry, and of the hash of each hash point; and the revisions of those."""
    log, logged = [entry(1, SessionOpened(60), first=1)], [0]
    machine = fold(Machine.initial(app), log[0], app)
    for index in range(2, entries):
        point = machine.hash_point.finish()
        if point.revision == logged[-1]:
            log.append(add(index, "x" * 50_000, machine.revision, first=machine.revision + 1))
        else:
            logged.append(point.revision)
            log.append(entry(index, StateHash(point.revision, point.digest or b""), first=machine.revision + 1))
        machine = fold(machine, log[-1], app)
    return log, logged


def test_a_state_that_became_another_is_found_between_two_hashes_in_the_log():
    app, other = make_app(), make_app()
    right = app.reduce
    assert right is not None

    def wrong(state: Any, action: Any) -> Any:
        return right(state, {**action, "thing": "!"} if action and action["thing"] == 8 else action)

    other.reduce = wrong
    log, logged = with_hashes(app, 40)
    assert replay(Machine.initial(app), log, app).agreed_revision == logged[-1]
    with pytest.raises(Diverged, match="is not the one that the cluster agreed on; up to revision") as caught:
        replay(Machine.initial(other), log, other)
    assert caught.value.since_revision < 10 <= caught.value.revision  # the eighth is revision 10
    assert {caught.value.since_revision, caught.value.revision} <= {*logged}


def test_another_version_of_the_app_is_refused():
    app = make_app()
    newer = entry(4, first=4, app_version=2)
    with pytest.raises(ConfluxError, match="behind revision 3 was made by version 2 of the app"):
        replay(Machine.initial(app), [*a_log(), newer], app)


def test_each_revision_within_an_entry_is_a_state_of_its_own():
    app = make_app()
    beginning = PastState(0, 1, Machine.initial(app).state)
    found = [[*each.state] for each in fold_some(beginning, a_log()[1], app, 9)]
    assert found == [["a"], ["a", "b"], ["a", "b"]]


def test_a_fold_ends_with_the_revision_that_is_wanted():
    app = make_app()
    beginning = PastState(0, 1, Machine.initial(app).state)
    found = [each.revision for each in fold_some(beginning, a_log()[1], app, 1)]
    assert found == [1, 1]


@pytest.mark.parametrize("raised", [OSError("not here"), SystemExit(3)])
def test_a_state_of_the_past_that_the_reducer_no_longer_folds_is_named_by_its_revision(raised: BaseException):
    app = make_app()
    right = app.reduce
    assert right is not None

    def picky(state: Any, action: Any) -> Any:
        if action["thing"] == "b":
            raise raised
        return right(state, action)

    app.reduce = picky
    found = fold_some(PastState(0, 1, pvector()), a_log()[1], app, 9)
    assert next(found).revision == 1
    with pytest.raises(Diverged, match=f"the reducer raises at revision 2: {type(raised).__name__}: {raised}"):
        next(found)


def test_a_state_of_the_past_is_not_folded_by_another_version():
    app = make_app()
    beginning = PastState(3, 3, [])
    with pytest.raises(ConfluxError, match="version 2 of the app, and this is version 1"):
        list(fold_some(beginning, entry(4, first=4, app_version=2), app, 9))
