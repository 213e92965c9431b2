"""The simulated network keeps a channel's promises, and breaks them only where a knob says so."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from conflux.testing.clock import Schedule, SimulatedClock
from conflux.testing.network import NetworkKnobs, SimulatedNetwork


class World:
    def __init__(self, seed: int = 1) -> None:
        self.schedule = Schedule()
        self.clock = SimulatedClock(self.schedule)
        self.network = SimulatedNetwork(self.schedule, Random(seed), lambda *arrived: None)
        self.a, self.b = self.node("a"), self.node("b")
        self.a.dial("b:1")
        self.client = self.network.open_client("c", self.clock, lambda: None)
        self.client.dial("a:1")

    def node(self, place):
        return self.network.open_node(place, f"{place}:1", self.clock, lambda: None)

    def knobs(self, **changes) -> None:
        self.network.knobs = replace(NetworkKnobs(), **changes)

    def pass_time(self) -> None:
        while self.schedule._events:
            self.schedule.run_next()


@pytest.fixture
def world() -> World:
    return World()


def frames(count: int) -> list[bytes]:
    return [b"\x01%d" % number for number in range(count)]


def test_a_link_is_first_in_first_out(world):
    world.knobs(late=0.5)
    assert all(world.a.send("b:1", frame) for frame in frames(50))
    world.pass_time()
    assert world.b.receive_from_peers(100) == frames(50)


def test_reordering_is_a_knob(world):
    world.knobs(reordering=True)
    for frame in frames(50):
        world.a.send("b:1", frame)
    world.pass_time()
    arrived = world.b.receive_from_peers(100)
    assert arrived != frames(50)
    assert sorted(arrived) == sorted(frames(50))


def test_loss_and_duplication_are_knobs(world):
    world.knobs(loss=0.5, duplication=0.5)
    for frame in frames(100):
        world.a.send("b:1", frame)
    world.pass_time()
    arrived = world.b.receive_from_peers(1000)
    assert 20 < len(set(arrived)) < 80
    assert len(arrived) > len(set(arrived))


def test_requests_are_duplicated_only_where_that_is_asked_for(world):
    world.knobs(duplication=1.0)
    world.client.send("a:1", b"\x01\x02")
    world.a.send("b:1", b"\x01\x11a request, passed on")
    world.pass_time()
    assert len(world.a.receive_from_clients(10)) == len(world.b.receive_from_peers(10)) == 1
    world.knobs(duplication=1.0, duplicates_requests=True)
    world.client.send("a:1", b"\x01\x02")
    world.pass_time()
    assert len(world.a.receive_from_clients(10)) == 2


def test_a_cut_takes_one_direction_until_it_is_mended(world):
    world.b.dial("a:1")
    cut = world.network.cut([("a", "b")], holds=False)
    world.a.send("b:1", b"\x01lost")
    world.b.send("a:1", b"\x01through")
    world.pass_time()
    assert (world.b.receive_from_peers(10), world.a.receive_from_peers(10)) == ([], [b"\x01through"])
    world.network.mend(cut)
    world.network.mend(cut)
    world.a.send("b:1", b"\x01again")
    world.pass_time()
    assert world.b.receive_from_peers(10) == [b"\x01again"]


def test_a_cut_that_holds_lets_all_go_in_one_burst_and_in_order(world):
    cut = world.network.cut([("a", "b")], holds=True)
    for frame in frames(20):
        world.a.send("b:1", frame)
    world.pass_time()
    assert world.b.receive_from_peers(100) == []
    world.network.mend(cut)
    world.a.send("b:1", b"\x01after")
    world.pass_time()
    assert world.b.receive_from_peers(100) == [*frames(20), b"\x01after"]


def test_what_a_node_had_queued_dies_with_it(world):
    cut = world.network.cut([("a", "b")], holds=True)
    world.a.send("b:1", b"\x01queued")
    world.a.close()
    world.network.mend(cut)
    world.pass_time()
    assert world.b.receive_from_peers(10) == []


@pytest.mark.parametrize("survives", [0.0, 1.0])
def test_a_frame_may_reach_the_next_node_at_its_address(world, survives):
    world.knobs(survives_restart=survives)
    world.a.send("b:1", b"\x01late")
    world.b.close()
    again = world.node("b")
    world.pass_time()
    assert again.receive_from_peers(10) == ([b"\x01late"] if survives else [])


def test_a_client_has_another_handle_after_a_restart(world):
    world.client.send("a:1", b"\x01\x02one")
    world.pass_time()
    [(handle, _)] = world.a.receive_from_clients(10)
    assert world.a.reply(handle, b"\x01\x40yes")
    world.pass_time()
    assert world.client.receive(10) == [("a:1", b"\x01\x40yes")]
    world.a.close()
    again = world.node("a")
    assert not again.reply(handle, b"\x01\x40nobody")
    world.client.send("a:1", b"\x01\x02two")
    world.pass_time()
    [(other, _)] = again.receive_from_clients(10)
    assert other != handle


def test_the_same_told_again_is_no_news(world):
    world.client.send("a:1", b"\x01hello")
    world.pass_time()
    ((handle, _),) = world.a.receive_from_clients(9)
    for frame in (b"\x01one", b"\x01one", b"\x01two", b"\x01two"):
        assert world.a.reply(handle, frame)
    assert world.a.news_told == 2


def test_an_undialled_or_absent_node_takes_nothing(world):
    assert not world.b.send("a:1", b"\x01")
    world.knobs(refuses=1.0)
    world.b.close()
    assert not world.a.send("b:1", b"\x01")
    world.client.dial("nowhere:1")
    assert not world.client.send("nowhere:1", b"\x01")
    world.client.hang_up("a:1")
    assert not world.client.send("a:1", b"\x01")


def test_an_inbox_is_bounded(world):
    taken = [world.a.send("b:1", frame) for frame in frames(5000) if not world.pass_time()]
    assert 1000 < sum(taken) < 2000


def test_a_machine_that_is_busy_sends_later(world):
    world.clock.work(5.0)
    world.a.send("b:1", b"\x01")
    world.clock.busy_s = 0.0
    world.pass_time()
    assert world.schedule.now_s > 1005.0


def test_clocks_run_at_their_own_rate_and_walls_may_be_an_hour_off():
    schedule = Schedule()
    clock = SimulatedClock(schedule, rate=1.1, offset_s=7.0, wall_offset_s=3600.0, read_cost_s=0.5)
    true = SimulatedClock(schedule)
    assert (true.monotonic_s(), true.monotonic_s()) == (1000.0, 1000.0)
    assert clock.wall_us() - true.wall_us() == 3600 * 10**6
    assert clock.monotonic_s() == pytest.approx(1007.0 + 0.55)
    schedule.at(1010.0, lambda _: None)
    schedule.run_next()
    assert true.monotonic_s() == 1010.0
    clock.busy_s = 0.0
    assert clock.monotonic_s() == pytest.approx(1007.0 + 11.55)
