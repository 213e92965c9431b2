"""Errors of reads and of watches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conflux.node import leadership, readers, watchers
from conflux.raft import reads
from conflux.raft.core import Raft
from conflux.raft.roles import Leader
from conflux.testing.network import NetworkKnobs
from conflux.testing.weather import Weather
from conflux.wire.clients import Consistency, Read
from tests.teeth.hunts import Cores, Nodes
from tests.teeth.mutant import mutant


@mutant("reads", codes="F5 F6 B10", hunt=Cores("readers"))
def reads_without_confirmation(patch: pytest.MonkeyPatch) -> None:
    """A leader answers reads without asking whether it still leads."""
    confirm = reads.confirm

    def sure(raft, role):
        for progress in role.progress.values():
            progress.acked_round = role.round
        confirm(raft, role)

    patch.setattr(reads, "confirm", sure)


@mutant("reads", codes="F5", hunt=Cores("readers"))
def reads_confirmed_by_an_older_round(patch: pytest.MonkeyPatch) -> None:
    """A read is confirmed by answers to a question that was asked before it came."""
    whole = reads.begin_round

    def frugal(raft, role):
        whole(raft, role)
        for read in role.reads:
            read.round = min(read.round, role.round - 1)

    patch.setattr(reads, "begin_round", frugal)


@mutant("reads", codes="F4", hunt=Cores("readers"), quick=True)
def no_noop_wait_for_reads(patch: pytest.MonkeyPatch) -> None:
    """A new leader answers reads before it has committed anything in its term."""
    patch.setattr(Raft, "serves", property(lambda raft: isinstance(raft.role, Leader)))


@mutant("reads", codes="D4", hunt=Nodes(), quick=True)
def reads_are_answered_without_asking(patch: pytest.MonkeyPatch) -> None:
    """Any node answers a linearizable read with what it has."""
    whole = readers.Readers.read
    patch.setattr(readers.Readers, "read", lambda self, o, r: whole(self, o, Read(r.request, Consistency.LOCAL)))


def slow_folding(weather: Weather) -> Weather:
    bounds = {("conflux.limits", "APPLY_SLICE_SECONDS"): 0.0}
    clients = replace(weather.clients, reads=0.5)
    return replace(weather, clients=clients, bounds=bounds, faults={}, network=NetworkKnobs(loss=0.05))


@mutant("reads", codes="F4", hunt=Nodes(slow_folding, label="slow folding"))
def reads_do_not_wait_to_be_folded(patch: pytest.MonkeyPatch) -> None:
    """A follower answers a confirmed read before it has folded that far."""
    whole = readers.Readers.peer_answered

    def hasty(self, message):
        index = None if message.index is None else min(message.index, self._replica.machine.index)
        whole(self, type(message)(message.context, index))

    patch.setattr(readers.Readers, "peer_answered", hasty)


@mutant("reads", codes="F4", hunt=Nodes())
def reads_show_the_provisional_state(patch: pytest.MonkeyPatch) -> None:
    """A leader answers reads from entries that are not committed."""
    answer, begin = readers.Readers._answer, leadership.Leadership.__init__

    def remember(self, replica, *rest):
        begin(self, replica, *rest)
        replica.leadership = self

    def early(self, origin, request):
        replica = self._replica
        leader, machine = getattr(replica, "leadership", None), replica.machine
        if leader is not None and leader.term == replica.raft.term and isinstance(replica.raft.role, Leader):
            replica.machine = leader.provisional
        answer(self, origin, request)
        replica.machine = machine

    patch.setattr(leadership.Leadership, "__init__", remember)
    patch.setattr(readers.Readers, "_answer", early)


@mutant("watches", codes="F9", hunt=Nodes(), quick=True)
def a_watch_skips_an_event(patch: pytest.MonkeyPatch) -> None:
    """Of several events that wait, a watch is told the last one."""
    whole = watchers.Watchers._events_from
    patch.setattr(watchers.Watchers, "_events_from", lambda self, revision: whole(self, revision)[-1:])
