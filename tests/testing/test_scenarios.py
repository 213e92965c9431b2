"""Cases that no seed meets often enough: each is set up by hand on a simulated cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from conflux.testing import Simulation, Weather
from conflux.testing.clients import SimulatedClient
from conflux.testing.host import Host
from conflux.testing.network import NetworkKnobs
from conflux.testing.weather import ClientKnobs


class Stage:
    """Three nodes with a leader, and nobody who does anything by himself."""

    def __init__(self, network: NetworkKnobs, timeout_ms: tuple[int, int] = (300, 500), heartbeat_ms: int = 50) -> None:
        clients = ClientKnobs(clients=1, watchers=0.0, pause_s=1e6)
        self.simulation = Simulation(
            seed=1,
            weather=Weather(
                nodes=3,
                network=network,
                clients=clients,
                election_timeout_ms=timeout_ms,
                heartbeat_interval_ms=heartbeat_ms,
            ),
        )
        self.cluster = self.simulation.cluster
        self.until(lambda: bool(self.cluster.leaders), 30.0)
        self.leader = self.cluster.leaders[0]
        self.follower, self.other = (host for host in self.cluster.hosts if host is not self.leader)
        self.writer = self.client("writer", self.leader)

    def client(self, name: str, at: Host) -> SimulatedClient:
        client = self.cluster.new_client(name)
        client.link.aim(f"{at.label}:1")
        return client

    def until(self, condition, seconds: float = 5.0) -> None:
        assert self.cluster.run_until(condition, self.cluster.schedule.now_s + seconds), "not in time"

    def wait(self, seconds: float) -> None:
        self.cluster.run_until(lambda: False, self.cluster.schedule.now_s + seconds)

    def write(self, number: int) -> None:
        call = self.writer.perform("append", [-number], None)  # the numbers from 1 on are the cluster's own
        self.writer.wake()
        self.until(lambda: call.result is not None)

    def read(self, client: SimulatedClient) -> None:
        client.read(linearizable=True)
        client.wake()

    def cut(self, source: Host, *targets: Host, holds: bool = False):
        return self.cluster.network.cut([(source.label, target.label) for target in targets], holds=holds)


@pytest.fixture
def stage() -> Iterator[type[Stage]]:
    with ExitStack() as stack:

        def open_stage(*args, **options) -> Stage:
            opened = Stage(*args, **options)
            stack.enter_context(opened.simulation)
            return opened

        yield open_stage


def test_an_answer_from_before_a_restart_confirms_no_read_after_it(stage):
    """A9, F5: the follower's question is confirmed, the answer is held up, the follower restarts and asks again."""
    play = stage(NetworkKnobs(survives_restart=1.0))
    play.write(1)
    play.wait(0.3)
    held = play.cut(play.leader, play.follower, holds=True)
    play.read(play.client("before", play.follower))
    play.wait(0.01)
    play.follower.stop("crashes")
    play.cut(play.follower, play.leader, play.other)  # nothing it asks now arrives
    play.follower.start()
    play.write(2)
    play.wait(0.001)
    play.read(play.client("after", play.follower))
    play.wait(0.005)
    play.cluster.network.mend(held)
    play.wait(0.05)
    for client in ("before", "after"):
        assert all(read.revision == 2 for read in play.cluster.history.reads if read.client == client)


def test_a_read_is_answered_though_its_confirmation_takes_long(stage):
    """Over a slow link each answer comes after the question was asked again: that must not make it worthless."""
    play = stage(NetworkKnobs(delay_s_min=0.06, delay_s_max=0.065), (2000, 3000), 300)
    client = play.client("reader", play.follower)
    play.read(client)
    play.until(lambda: not client.unfinished, 3.0)


def test_a_leader_that_is_cut_off_from_its_followers_answers_no_read(stage):
    """B10, F5."""
    play = stage(NetworkKnobs())
    play.write(1)
    play.cut(play.leader, play.follower, play.other)
    play.cut(play.follower, play.leader)
    play.cut(play.other, play.leader)
    play.read(play.client("reader", play.leader))
    play.wait(0.1)
    assert not [read for read in play.cluster.history.reads if read.client == "reader"]


def test_a_client_leaves_a_node_that_knows_no_leader(stage):
    play = stage(NetworkKnobs())
    play.cut(play.follower, play.leader, play.other)
    play.cut(play.leader, play.follower)
    play.cut(play.other, play.follower)
    play.wait(2.0)
    client = play.client("lost", play.follower)
    call = client.perform("append", [1], None)
    client.wake()
    play.until(lambda: call.result is not None, 2.0)
