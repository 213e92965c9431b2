"""What a node does beside its log rests while the log moves, so that those who share a machine leave it room."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from pyrsistent import pvector

from conflux.app import App
from conflux.node.chores import REST_SECONDS_MAX, REST_TIMES
from conflux.node.node import Node
from conflux.node.snapshots import Snapshotter
from conflux.wire.clients import SnapshotTaken, TakeSnapshot
from tests.node.harness import World, label_of

ELEMENTS = 40_000
STEP_S = 0.0005


def make_app() -> App[Any, Any]:
    return App(
        {"append": lambda state, size: size},
        lambda state, size: (state or pvector()).extend(["x"] * (size or 0)),
    )


def filled(world: World) -> World:
    """Its state takes many slices to encode."""
    world.user().perform(("append", ELEMENTS))
    world.run(5.0)
    return world


@pytest.fixture
def world() -> World:
    return filled(World(1, make_app()))


def slices_of(
    world: World, monkeypatch: pytest.MonkeyPatch, slice_s: float, *, log_moves: bool, of: Node | None = None
) -> list[float]:
    """When the slices of a snapshot ended and the next ones began: pairs, in seconds."""
    pauses: list[tuple[float, float]] = []
    work = Snapshotter.work

    def slow(snapshotter: Snapshotter) -> None:
        if not snapshotter.has_work:
            return
        began_s = world.clock.now_s
        work(snapshotter)
        world.clock.now_s += slice_s
        pauses.append((began_s, world.clock.now_s))

    user, asker = world.user(), world.user(of)
    user.open()
    world.run(0.1)
    monkeypatch.setattr(Snapshotter, "work", slow)
    monkeypatch.setattr("conflux.node.snapshots.SLICE_SECONDS", 0.0)  # so that one piece is a slice
    for number in range(1000):
        if log_moves:
            user.send(user.request(("append", 1)))
        if number == 10:
            asker.send(TakeSnapshot(1))
        if asker.got(SnapshotTaken):
            break
        world.step(STEP_S)
    return [began_s - ended_s for (_, ended_s), (began_s, _) in pairwise(pauses)]


def test_while_the_log_moves_a_slice_is_followed_by_a_rest(world, monkeypatch):
    pauses = slices_of(world, monkeypatch, 0.001, log_moves=True)
    assert len(pauses) >= 2
    assert min(pauses) == pytest.approx(REST_TIMES * 0.001)


def test_an_idle_node_does_one_slice_after_the_other(world, monkeypatch):
    pauses = slices_of(world, monkeypatch, 0.001, log_moves=False)
    assert len(pauses) >= 2
    assert max(pauses) == pytest.approx(STEP_S)


def test_a_node_that_was_stopped_in_the_middle_of_a_slice_does_not_rest_for_as_long(world, monkeypatch):
    pauses = slices_of(world, monkeypatch, 60.0, log_moves=True)
    assert max(pauses) <= REST_SECONDS_MAX + 2 * STEP_S


def test_what_the_disk_took_before_a_slice_asks_for_no_rest(monkeypatch):
    """A follower writes what came in, and only then comes a slice."""
    world = filled(World(3, make_app()))
    follower = world.followers()[0]
    disk = world.disk(label_of(follower))
    persist = disk.persist

    def slow(**write: Any) -> None:
        persist(**write)
        world.clock.now_s += 0.005

    monkeypatch.setattr(disk, "persist", slow)
    pauses = slices_of(world, monkeypatch, 0.001, log_moves=True, of=follower)
    assert len(pauses) >= 2
    assert max(pauses) < REST_TIMES * (0.005 + 0.001)
