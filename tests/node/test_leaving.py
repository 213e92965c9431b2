"""A leader that is stopped hands over first: no election time-out, no call that fails."""

from __future__ import annotations

from conflux.node.leaving import HAND_OVER_SECONDS_MAX, hand_over_before_leaving
from conflux.node.node import Node
from conflux.wire.clients import Answers, LeaderIs, Refused
from tests.node.harness import World, label_of


def leave(world: World, node: Node) -> float:
    """Let a node leave; gives the seconds of the world's time that it took."""
    began_s = world.clock.now_s
    hand_over_before_leaving(node, world.step, lambda: False)
    return world.clock.now_s - began_s


def test_another_node_leads_before_the_leader_is_gone():
    world = World(3)
    old = world.leader()
    term = old.replica.raft.term
    assert leave(world, old) < 0.2
    world.stop(label_of(old))
    assert world.leader().replica.raft.term == term + 1


def test_calls_that_are_on_their_way_are_committed_all_the_same():
    world = World(3)
    old = world.leader()
    user = world.user(old)
    user.open()
    request = user.request(("add", "y"))
    world.step()
    user.send(request)
    leave(world, old)
    world.stop(label_of(old))
    assert user.got((LeaderIs, Answers, Refused))  # it isn't left without a word
    user.node = world.leader()
    user.send(request)
    world.until(lambda: list(world.leader().machine.state) == ["y"])


def test_a_follower_leaves_at_once():
    world = World(3)
    term = world.leader().replica.raft.term
    assert leave(world, world.followers()[0]) == 0.0
    assert world.leader().replica.raft.term == term


def test_who_is_alone_leaves_at_once():
    world = World(1)
    assert leave(world, world.leader()) == 0.0


def test_where_too_few_are_left_nobody_is_waited_for():
    world = World(3)
    leader = world.leader()
    for node in world.followers():
        world.stop(label_of(node))
    world.until(
        lambda: not leader.is_leading or all(p.silence > 60 for p in leader.replica.raft.role.progress.values())
    )
    assert leave(world, leader) == 0.0


def test_a_successor_that_dies_is_not_waited_for_long():
    world = World(3)
    leader = world.leader()
    for node in world.followers():
        world.stop(label_of(node))  # just now: the leader still counts on them
    assert leave(world, leader) <= HAND_OVER_SECONDS_MAX + 0.01


def test_leaving_is_cut_short_on_demand():
    world = World(3)
    leader = world.leader()
    hand_over_before_leaving(leader, world.step, lambda: True)
    assert leader.is_leading


def test_a_node_that_has_not_joined_leaves_at_once():
    world = World(1)
    world.leader()
    assert leave(world, world.join("b")) == 0.0
