"""Errors of sessions and of what a leader answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from conflux.client import requester
from conflux.node import desk, leadership, replica
from conflux.store import machine
from conflux.store.session import Session
from conflux.store.turn import Turn
from conflux.testing.disk import DiskKnobs
from conflux.testing.network import NetworkKnobs
from conflux.testing.weather import ClientKnobs, Weather
from conflux.wire.clients import Rejection
from tests.teeth.hunts import Nodes
from tests.teeth.mutant import changed, mutant


@mutant("sessions", codes="F2", hunt=Nodes(), quick=True)
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
            self._step.sessions = self._step.sessions.set(known)
        return perform(self, request)

    patch.setattr(leadership.Leadership, "turn", turn)
    patch.setattr(Turn, "perform", forgetful)


@mutant("sessions", codes="D3", hunt=Nodes())
def rejections_are_answered_before_they_commit(patch: pytest.MonkeyPatch) -> None:
    """A rejection is answered from provisional state, before its record is committed."""
    whole = leadership.Leadership._await

    def hasty(self, pending, origin, request, judged):
        for segment in judged.segments:
            if all(isinstance(outcome, Rejection) for outcome in segment.outcomes):
                self._answer(origin, request.session, segment)
        whole(self, pending, origin, request, judged)

    patch.setattr(leadership.Leadership, "_await", hasty)


@mutant("sessions", codes="D3 A10", hunt=Nodes(), quick=True)
def answers_leave_when_appended(patch: pytest.MonkeyPatch) -> None:
    """A caller is told that its call is committed once the leader has appended it."""
    whole = leadership.Leadership.turn

    def hasty(self):
        before = set(self._pending)
        whole(self)
        for index in set(self._pending) - before:
            pending = self._pending[index]
            for origin, session, segment in pending.waiters:
                self._answer(origin, session, segment)
            pending.waiters = []

    patch.setattr(leadership.Leadership, "turn", hasty)


def short_turns(weather: Weather) -> Weather:
    """A slow disk ends leaders whose entries live on, and turns have no room for all that came."""
    clients = replace(weather.clients, burst_max=20, unfinished_max=40, deadline=1.0, deadline_s_max=0.2, reads=0.0)
    bounds = {("conflux.limits", "TURN_RECORDS_MAX"): 2, ("conflux.limits", "UNCOMMITTED_ENTRIES_MAX"): 1}
    disk = DiskKnobs(slow=0.05, slow_s_max=weather.election_timeout_ms[1] / 1000 * 3)
    return replace(weather, clients=clients, bounds=bounds, disk=disk, faults={}, network=NetworkKnobs())


@mutant("sessions", codes="F12", hunt=Nodes(short_turns, label="short turns and slow disks"))
def a_refused_rest_stands_for_the_whole(patch: pytest.MonkeyPatch) -> None:
    """A request that was half done and half refused is refused as a whole."""
    whole = Turn.perform

    def careless(self, request):
        judged = whole(self, request)
        rest = getattr(judged, "rest", None)
        if rest is not None:
            judged = changed(judged, rest=changed(rest, request=request.request))
        return judged

    patch.setattr(Turn, "perform", careless)


@mutant("sessions", codes="F8", hunt=Nodes())
def a_gap_in_the_sequence_is_accepted(patch: pytest.MonkeyPatch) -> None:
    """A call is taken though the one before it is missing."""
    _judge_from(patch, lambda request, session: max(request.first_sequence, session.next_sequence))


@mutant("sessions", codes="F2", hunt=Nodes(), quick=True)
def repeats_run_again(patch: pytest.MonkeyPatch) -> None:
    """A call that was judged before is judged again."""
    _judge_from(patch, lambda request, session: min(request.first_sequence, session.next_sequence))


def _judge_from(patch: pytest.MonkeyPatch, first: Callable[[Any, Session], int]) -> None:
    whole = Turn.perform

    def careless(self, request):
        session = self._step.sessions.find(request.session)
        if session is not None:
            session = changed(session, next_sequence=first(request, session))
            self._step.sessions = self._step.sessions.set(session)
        return whole(self, request)

    patch.setattr(Turn, "perform", careless)


@mutant("sessions", codes="F2", hunt=Nodes())
def answers_are_forgotten_too_early(patch: pytest.MonkeyPatch) -> None:
    """The table drops outcomes that their client has not been told."""
    whole = Session.with_outcomes

    def forgetful(self, segment, *, first_unanswered, log_time_us):
        return whole(self, segment, first_unanswered=segment.first_sequence, log_time_us=log_time_us)

    patch.setattr(Session, "with_outcomes", forgetful)


@mutant("sessions", codes="F3", hunt=Nodes(), quick=True)
def a_node_drops_sessions_for_itself(patch: pytest.MonkeyPatch) -> None:
    """A session expires on one node when that sees fit, not by the log on all."""
    whole = machine.fold
    lots = Random(1)

    def fold(before, entry, app):
        after = whole(before, entry, app)
        if after.sessions and lots.random() < 0.01:
            after = changed(after, sessions=after.sessions.discard(min(after.sessions)))
        return after

    patch.setattr(replica, "fold", fold)


@mutant("sessions", codes="F12", hunt=Nodes())
def requests_are_dropped_when_leadership_ends(patch: pytest.MonkeyPatch) -> None:
    """Nobody is told that a leader left with their requests, and nobody asks again."""
    patch.setattr(requester, "RESEND_SECONDS", 1e9)
    patch.setattr(leadership.Leadership, "end", lambda self: [])
    patch.setattr(desk.Desk, "role_changed", lambda self, change: setattr(self, "leadership", None))


@mutant("sessions", codes="A15", hunt=Nodes(), quick=True)
def the_provisional_state_is_not_rebuilt_after_an_election(patch: pytest.MonkeyPatch) -> None:
    """A new leader begins with what it had folded before its no-op, without the entries of others behind it."""
    whole = leadership.Leadership.__init__
    kept: dict[int, tuple[Any, Any]] = {}  # with the machine itself, or its identity would be another's one day
    fold = machine.fold

    def remembering(before, entry, app):
        after = fold(before, entry, app)
        kept[id(after)] = after, before
        return after

    def stale(self, *given):
        whole(self, *given)
        _, before = kept.get(id(self.provisional), (None, None))
        _, earlier = kept.get(id(before), (None, before))
        if earlier is not None:
            self.provisional = changed(self.provisional, state=earlier.state, sessions=earlier.sessions)

    patch.setattr(replica, "fold", remembering)
    patch.setattr(leadership.Leadership, "__init__", stale)


@mutant("sessions", codes="", hunt=Nodes(), quick=True)
def a_rejection_takes_a_revision(patch: pytest.MonkeyPatch) -> None:
    """A leader counts rejections among the actions."""
    whole = Turn._rejected

    def counted(self, error, *, by_reducer=False):
        self._step.revision += 1
        return whole(self, error, by_reducer=by_reducer)

    patch.setattr(Turn, "_rejected", counted)


def short_sessions(weather: Weather) -> Weather:
    """Sessions that expire while their clients or their leaders are cut off."""
    clients = ClientKnobs(clients=4, pause_s=0.01, reads=0.0, watchers=0.0, deadline=0.0, renewals=0.0)
    faults = {"client cut off": 3.0, "isolate the leader": 1.0, "one-way partition": 1.0, "pause the leader": 1.0}
    bounds = {("conflux.limits", "SESSION_SECONDS"): 1}
    network = replace(weather.network, loss=0.02)
    weather = replace(weather, clients=clients, faults=faults, bounds=bounds, network=network, disk=DiskKnobs())
    return replace(weather, fault_pause_s=0.3, fault_s_max=2.0)


@mutant("sessions", codes="F3", hunt=Nodes(short_sessions, label="short sessions"))
def sessions_are_called_expired_at_once(patch: pytest.MonkeyPatch) -> None:
    """What ended them may be lost with the leader, or another leader has opened them since."""
    whole = leadership.Leadership._judge

    def hasty(self, turn, pending, origin, request):
        whole(self, turn, pending, origin, request)
        while pending.expired:
            self._refuse(*pending.expired.pop())

    patch.setattr(leadership.Leadership, "_judge", hasty)
