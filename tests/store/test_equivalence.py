"""A random life of a leader: whatever its turns hold, a follower that folds their entries has the very same machine.

The same lives check exactly once: a call takes effect one time, and whoever asks again is told what was told before.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conflux import limits
from conflux.raft.entry import Entry
from conflux.store.machine import Machine, fold
from conflux.store.turn import Judged, Refusal, Turn
from conflux.wire.clients import Code, Outcome
from tests.store.harness import SECOND_US, Leader, facts, perform

SESSIONS = 4

kinds = st.sampled_from(["add", "add", "add", "add_once", "add_time", "fail", "give_error", "explode", "void"])
performs = st.tuples(
    st.just("perform"),
    st.integers(min_value=0, max_value=SESSIONS - 1),
    st.integers(min_value=-4, max_value=2),  # where it begins, from the next call that is expected: a repeat, or a gap
    st.integers(min_value=0, max_value=3),  # how many answers the client has not seen
    st.lists(kinds, min_size=1, max_size=6),
)
steps = st.one_of(
    performs,
    performs,
    performs,
    st.tuples(st.just("open"), st.integers(min_value=0, max_value=SESSIONS - 1)),
    st.tuples(st.just("close"), st.integers(min_value=0, max_value=SESSIONS - 1)),
    st.tuples(st.just("end")),
    st.tuples(st.just("noop")),
    st.tuples(st.just("wait"), st.sampled_from([1, 600, limits.SESSION_SECONDS - 1, limits.SESSION_SECONDS])),
    st.tuples(st.just("hash")),
)


class Life:
    """A leader that follows a list of steps, and what was told to its clients."""

    def __init__(self) -> None:
        self.leader = Leader()
        self.turn = self.leader.turn()
        self.sessions: dict[int, int] = {}  # slot → session
        self.told: dict[tuple[int, int], Outcome] = {}  # (session, sequence) → outcome
        self.calls: dict[tuple[int, int], tuple[Any, ...]] = {}  # a number stays with its call
        self.codes: set[Code] = set()
        self.made = 0

    def live(self, plan: list[tuple[Any, ...]]) -> None:
        for name, *rest in plan:
            getattr(self, f"do_{name}")(*rest)
        self.do_end()

    def do_open(self, slot: int) -> None:
        opened = self.turn.open_session()
        assert isinstance(opened, int)
        self.sessions[slot] = opened

    def do_close(self, slot: int) -> None:
        if slot in self.sessions:
            self.turn.close_session(self.sessions[slot])

    def do_perform(self, slot: int, offset: int, unseen: int, made: list[str]) -> None:
        session = self.sessions.get(slot, 7)
        held = self.turn._step.sessions.get(session)
        first = max(0, (held.next_sequence if held else 0) + offset)
        calls = [self._call(session, sequence, kind) for sequence, kind in enumerate(made, first)]
        judged = self.turn.perform(perform(session, first, *calls, unanswered=max(0, first - unseen)))
        if isinstance(judged, Refusal):
            self.codes.add(judged.code)
            for place in range(len(calls)):
                if (session, first + place) not in self.told:
                    del self.calls[session, first + place]  # it was refused: its number is free
        else:
            self._take(session, judged)

    def do_end(self) -> None:
        self.leader.log(self.turn)
        self.turn = self._new_turn()

    def do_noop(self) -> None:
        self.do_end()
        self.leader.noop()
        self.turn = self._new_turn()

    def do_wait(self, seconds: int) -> None:
        self.do_end()
        self.leader.time_us += seconds * SECOND_US
        self.turn = self._new_turn()

    def do_hash(self) -> None:
        """The hash point is worked out between turns, early or late."""
        self.leader.machine.hash_point.finish()

    def _new_turn(self) -> Turn:
        return self.leader.turn()

    def _call(self, session: int, sequence: int, kind: str) -> tuple[Any, ...]:
        if (session, sequence) not in self.calls:
            self.made += 1
            self.calls[session, sequence] = {"void": (), "add": ("add", self.made), "add_once": ("add_once", 1)}.get(
                kind, (kind,)
            )
        return self.calls[session, sequence]

    def _take(self, session: int, judged: Judged) -> None:
        for segment in judged.segments:
            for sequence, outcome in enumerate(segment.outcomes, segment.first_sequence):
                assert self.told.setdefault((session, sequence), outcome) == outcome
        if judged.rest is not None:
            for place in range(len(judged.rest.calls)):
                self.calls.pop((session, judged.rest.first_sequence + place), None)


def check_followers(leader: Leader) -> None:
    """At every entry: state, sessions, hashes, everything."""
    machine = Machine.initial(leader.app)
    for entry in leader.entries:
        machine = fold(machine, entry, leader.app)
    assert facts(machine) == facts(leader.machine)


def check_once(life: Life) -> None:
    """Things are numbered, so what was added twice or never shows."""
    added = [outcome for outcome in life.told.values() if type(outcome) is bytes]
    assert len(added) == life.leader.machine.revision == len(life.leader.machine.state)
    numbers = [thing for thing in life.leader.machine.state if type(thing) is int and thing != 1]
    assert len(numbers) == len(set(numbers))


@settings(max_examples=250, deadline=None)
@given(st.lists(steps, min_size=3, max_size=40))
def test_a_followers_machine_is_the_leaders_in_every_field(plan):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, "TURN_RECORDS_MAX", 7)
        patch.setattr(limits, "HASH_POINT_BYTES_MIN", 100)
        patch.setattr(limits, "UNANSWERED_MAX", 8)
        patch.setattr(limits, "SESSIONS_MAX", 100)
        life = Life()
        life.live(plan)
        check_followers(life.leader)
        check_once(life)


@settings(max_examples=60, deadline=None)
@given(st.lists(steps, max_size=20), st.data())
def test_a_machine_that_was_folded_half_way_goes_on_like_one_from_the_beginning(plan, data):
    life = Life()
    life.live(plan)
    entries: list[Entry] = life.leader.entries
    cut = data.draw(st.integers(min_value=0, max_value=len(entries)))
    follower = Leader()
    follower.entries = entries[:cut]
    for entry in entries[:cut]:
        follower.machine = fold(follower.machine, entry, follower.app)
    follower.time_us = follower.machine.log_time_us
    follower.noop()  # it leads now
    session = follower.open_session()
    follower.perform(session, 0, ("add", "mine"), ("fail",))
    check_followers(follower)


def test_the_random_lives_see_every_refusal():
    life = Life()
    life.live(
        [
            ("open", 0),
            ("perform", 0, 0, 0, ["add", "explode", "void"]),
            ("perform", 0, -2, 0, ["add", "add", "add"]),
            ("perform", 0, 2, 0, ["add"]),
            ("wait", limits.SESSION_SECONDS),
            ("perform", 0, 0, 0, ["add"]),
        ]
    )
    assert life.codes == {Code.RESEND, Code.SESSION_EXPIRED}
    check_followers(life.leader)
