"""The determinism guard on whole nodes: who is wrong stops serving and says where it began; the others go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from random import random
from typing import Any

import pytest
from msgspec import structs
from pyrsistent import pvector

from conflux import limits
from conflux.app import App
from conflux.errors import Damaged, Diverged
from conflux.node.node import Node
from conflux.store import hash_points
from conflux.store.records import StateHash, records_of
from conflux.wire.clients import Answers, Code, Consistency, Events, OpenSession, Read, Refused, StatePart, Watch
from tests.node.harness import World, label_of

LARGE = "x" * (limits.HASH_POINT_BYTES_MIN + 1)  # an action with it makes a hash point
Reduce = Callable[[Any, Any], Any]


def right(state: Any, action: Any) -> Any:
    return [] if state is None else [*state, action["thing"]]


def wrong_from(thing: Any) -> Reduce:
    """A reducer that folds one action, and only that, in a way of its own."""

    def reduce(state: Any, action: Any) -> Any:
        return [*state, "wrong"] if action and action["thing"] == thing else right(state, action)

    return reduce


def app(reduce: Reduce = right) -> App[Any, Any]:
    return App({"add": lambda state, thing: {"type": "add", "thing": thing}}, reduce, name="things")


def world_of(*reducers: Reduce) -> World:
    """A cluster whose nodes a, b, c … have these reducers, with a leader."""
    world = World(len(reducers), app())
    for label, reduce in zip("abcdefghi", reducers, strict=False):
        if reduce is not right:
            world.restart(label, app(reduce))
    world.leader()
    return world


def lead(world: World, label: str) -> None:
    """Let this node lead."""
    world.until(lambda: world.nodes[label].replica is not None)
    while label_of(world.leader()) != label:
        raft = world.leader().replica.raft
        raft.transfer_leadership(world.nodes[label].directory.self.identity)
        world.run(0.2)


def add(world: World, *things: Any) -> None:
    """Perform through whoever leads, without waiting for the answer: the guard may be faster."""
    user = world.user()
    user.open()
    user.send(user.request(*(("add", thing) for thing in things)))
    world.run(0.1)


def diverged(world: World) -> list[str]:
    return [label for label, node in world.nodes.items() if isinstance(node.replica.failure, Diverged)]


def doubtful(world: World) -> list[str]:
    return [label for label, node in world.nodes.items() if node.replica.doubt is not None]


def problem(world: World, label: str) -> str:
    return str(world.nodes[label].problem())


def refuses_reads(world: World, node: Node) -> bool:
    user = world.user(node)
    return user.ask(Read(5, Consistency.LOCAL), (Refused, StatePart)).__class__ is Refused


# ---- One against a majority ----


def test_a16_a_follower_with_another_state_stops_serving_and_the_others_go_on():
    world = world_of(right, right, wrong_from("b"))
    lead(world, "a")
    add(world, "a", "b", "c", LARGE)
    world.until(lambda: diverged(world) == ["c"])
    assert "at revision 4 is not the one that a majority of the nodes has (a, b)" in problem(world, "c")
    assert refuses_reads(world, world.nodes["c"]) and not refuses_reads(world, world.nodes["b"])
    assert world.user().perform(("add", "more")).outcomes


def test_the_first_action_that_was_folded_otherwise_is_found_by_folding_anew():
    world = world_of(right, right, wrong_from("b"))
    lead(world, "a")
    add(world, "a", LARGE)
    world.until(lambda: all(node.member.guard.agreed_revision == 2 for node in world.nodes.values()))
    add(world, *range(50), "b", *range(50), LARGE + LARGE)
    world.until(lambda: "the first action" in problem(world, "c"))
    assert "at revision 2 it was; the first action that this node folds otherwise is revision 53 (action of 'add')" in (
        problem(world, "c")
    )
    assert world.nodes["c"].replica.failure.revision == 53


def test_a_leader_in_the_minority_hands_over_and_the_others_go_on():
    world = world_of(wrong_from("b"), right, right)
    lead(world, "a")
    add(world, "b", LARGE)
    world.until(lambda: diverged(world) == ["a"] and len(world.leaders()) == 1, seconds_max=0.25)
    assert label_of(world.leader()) in "bc"
    assert world.user().perform(("add", "more")).outcomes


def test_a_node_that_diverged_stores_the_log_and_votes():
    world = world_of(right, right, wrong_from("b"))
    lead(world, "a")
    add(world, "b", LARGE)
    world.until(lambda: diverged(world) == ["c"])
    world.stop("b")
    assert world.user().perform(("add", "more")).outcomes
    assert world.nodes["c"].replica.raft.log.last_index == world.nodes["a"].replica.raft.log.last_index


def test_a_node_that_diverged_passes_requests_on_to_the_leader():
    world = world_of(right, right, wrong_from("b"))
    lead(world, "a")
    add(world, "b", LARGE)
    world.until(lambda: diverged(world) == ["c"])
    assert world.user(world.nodes["c"]).perform(("add", "more")).outcomes


def test_a_node_that_diverged_tells_a_watcher_nothing():
    world = world_of(right, right, wrong_from("b"))
    lead(world, "a")
    add(world, "b", LARGE)
    world.until(lambda: diverged(world) == ["c"])
    watcher = world.user(world.nodes["c"])
    watcher.send(Watch(1, 1))
    world.run(2.0)
    assert not watcher.got(Events)


def test_a_state_of_another_size_has_its_hash_points_elsewhere_and_is_found_out():
    def grows(state: Any, action: Any) -> Any:
        return ["x" * 300_000] if state is None else right(state, action)

    world = World(3, app())
    for label in "abc":
        world.restart(label, app(grows if label == "c" else right))
    lead(world, "a")
    add(world, LARGE)
    world.until(lambda: diverged(world) == ["c"])


def test_an_initial_state_that_depends_on_the_node_is_found_out_before_any_action():
    def begins_elsewhere(state: Any, action: Any) -> Any:
        return ["odd"] if state is None else right(state, action)

    world = world_of(right, right, begins_elsewhere)
    world.until(lambda: diverged(world) == ["c"])


def test_a_node_mended_and_started_anew_serves_again():
    world = world_of(right, right, wrong_from("b"))
    lead(world, "a")
    add(world, "b", LARGE)
    world.until(lambda: diverged(world) == ["c"])
    world.restart("c", app(right))
    world.until(lambda: world.nodes["c"].member.guard.agreed_revision == 2 and world.nodes["c"].problem() is None)
    assert not refuses_reads(world, world.nodes["c"])


def test_a_log_that_is_not_the_majoritys_ends_the_node():
    world = world_of(right, right, right)
    lead(world, "a")
    node = world.nodes["c"]
    point = node.member.guard._points[-1]
    point.log_hash = b"x" * 16
    node.replica.agreed = None
    with pytest.raises(Damaged, match="the log up to index 0"):
        world.run(3.0)


# ---- Nobody knows who is right ----


def test_of_two_nodes_neither_is_right_and_both_say_so():
    world = world_of(right, wrong_from("b"))
    add(world, "a", "b", LARGE)
    world.until(lambda: doubtful(world) == ["a", "b"])
    for label in "ab":
        assert "the nodes disagree on the state at revision 3" in problem(world, label)
        assert refuses_reads(world, world.nodes[label])
    world.until(lambda: all("is revision 2 (action of 'add')" in problem(world, label) for label in "ab"))
    assert world.user(world.nodes["a"]).ask(OpenSession(1), Refused).code is Code.NOT_READY
    world.until(lambda: any(node.replica.raft.serves for node in world.nodes.values()))
    world.run(0.1)
    assert not world.leaders()


def test_three_different_states_stop_all_nodes():
    world = world_of(right, wrong_from("b"), wrong_from("c"))
    add(world, "b", "c", LARGE)
    world.until(lambda: doubtful(world) == ["a", "b", "c"])
    assert "no hash of it is a majority's: a " in problem(world, "a")


def test_two_that_disagree_wait_for_the_third_which_settles_it():
    world = world_of(right, right, wrong_from("b"))
    lead(world, "c")
    world.isolate("a")
    add(world, "b", LARGE)
    world.until(lambda: doubtful(world) == ["b", "c"])
    assert not world.leaders()
    world.heal()
    world.until(lambda: diverged(world) == ["c"] and not doubtful(world), seconds_max=20.0)
    world.until(lambda: len(world.leaders()) == 1, seconds_max=20.0)
    assert world.user().perform(("add", "more")).outcomes


def test_a_disagreement_is_borne_for_a_moment_in_which_a_majority_may_be_heard():
    world = world_of(right, right, wrong_from("b"))
    lead(world, "c")
    world.isolate("a")
    add(world, "b", LARGE)
    world.until(lambda: world.nodes["b"].member.guard._split_since_s is not None)
    world.run(0.3)
    assert not doubtful(world)
    world.heal()
    world.until(lambda: diverged(world) == ["c"])
    assert not doubtful(world)


def test_two_nodes_serve_again_once_the_wrong_one_is_mended():
    world = world_of(right, wrong_from("b"))
    add(world, "b", LARGE)
    world.until(lambda: doubtful(world) == ["a", "b"])
    world.restart("b", app(right))
    world.until(lambda: not doubtful(world) and len(world.leaders()) == 1)
    assert world.user().perform(("add", "more")).outcomes


def test_a_disagreement_that_a_majority_settles_soon_stops_nobody_else():
    world = world_of(right, right, right, right, wrong_from("b"))
    lead(world, "a")
    add(world, "b", LARGE)
    world.until(lambda: diverged(world) == ["e"])
    assert not doubtful(world) and label_of(world.leader()) == "a"


# ---- A reducer that raises ----


def raises_at(thing: Any) -> Reduce:
    def reduce(state: Any, action: Any) -> Any:
        if action and action["thing"] == thing:
            raise OSError("not here")
        return right(state, action)

    return reduce


def test_a14_a_leader_whose_action_no_one_else_can_fold_serves_no_more():
    world = world_of(right, raises_at("b"), raises_at("b"))
    lead(world, "a")
    add(world, "a", "b")
    world.until(lambda: diverged(world) == ["a", "b", "c"])
    assert "the reducer raised at revision 2" in problem(world, "b")
    assert "the reducer raised on a majority of the nodes (b, c)" in problem(world, "a")


# ---- The log remembers ----


def logged(node: Node) -> list[int]:
    log = node.replica.raft.log
    entries = log.entries(log.first_index, log.last_index, 2**30)
    return [each.revision for entry in entries for each in records_of(entry.payload) if isinstance(each, StateHash)]


def test_a_hash_goes_into_the_log_once_a_majority_has_it():
    world = world_of(right, right, right)
    user = world.user()
    user.perform(("add", LARGE))
    user.perform(("add", "at once"))
    assert logged(world.leader()) == []
    world.run(0.3)
    user.perform(("add", "later"))
    assert logged(world.leader()) == [1]


def test_an_edited_reducer_without_a_new_version_is_caught_when_all_start_again():
    world = world_of(right, right, right)
    user = world.user()
    user.perform(("add", "b"), ("add", LARGE))
    world.run(0.3)
    user.perform(("add", "later"))
    world.run(0.3)
    for label in "abc":
        world.restart(label, app(wrong_from("b")))
    world.until(lambda: diverged(world) == ["a", "b", "c"])
    assert "the state at revision 2 is not the one that the cluster agreed on" in problem(world, "a")


def test_a_node_alone_checks_what_it_folds_again():
    world = world_of(right)
    user = world.user()
    user.perform(("add", "b"), ("add", LARGE))
    world.run(0.1)
    user.perform(("add", "later"))
    world.run(0.2)
    assert logged(world.nodes["a"]) == [2]
    world.restart("a", app(wrong_from("b")))
    world.until(lambda: diverged(world) == ["a"])


# ---- What a reducer must not do ----


def with_time(state: Any, action: Any) -> Any:
    return [] if state is None else [*state, time.perf_counter()]


def with_chance(state: Any, action: Any) -> Any:
    return [] if state is None else [*state, random()]


@pytest.mark.parametrize("reduce", [with_time, with_chance])
def test_a_reducer_that_looks_at_the_clock_or_throws_dice_stops_all_nodes(reduce):
    world = world_of(reduce, reduce, reduce)
    add(world, "a", LARGE)
    world.until(lambda: doubtful(world) == ["a", "b", "c"])
    world.until(lambda: all("is revision 1 (action of 'add')" in problem(world, label) for label in "abc"))


def in_place(state: Any, action: Any) -> Any:
    if state is None:
        return []
    state.append(action["thing"])
    return state


@pytest.mark.parametrize("size", [1, 3])
def test_a_reducer_that_changes_its_state_is_found_out_at_a_hash_point(size):
    world = World(size, app(in_place))
    user = world.user()
    user.perform(("add", LARGE))
    world.run(0.1)
    user.send(user.request(("add", "b")))
    world.until(lambda: len(diverged(world)) == size)
    assert "the reducer or a method changes the state that it is given" in problem(world, "a")


def in_a_vector(state: Any, action: Any) -> Any:
    return pvector() if state is None else state.append(action["thing"])


def in_a_list(state: Any, action: Any) -> Any:
    return [] if state is None else [*state, action["thing"]]


@pytest.mark.parametrize(("reduce", "looks"), [(in_a_list, 2), (in_a_vector, 1)])
def test_a_state_is_hashed_once_more_where_it_could_have_been_changed(monkeypatch, reduce, looks):
    hashed = []
    point_of = hash_points.HashPoint.__init__

    def noting(self, revision, *arguments, **options):
        hashed.append(revision)
        point_of(self, revision, *arguments, **options)

    monkeypatch.setattr(hash_points.HashPoint, "__init__", noting)
    world = World(1, app(reduce))
    user = world.user()
    user.perform(("add", LARGE))
    user.perform(("add", "b"))
    world.run(0.5)
    assert hashed.count(1) == looks


def test_a_state_that_changes_under_its_encoder_does_not_end_the_node(monkeypatch):
    monkeypatch.setattr("conflux.node.readers.SLICE_SECONDS", -1.0)  # one part a turn

    def mutates(state: Any, action: Any) -> Any:
        if state is None:
            return {f"{number}": "x" * 100 for number in range(100_000)}
        state[f"new{len(state)}"] = action["thing"]
        return state

    world = World(1, app(mutates))
    numbers = count()
    user = world.user()
    user.open()
    reader = world.user()
    reader.send(Read(1, Consistency.LOCAL))
    for _ in range(3):
        world.step()
    for _ in range(5):
        user.send(user.request(("add", next(numbers))))
        world.step()
    world.until(lambda: user.got(Answers))
    assert "changed" in reader.wait_for(Refused).message


def test_a_read_that_is_under_way_when_the_node_is_found_wrong_is_refused(monkeypatch):
    monkeypatch.setattr("conflux.node.readers.SLICE_SECONDS", -1.0)  # one part a turn
    world = world_of(right, right, right)
    world.user().perform(*(("add", number) for number in range(1000)))
    world.run(0.2)
    node = world.followers()[0]
    reader = world.user(node)
    reader.send(Read(1, Consistency.LOCAL))
    world.step()
    node.replica.fail(Diverged("found wrong"))
    assert reader.wait_for((Refused, StatePart)) == Refused(1, Code.NOT_READY, "found wrong")


# ---- What it costs ----


def test_an_idle_cluster_says_its_hashes_now_and_then():
    world = world_of(right, right, right)
    world.run(1.0)
    told = []
    for node in world.nodes.values():
        send = node.member.guard._send
        node.member.guard._send = lambda peer, message, send=send: told.append(message) or send(peer, message)
    world.run(10.0)
    assert 3 * 2 * 4 <= len(told) <= 3 * 2 * 6


def test_a_node_whose_disk_is_full_does_not_spin_to_tell_its_hashes():
    world = world_of(right, right, right)
    world.disk("a").is_full = True
    add(world, "b")
    world.run(5.0)
    assert world.nodes["a"].replica.is_stuck
    turns = [world.nodes["a"].wait_s() for _ in range(3) if world.step() is None]
    assert min(turns) > 0


def test_a_state_that_was_changed_by_something_else_than_the_log_is_said_to_be_so():
    world = world_of(right, right, right)
    lead(world, "a")
    add(world, "x")
    replica = world.nodes["c"].replica
    world.until(lambda: replica.machine.revision == 1)
    replica.machine = structs.replace(replica.machine, state=[*replica.machine.state, "flipped"])
    for node in world.nodes.values():
        node.member.guard._clock = count().__next__  # each look at it says that the turn's time is over
    add(world, LARGE)
    world.until(lambda: diverged(world) == ["c"], 20)
    world.until(lambda: "this one was changed by something else" in problem(world, "c"), 20)
