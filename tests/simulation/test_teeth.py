"""Does the simulator have teeth? Each mutant of the core must die, by the checkers that look at the history alone.

Most die in a random world. Four need a coincidence so rare that a scripted case kills them instead: it is named here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from random import Random

import pytest

from conflux.raft.invariant import InvariantViolated
from tests.raft import test_failures, test_paper
from tests.simulation import mutants
from tests.simulation.checkers import Violation, history_checkers
from tests.simulation.knobs import Knobs
from tests.simulation.mutants import Mutant
from tests.simulation.simulator import Simulator

RUNS_MAX = 600  # in which a mutant must die

# Each mutant with the world that is meanest to it, where the first seeds of all worlds don't do.
RANDOM: dict[Mutant, str | None] = {
    mutants.vote_not_persisted: "voters",
    mutants.term_not_persisted: "voters",
    mutants.own_vote_counts_before_the_sync: "leaders",
    mutants.own_entry_counts_before_the_sync: "leaders",
    mutants.reads_without_confirmation: "readers",
    mutants.reads_confirmed_by_an_older_round: "readers",
    mutants.no_noop_wait_for_reads: "readers",
    mutants.no_up_to_date_check: None,
    mutants.double_vote: None,
    mutants.truncation_on_a_stale_append: None,
    mutants.commit_past_the_match: None,
    mutants.heartbeats_name_the_whole_commit_index: None,
    mutants.no_consistency_check: None,
    mutants.conflicts_are_kept: None,
    mutants.minority_quorum: None,
    mutants.replies_before_the_sync: None,
    mutants.a_later_term_is_not_followed: None,
    mutants.lost_appends_are_not_sent_again: None,
}
SCRIPTED: dict[Mutant, Callable[[], object]] = {
    mutants.commit_by_counting_old_terms: (
        test_paper.test_figure_8_an_entry_that_was_only_counted_is_not_committed_and_may_be_overwritten
    ),
    mutants.only_the_length_of_the_log_counts: test_failures.test_A5_a_voter_with_a_newer_log_refuses,
    mutants.stale_votes_accepted: test_failures.test_A9_votes_of_an_earlier_candidacy_do_not_count,
    mutants.stale_acceptances_accepted: test_failures.test_A9_an_acceptance_of_an_earlier_leadership_does_not_count,
}


def name(mutant: Mutant) -> str:
    return mutant.__name__


def seeds_of(world: str | None) -> Iterator[int]:
    seed = 0
    while True:
        if world is None or Knobs.draw(Random(seed)).world == world:
            yield seed
        seed += 1


def first_kill(world: str | None) -> str | None:
    for seed in islice(seeds_of(world), RUNS_MAX):
        try:
            Simulator(seed, history_checkers()).run()
        except (Violation, InvariantViolated) as found:
            return f"seed {seed}: {found}"
    return None


@pytest.mark.parametrize("mutant", RANDOM, ids=name)
def test_the_simulator_kills(mutant, monkeypatch):
    mutant(monkeypatch)
    assert first_kill(RANDOM[mutant])


@pytest.mark.parametrize("mutant", SCRIPTED, ids=name)
def test_a_scripted_case_kills(mutant, monkeypatch):
    case = SCRIPTED[mutant]
    case()
    mutant(monkeypatch)
    with pytest.raises((AssertionError, InvariantViolated)):
        case()


def test_every_mutant_is_put_to_the_test():
    assert {*RANDOM, *SCRIPTED} == set(mutants.MUTANTS)
