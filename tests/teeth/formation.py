"""Errors of how a cluster begins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conflux.node import directory as directories
from conflux.node.formation import Accept, Formation
from conflux.node.links import Links
from conflux.testing.weather import Weather
from tests.node import test_directory, test_several_nodes
from tests.node.harness import World
from tests.teeth.hunts import Case, Nodes
from tests.teeth.mutant import mutant


def that_has_formed() -> World:
    """Three nodes with a leader."""
    world = World(3)
    world.leader()
    return world


def too_many(weather: Weather) -> Weather:
    """Three nodes want to be a cluster of two."""
    return replace(weather, nodes=2, extra_candidates=1, start_spread_s=0.0, settle_s=0.0)


def crowded(weather: Weather) -> Weather:
    """Five nodes want to be a cluster of three."""
    return replace(weather, nodes=3, extra_candidates=2, start_spread_s=0.0, settle_s=0.0)


@mutant("formation", codes="E11", hunt=Nodes(too_many, label="too many founders"))
def formation_accepts_a_second_proposal(patch: pytest.MonkeyPatch) -> None:
    """A node that accepted one proposal accepts another's too."""
    whole = Formation.decide

    def fickle(self, now_s):
        for proposal in self._stands_by.values():
            if self._own in proposal.founders and proposal != self.accepted:
                return Accept(proposal)
        return whole(self, now_s)

    patch.setattr(Formation, "decide", fickle)


@mutant("formation", codes="E11", hunt=Nodes(crowded, label="too many founders"), quick=True)
def a_majority_of_founders_is_enough(patch: pytest.MonkeyPatch) -> None:
    """A cluster is formed once most of its founders have accepted."""

    def is_unanimous(self, proposal):
        others = [founder.identity for founder in proposal.founders if founder != self._own]
        stand_by = sum(self._stands_by.get(other) == proposal for other in others)
        return 1 + stand_by > len(proposal.founders) // 2

    patch.setattr(Formation, "_is_unanimous", is_unanimous)


@mutant(
    "formation",
    codes="E11",
    hunt=Case(test_directory.test_giving_up_forgets_what_was_accepted_and_refusing_another_does_not),
    quick=True,
)
def acceptances_are_not_written_down(patch: pytest.MonkeyPatch) -> None:
    """A founder that dies forgets what it accepted."""
    patch.setattr(directories, "record_accepted", lambda storage, proposal: None)


@mutant("formation", codes="E11", hunt=Nodes(too_many, label="too many founders"), quick=True)
def an_acceptance_is_given_up_for_a_better_one(patch: pytest.MonkeyPatch) -> None:
    """A founder that accepted takes back its word as soon as it hears of a lower proposal."""
    whole = Formation.decide

    def faithless(self, now_s):
        offers = [each for each in self._stands_by.values() if self._own in each.founders]
        if self.accepted is not None and offers and min(offers, key=_rank) != self.accepted:
            return Accept(min(offers, key=_rank))
        return whole(self, now_s)

    patch.setattr(Formation, "decide", faithless)


@mutant(
    "formation",
    hunt=Case(test_several_nodes.test_nodes_that_know_one_other_alone_learn_from_it_where_the_rest_are),
    quick=True,
)
def a_greeting_tells_of_nobody_else(patch: pytest.MonkeyPatch) -> None:
    """Nodes that were named to one other alone never learn where the rest are."""
    patch.setattr(Links, "confirmed", lambda self: {})


@mutant(
    "formation",
    hunt=Case(
        test_several_nodes.test_where_a_node_is_said_to_be_counts_less_than_what_it_says_itself, first=that_has_formed
    ),
    quick=True,
)
def where_others_say_that_a_node_is_counts_more(patch: pytest.MonkeyPatch) -> None:
    """What a third node says of an address takes the place of what its owner said."""

    def expect(self, identity, address):
        self.addresses[identity] = address
        self.dial(address)

    patch.setattr(Links, "expect", expect)


def _rank(proposal):
    return tuple(founder.identity for founder in proposal.founders)
