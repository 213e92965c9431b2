"""A node serves while it takes a snapshot or installs one: between two looks at the clock it does little, whatever the
size of its state. What is counted is calls of functions and bytes, not time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from pyrsistent import pmap, pvector

from conflux.app import App
from conflux.node.installing import Installer
from conflux.node.snapshots import Snapshotter
from conflux.store import image
from tests.node import harness
from tests.node.harness import World, label_of
from tests.node.test_snapshots import same_machine, settle, snapshot_now

SMALL, LARGE = 6_000, 24_000
LOOK_SECONDS = 0.0002  # that a look at the clock takes here, so that slices end


class Looks(harness.Clock):
    """A clock that counts what was done since it was looked at last."""

    def __init__(self) -> None:
        super().__init__()
        self.is_counting = False
        self.calls = self.calls_most = self.looks = 0

    def monotonic_s(self) -> float:
        if self.is_counting:
            self.end()
            self.looks += 1
            self.now_s += LOOK_SECONDS
        return super().monotonic_s()

    def end(self) -> None:
        self.calls_most = max(self.calls_most, self.calls)
        self.calls = 0

    def count(self, _frame: object, event: str, _argument: object) -> None:
        self.calls += event in ("call", "c_call")


def flat(size: int) -> Any:
    """A vector, a map and a list of many values."""
    return {"vector": pvector(range(size)), "map": pmap({f"{n:08}": n for n in range(size)}), "list": [*range(size)]}


def nested(size: int) -> Any:
    """Many small containers, in one another."""
    return pvector({"values": pvector([n, str(n)]), "more": [pmap({"n": n}), [[n]]]} for n in range(size // 8))


def app_of(make: Callable[[int], Any]) -> App[Any, Any]:
    """An app whose state becomes as large as it is told."""
    return App({"fill": lambda state, size: size}, lambda state, size: make(size) if size else pvector())


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts within the work of snapshots alone."""
    monkeypatch.setattr(harness, "Clock", Looks)
    for room in (Snapshotter, Installer):
        monkeypatch.setattr(room, "work", _counted(room.work))


def _counted(work: Callable[[Any], None]) -> Callable[[Any], None]:
    def within(self: Any) -> None:
        clock: Looks = self._clock
        clock.is_counting, clock.calls = True, 0
        sys.setprofile(clock.count)
        try:
            work(self)
        finally:
            sys.setprofile(None)
            clock.end()
            clock.is_counting = False

    return within


def most_calls_of_a_snapshot(make: Callable[[int], Any], size: int) -> tuple[int, int]:
    """The most calls between two looks at the clock, and how many looks there were."""
    world = World(1, app_of(make))
    world.user().perform(("fill", size))
    snapshot_now(world, world.leader())
    clock = world.clock
    assert isinstance(clock, Looks)
    return clock.calls_most, clock.looks


def most_calls_of_an_install(make: Callable[[int], Any], size: int) -> tuple[int, int]:
    world = World(3, app_of(make))
    away = label_of(world.followers()[0])
    disk = world.disk(away)
    world.stop(away)
    for _ in range(2):
        world.user().perform(("fill", size))
        for node in world.nodes.values():
            snapshot_now(world, node)
    clock = world.clock
    assert isinstance(clock, Looks)
    clock.calls_most = clock.looks = 0
    node = world.start(away, disk.reopened())
    settle(world)
    assert node.member is not None and node.member.snapshots.installer.installs == 1
    assert same_machine(node, world.leader())
    return clock.calls_most, clock.looks


@pytest.mark.usefixtures("counted")
@pytest.mark.parametrize("make", [flat, nested])
@pytest.mark.parametrize("measure", [most_calls_of_a_snapshot, most_calls_of_an_install])
def test_what_is_done_between_two_looks_at_the_clock_does_not_grow_with_the_state(
    measure: Callable[..., tuple[int, int]], make: Callable[[int], Any]
) -> None:
    few, looks_few = measure(make, SMALL)
    many, looks_many = measure(make, LARGE)
    assert looks_many > 2 * looks_few, "the work itself does grow"
    assert many < 1.5 * few + 1000, (few, many)


@pytest.mark.parametrize("make", [flat, nested])
def test_no_piece_of_a_snapshot_is_long(make: Callable[[int], Any]) -> None:
    world = World(1, app_of(make))
    world.user().perform(("fill", LARGE))
    assert max(map(len, image.encode_body(world.leader().machine, world.leader()._app))) < 256 * 1024
