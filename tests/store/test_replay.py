"""The log folded anew: hashes at revisions in whatever order a bisection asks for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from conflux.app import App
from conflux.raft.entry import Entry
from conflux.store.replay import RAISED, Known, Replay
from conflux.wire.states import digest, encode_slices
from tests.store.harness import Leader, make_app


class Script:
    """A log of thirty actions in ten entries, and the state at each revision."""

    def __init__(self) -> None:
        leader = Leader()
        session = leader.open_session()
        self.states: list[Any] = [leader.machine.state]
        for number in range(0, 30, 3):
            leader.perform(session, number, *(("add", number + place) for place in range(3)), unanswered=number)
            leader.noop()
        for number in range(30):
            self.states.append(self.states[-1].append(number))
        self.entries = leader.entries
        self.folded = 0

    def read(self, first: int, last: int, bytes_max: int) -> Sequence[Entry]:
        return self.entries[first - 1 : last][:2]

    def reduce(self, state: Any, action: Any) -> Any:
        self.folded += 1
        return make_app().reduce(state, action)

    def replay(self, base: int = 0) -> Replay:
        known = Known(base, self.states[base])
        return Replay(App(reduce=self.reduce), self.read, first=1, last=len(self.entries), base=known)

    def hash_at(self, revision: int) -> bytes:
        return digest(encode_slices(self.states[revision]))


def hash_from(replay: Replay, revision: int) -> bytes | None:
    replay.seek(revision)
    while replay.work():
        assert replay.state_hash is None
    return replay.state_hash


@pytest.mark.parametrize("base", [0, 3, 4])
@pytest.mark.parametrize("revision", [4, 5, 17, 30])
def test_the_state_at_a_revision_is_what_it_was(base, revision):
    script = Script()
    assert hash_from(script.replay(base), revision) == script.hash_at(revision)


def test_a_bisection_folds_each_action_twice_at_most():
    script = Script()
    replay = script.replay()
    for revision in (30, 15, 22, 18, 20, 19):
        assert hash_from(replay, revision) == script.hash_at(revision)
    assert script.folded <= 2 * 30


def test_a_question_may_be_given_up_for_another():
    script = Script()
    replay = script.replay()
    replay.seek(30)
    replay.work()
    assert hash_from(replay, 7) == script.hash_at(7)


def test_the_action_of_a_revision_is_found():
    event = Script().replay().event_at(17)
    assert event is not None and (event.revision, event.method) == (17, "add")
    assert Script().replay().event_at(31) is None


def test_a_reducer_that_raises_on_the_way_is_an_answer_too():
    script = Script()

    def broken(state: Any, action: Any) -> Any:
        raise SystemExit(1)

    replay = Replay(App(reduce=broken), script.read, first=1, last=len(script.entries), base=Known(0, script.states[0]))
    assert hash_from(replay, 5) == RAISED
