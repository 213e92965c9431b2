"""Nodes, stores and clients with one error each, for the simulation to find. Applied by monkeypatching."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from conflux.client.requester import Requester
from conflux.node import desk, leadership, readers, replica, watchers
from conflux.node.formation import Accept, Formation
from conflux.raft.core import Raft
from conflux.raft.effects import Persist
from conflux.store import machine
from conflux.store.session import Session
from conflux.store.turn import Turn
from conflux.testing.disk import SimulatedDisk
from conflux.wire.clients import Consistency, Read, Rejection

Mutant = Callable[[pytest.MonkeyPatch], None]


def sessions_are_checked_on_committed_state(patch: pytest.MonkeyPatch) -> None:
    """A repeat of a call whose entry is not committed yet runs again."""
    whole = leadership.Leadership.turn
    committed: dict[str, Any] = {}

    def turn(self):
        committed["sessions"] = self._replica.machine.sessions
        whole(self)

    perform = Turn.perform

    def forgetful(self, request):
        known = committed["sessions"].get(request.session)
        if known is not None:
            self._step.sessions = self._step.sessions.set(request.session, known)
        return perform(self, request)

    patch.setattr(leadership.Leadership, "turn", turn)
    patch.setattr(Turn, "perform", forgetful)


def rejections_are_answered_before_they_commit(patch: pytest.MonkeyPatch) -> None:
    whole = leadership.Leadership._await

    def hasty(self, pending, origin, request, judged):
        for segment in judged.segments:
            if all(isinstance(outcome, Rejection) for outcome in segment.outcomes):
                self._answer(origin, request.session, segment, self.term, pending.wall_time_us)
        whole(self, pending, origin, request, judged)

    patch.setattr(leadership.Leadership, "_await", hasty)


def sessions_are_called_expired_at_once(patch: pytest.MonkeyPatch) -> None:
    """What ended them may be lost with the leader, or another leader has opened them since."""
    whole = leadership.Leadership._judge

    def hasty(self, turn, pending, origin, request):
        whole(self, turn, pending, origin, request)
        while pending.expired:
            self._refuse(*pending.expired.pop())

    patch.setattr(leadership.Leadership, "_judge", hasty)


def answers_leave_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    whole = leadership.Leadership.turn

    def hasty(self):
        before = set(self._pending)
        whole(self)
        for index in set(self._pending) - before:
            pending = self._pending[index]
            for origin, session, segment in pending.waiters:
                self._answer(origin, session, segment, pending.term, pending.wall_time_us)
            pending.waiters = []

    patch.setattr(leadership.Leadership, "turn", hasty)


def effects_are_carried_out_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    whole = Raft.take_effects
    patch.setattr(Raft, "take_effects", lambda raft: sorted(whole(raft), key=lambda e: isinstance(e, Persist)))


def what_was_sent_counts_as_not_applied(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Requester, "_may_be_applied", lambda self, sequence: False)


def a_refused_rest_stands_for_the_whole(patch: pytest.MonkeyPatch) -> None:
    whole = Turn.perform

    def careless(self, request):
        judged = whole(self, request)
        rest = getattr(judged, "rest", None)
        if rest is not None:
            changed = type(rest)(request.request, *[getattr(rest, name) for name in rest.__struct_fields__[1:]])
            judged = replace(judged, rest=changed)
        return judged

    patch.setattr(Turn, "perform", careless)


def a_gap_in_the_sequence_is_accepted(patch: pytest.MonkeyPatch) -> None:
    _judge_from(patch, lambda request, session: max(request.first_sequence, session.next_sequence))


def repeats_run_again(patch: pytest.MonkeyPatch) -> None:
    _judge_from(patch, lambda request, session: min(request.first_sequence, session.next_sequence))


def _judge_from(patch: pytest.MonkeyPatch, first: Callable[[Any, Session], int]) -> None:
    whole = Turn.perform

    def careless(self, request):
        session = self._step.sessions.get(request.session)
        if session is not None:
            session = replace(session, next_sequence=first(request, session))
            self._step.sessions = self._step.sessions.set(session.id, session)
        return whole(self, request)

    patch.setattr(Turn, "perform", careless)


def answers_are_forgotten_too_early(patch: pytest.MonkeyPatch) -> None:
    whole = Session.with_outcomes

    def forgetful(self, segment, *, first_unanswered, log_time_us):
        return whole(self, segment, first_unanswered=segment.first_sequence, log_time_us=log_time_us)

    patch.setattr(Session, "with_outcomes", forgetful)


def the_provisional_state_is_not_rebuilt_after_an_election(patch: pytest.MonkeyPatch) -> None:
    """A new leader begins with what it had folded before its no-op, without the entries of others behind it."""
    whole = leadership.Leadership.__init__
    kept: dict[int, Any] = {}
    fold = machine.fold

    def remembering(before, entry, app):
        after = fold(before, entry, app)
        kept[id(after)] = before
        return after

    def stale(self, replica_, app, clock, reply):
        whole(self, replica_, app, clock, reply)
        before = kept.get(id(self.provisional))
        earlier = kept.get(id(before), before)
        if earlier is not None:
            self.provisional = replace(self.provisional, state=earlier.state, sessions=earlier.sessions)

    patch.setattr(replica, "fold", remembering)
    patch.setattr(leadership.Leadership, "__init__", stale)


def formation_accepts_a_second_proposal(patch: pytest.MonkeyPatch) -> None:
    whole = Formation.decide

    def fickle(self, now_s):
        for proposal in self._stands_by.values():
            if self._own in proposal.founders and proposal != self.accepted:
                return Accept(proposal)
        return whole(self, now_s)

    patch.setattr(Formation, "decide", fickle)


def the_disk_forgets_votes(patch: pytest.MonkeyPatch) -> None:
    whole = SimulatedDisk.restored
    patch.setattr(SimulatedDisk, "restored", lambda self: replace(whole(self), vote=None))


def the_commit_hint_is_too_high(patch: pytest.MonkeyPatch) -> None:
    whole = Raft._persist

    def generous(raft):
        persist = whole(raft)
        return replace(persist, commit_index=persist.last_index)

    patch.setattr(Raft, "_persist", generous)


def reads_are_answered_without_asking(patch: pytest.MonkeyPatch) -> None:
    whole = readers.Readers.read
    patch.setattr(readers.Readers, "read", lambda self, o, r: whole(self, o, Read(r.request, Consistency.LOCAL)))


def reads_do_not_wait_to_be_folded(patch: pytest.MonkeyPatch) -> None:
    whole = readers.Readers.peer_answered

    def hasty(self, message):
        index = None if message.index is None else min(message.index, self._replica.machine.index)
        whole(self, replace_index(message, index))

    def replace_index(message, index):
        return type(message)(message.context, index)

    patch.setattr(readers.Readers, "peer_answered", hasty)


def a_watch_skips_an_event(patch: pytest.MonkeyPatch) -> None:
    whole = watchers.Watchers._events_from
    patch.setattr(watchers.Watchers, "_events_from", lambda self, revision: whole(self, revision)[-1:])


def the_reducer_draws_lots(patch: pytest.MonkeyPatch) -> None:
    lots = Random(1)
    whole = machine.Step.reduce

    def reduce(self, action):
        whole(self, action)
        if lots.random() < 0.05:
            self.state = self.state[:-1]

    patch.setattr(machine.Step, "reduce", reduce)


def requests_are_dropped_when_leadership_ends(patch: pytest.MonkeyPatch) -> None:
    """Nobody is told that a leader left with their requests, and nobody asks again."""
    from conflux.client import requester

    patch.setattr(requester, "RESEND_SECONDS", 1e9)
    patch.setattr(leadership.Leadership, "end", lambda self: [])
    patch.setattr(desk.Desk, "role_changed", lambda self, change: setattr(self, "leadership", None))


MUTANTS: tuple[Mutant, ...] = (
    sessions_are_checked_on_committed_state,
    rejections_are_answered_before_they_commit,
    sessions_are_called_expired_at_once,
    answers_leave_before_the_sync,
    effects_are_carried_out_before_the_sync,
    what_was_sent_counts_as_not_applied,
    a_refused_rest_stands_for_the_whole,
    a_gap_in_the_sequence_is_accepted,
    repeats_run_again,
    answers_are_forgotten_too_early,
    the_provisional_state_is_not_rebuilt_after_an_election,
    formation_accepts_a_second_proposal,
    the_disk_forgets_votes,
    the_commit_hint_is_too_high,
    reads_are_answered_without_asking,
    reads_do_not_wait_to_be_folded,
    a_watch_skips_an_event,
    the_reducer_draws_lots,
    requests_are_dropped_when_leadership_ends,
)
