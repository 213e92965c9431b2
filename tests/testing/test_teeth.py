"""The simulation has teeth: each mutant dies within a few seeds, and so does what is directed at one case."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from conflux.errors import ConfluxError
from conflux.testing import Simulation, Weather
from conflux.testing.disk import DiskKnobs
from conflux.testing.network import NetworkKnobs
from conflux.testing.weather import ClientKnobs
from tests.testing import mutants

SEEDS = 40
STEPS = 1500
FATAL = (AssertionError, ConfluxError)  # what a node or a checker raises: InvariantViolated and Violation are the first


def weather(seed: int, mutant: mutants.Mutant) -> Weather:
    """Weather in which a mutant's error matters."""
    drawn = Weather.draw(Random(seed), nodes=[3, 5][seed % 2])
    clients = ClientKnobs(clients=3, embedded=1, pause_s=0.005, burst_max=5, reads=0.2, watchers=1.0)
    drawn = replace(drawn, calm_s=0.0, clients=clients)
    if mutant is mutants.formation_accepts_a_second_proposal:
        return replace(drawn, nodes=2, extra_candidates=1, start_spread_s=0.0, settle_s=0.0)
    if mutant is mutants.a_refused_rest_stands_for_the_whole:  # a slow disk ends leaders whose entries live on
        clients = replace(clients, burst_max=20, unfinished_max=40, deadline=1.0, deadline_s_max=0.2, reads=0.0)
        bounds = {("conflux.limits", "TURN_RECORDS_MAX"): 2, ("conflux.limits", "UNCOMMITTED_ENTRIES_MAX"): 1}
        disk = DiskKnobs(slow=0.05, slow_s_max=drawn.election_timeout_ms[1] / 1000 * 3)
        return replace(drawn, clients=clients, bounds=bounds, disk=disk, faults={}, network=NetworkKnobs())
    if mutant is mutants.reads_do_not_wait_to_be_folded:
        bounds = {("conflux.limits", "APPLY_SLICE_SECONDS"): 0.0}
        clients = replace(clients, reads=0.5)
        return replace(drawn, clients=clients, bounds=bounds, faults={}, network=NetworkKnobs(loss=0.05))
    if mutant is mutants.sessions_are_called_expired_at_once:
        clients = ClientKnobs(clients=4, pause_s=0.01, reads=0.0, watchers=0.0, deadline=0.0, renewals=0.0)
        faults = {"client cut off": 3.0, "isolate the leader": 1.0, "one-way partition": 1.0, "pause the leader": 1.0}
        bounds = {("conflux.limits", "SESSION_SECONDS"): 1}
        network = replace(drawn.network, loss=0.02)
        drawn = replace(drawn, clients=clients, faults=faults, bounds=bounds, network=network, disk=DiskKnobs())
        return replace(drawn, fault_pause_s=0.3, fault_s_max=2.0)
    if mutant is mutants.the_disk_forgets_votes:
        return replace(drawn, disk=DiskKnobs(crash=0.03, kept=1.0), fault_s_max=0.05)
    return drawn


def is_killed(mutant: mutants.Mutant) -> int | None:
    """The seed that kills it."""
    for seed in range(SEEDS):
        try:
            with Simulation(seed=seed, weather=weather(seed, mutant)) as simulation:
                simulation.run(STEPS)
        except FATAL:
            return seed
    return None


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_mutant_is_killed(mutant, monkeypatch):
    mutant(monkeypatch)
    assert is_killed(mutant) is not None
