"""Apps that bring `dump` and `load`, on whole nodes: restarts, installs, hashes, reads, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import conflux
from conflux.app import App
from conflux.errors import ConfluxError, OptionsError
from conflux.wire.clients import Consistency, Read, ReadAt, Refused, SnapshotTaken, StatePart, TakeSnapshot
from conflux.wire.state_decoder import decode_state
from tests.node.harness import World, label_of
from tests.node.test_snapshots import behind, first_index, grow, settle, snapshot_now, snapshots
from tests.store.test_dumps import Bag, add, app_of, forgetful, load, raising, reduce


def things(node: Any) -> list[Any]:
    assert type(node.machine.state) is Bag
    return list(node.machine.state.things)


def test_a_restart_goes_on_from_a_snapshot_with_the_apps_own_state():
    world = World(1, app_of())
    user = world.user()
    user.perform(("add", "x"))
    snapshot_now(world, world.nodes["a"])
    user.perform(("add", "y"))
    node = world.restart("a")
    assert things(node) == ["x"]
    world.until(lambda: node.is_leading)
    assert things(node) == ["x", "y"]


def test_who_is_too_far_behind_gets_the_dump_and_loads_it():
    world = World(3, app_of())
    node = behind(world)
    settle(world)
    assert node.member is not None and node.member.snapshots.installer.installs == 1
    assert things(node) == things(world.leader())


def test_nodes_hold_hashes_of_dumps_against_each_other(monkeypatch):
    monkeypatch.setattr("conflux.limits.HASH_POINT_BYTES_MIN", 100)
    world = World(3, app_of())
    grow(world.user(), calls=10, thing="x" * 50)
    settle(world)
    world.run(3.0)
    assert all(node.replica.agreed is not None and node.replica.agreed.revision for node in world.nodes.values())


def test_a_node_whose_dump_says_something_else_is_taken_out_of_service(monkeypatch):
    monkeypatch.setattr("conflux.limits.HASH_POINT_BYTES_MIN", 100)
    world = World(3, app_of())
    world.run(1.0)
    world.leader()

    def other(state: Bag) -> Any:
        return [thing.upper() for thing in state.things]

    node = world.followers()[0]
    odd = world.restart(label_of(node), app_of(dump=other, load=lambda value: Bag(tuple(value))))
    grow(world.user(world.leader()), calls=10, thing="x" * 50)
    world.until(lambda: odd.replica is not None and odd.replica.failure is not None, 30)
    assert "is not the one" in str(odd.replica.failure)
    assert all(node.replica.failure is None for node in world.nodes.values() if node is not odd)


def test_readers_get_the_dump():
    world = World(1, app_of())
    user = world.user()
    user.perform(("add", "x"), ("add", "y"))
    part = user.ask(Read(user.number(), Consistency.LINEARIZABLE, False), StatePart)
    assert decode_state(part.part) == ["x", "y"]
    part = user.ask(ReadAt(user.number(), 1), StatePart)
    assert decode_state(part.part) == ["x"]


def test_who_reads_a_state_that_does_not_dump_is_told_why_and_the_node_goes_on():
    def picky(state: Bag) -> Any:
        return raising(state) if len(state.things) == 1 else list(state.things)

    world = World(1, app_of(picky))
    user = world.user()
    user.perform(("add", "x"))
    refused = user.ask(Read(user.number(), Consistency.LINEARIZABLE, False), Refused)
    assert refused.message == "the app's dump raises KeyError: 'shelf'"
    user.perform(("add", "y"))
    assert user.ask(Read(user.number(), Consistency.LINEARIZABLE, False), StatePart)


def test_a_snapshot_that_would_not_come_back_is_not_taken_and_nothing_is_cut(caplog: pytest.LogCaptureFixture):
    world = World(1, app_of(load=forgetful), snapshot_entries=2, snapshot_bytes=10**9)
    user = world.user()
    for number in range(3):
        user.perform(("add", number))
    refused = user.ask(TakeSnapshot(user.number()), (SnapshotTaken, Refused))
    assert isinstance(refused, Refused) and "the app's load does not bring back" in refused.message
    node = world.nodes["a"]
    assert snapshots(node) == [] and first_index(node) == 1
    assert "load does not bring back" in node.member.snapshots.status()["snapshot_problem"]
    user.ask(TakeSnapshot(user.number()), Refused)
    assert caplog.text.count("no snapshot is taken, so the log is not cut: the app's load does not bring back") == 1
    user.perform(("add", 3))
    assert things(node) == [0, 1, 2, 3]
    node = world.restart("a", app_of())  # mended
    world.until(lambda: node.is_leading)
    assert things(node) == [0, 1, 2, 3] and snapshot_now(world, node).revision == 4


def test_a_load_that_was_edited_keeps_a_node_from_starting_and_the_right_one_finds_everything():
    world = World(1, app_of())
    user = world.user()
    user.perform(("add", 1), ("add", 2), ("add", 3))
    snapshot_now(world, world.nodes["a"])
    disk = world.disk("a")
    for wrong in (forgetful, raising):
        with pytest.raises(ConfluxError, match="the app's load"):
            world.start("a", disk.reopened(), app_of(load=wrong))
    node = world.start("a", disk.reopened())
    assert things(node) == [1, 2, 3]


def test_a_follower_that_can_not_load_says_so_and_keeps_what_it_has():
    loads = 0

    def failing(value: Any) -> Bag:
        nonlocal loads
        loads += 1
        return raising(value) if loads > 1 else load(value)  # the first is the initial state's

    world = World(3, app_of())
    world.leader()
    away = label_of(world.followers()[0])
    world.restart(away, app_of(load=failing))
    world.app = app_of(load=failing)
    loads = 0
    node = behind_of(world, away)
    world.run(3.0)
    assert "the app's load fails" in node.member.snapshots.status()["snapshot_problem"]
    assert node.replica.failure is None and snapshots(node) != []


def behind_of(world: World, away: str) -> Any:
    """As `behind`, of a node that is named."""
    disk = world.disk(away)
    world.stop(away)
    user = world.user()
    for number in range(2):
        grow(user, calls=5, thing=f"{number}")
        for node in world.nodes.values():
            snapshot_now(world, node)
    grow(user, calls=3, thing="last")
    return world.start(away, disk.reopened())


# ---- in one's own program ----


def test_a_program_gets_its_own_states_and_a_client_what_stands_for_them(tmp_path: Path):
    options: dict[str, Any] = {"channel": {"name": "zeromq", "insecure": True}, "data_dir": tmp_path}
    with conflux.Conflux(app_of(), id="a", cluster_size=1, **options) as node:
        node.perform("add", "x", timeout=20)
        node.perform("add", "y", timeout=20)
        for state in (node.get_state(), node.get_state("linearizable", timeout=20), node.get_provisional_state()):
            assert type(state) is Bag and state.things == ("x", "y")
        assert node.state_at(1, timeout=20).things == ("x",)
        with conflux.Client(endpoints=[node._node.channel.address]) as client:
            assert client.get_state(timeout=20) == ["x", "y"]
            assert client.get_state_at(1, timeout=20) == ["x"]
    with conflux.Conflux(app_of(), id="a", cluster_size=1, **options) as node:
        assert node.get_state("linearizable", timeout=20).things == ("x", "y")


def test_one_without_the_other_is_refused():
    app: App[Any, Any] = App({"add": add}, reduce, dump=lambda state: 0)
    with pytest.raises(OptionsError, match="the app has dump and no load: give both, or neither"):
        conflux.Conflux(app, id="a", cluster_size=1, channel="memory")
