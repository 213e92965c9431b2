"""What a program that embeds a node is told of members, and of what a snapshot stands for; and how it leaves."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest

from conflux import Conflux
from conflux.client.committed import Committed
from conflux.errors import NotReady, OutcomeUnknown
from conflux.node.origin import HERE
from conflux.wire.clients import Change, ChangeMembers
from tests.store.harness import make_app

SECONDS_MAX = 20.0
Nodes = dict[str, Conflux]


@pytest.fixture
def nodes() -> Iterator[Nodes]:
    """Three nodes in memory that have a leader."""
    channel = {"name": "memory", "hub": uuid4().hex}
    made = {label: Conflux(make_app(), id=label, cluster_size=3, channel=channel) for label in "abc"}
    made["a"].perform("add", "x", timeout=SECONDS_MAX)
    yield made
    for node in made.values():
        node.close()


def leader_of(nodes: Nodes) -> str:
    deadline_s = time.monotonic() + SECONDS_MAX
    while time.monotonic() < deadline_s:
        for label, node in nodes.items():
            if node.is_leader():
                return label
        time.sleep(0.01)
    raise AssertionError("nobody leads")


def test_a_change_of_the_members_is_told(nodes):
    told: queue.Queue[Any] = queue.Queue()
    leader = leader_of(nodes)
    gone, other = (label for label in nodes if label != leader)
    nodes[other].on("membership_changed", told.put)
    inner = nodes[leader]
    inner._in_loop(lambda: inner._node.handle(HERE, ChangeMembers(1 << 50, Change.REMOVE, gone)))
    members = told.get(timeout=SECONDS_MAX)
    assert sorted((each["label"], each["standing"]) for each in members) == sorted(
        [(leader, "voter"), (other, "voter")]
    )
    assert all(len(each["id"]) == 32 for each in members)


def test_nobody_waits_at_a_node_that_was_removed(nodes):
    leader = leader_of(nodes)
    gone = nodes[next(label for label in nodes if label != leader)]
    watch = gone.watch(1)
    inner = nodes[leader]
    identity = gone._node.directory.self.identity
    inner._in_loop(lambda: inner._node.handle(HERE, ChangeMembers(1 << 50, Change.REMOVE, identity)))
    while (error := gone.submit("add", "y").exception(SECONDS_MAX)) is None or isinstance(error, OutcomeUnknown):
        pass  # it was a member still
    assert isinstance(error, NotReady) and "was removed" in str(error)
    with pytest.raises(NotReady, match="was removed"):
        gone.get_state("linearizable")
    with pytest.raises(NotReady, match="was removed"):
        while True:
            next(watch)
    assert inner.perform("add", "it goes on", timeout=SECONDS_MAX)


def test_an_installed_snapshot_is_told_as_a_gap_with_its_state(nodes):
    told: queue.Queue[Committed] = queue.Queue()
    node = nodes["b"]
    deadline_s = time.monotonic() + SECONDS_MAX
    while node.status()["node"]["applied_revision"] < 1 and time.monotonic() < deadline_s:
        time.sleep(0.01)  # what was performed is to be no event any more
    node.subscribe(told.put)
    node._in_loop(lambda: node._node.on_installed(node._node.machine))
    gap = told.get(timeout=SECONDS_MAX)
    assert (gap.gap, gap.revision, gap.state) == (True, node.status()["node"]["applied_revision"], node.get_state())


def test_a_leader_that_closes_hands_over_first(nodes):
    leader = leader_of(nodes)
    term = nodes[leader].status()["term"]
    nodes[leader].close()
    others = {label: node for label, node in nodes.items() if label != leader}
    next(iter(others.values())).perform("add", "y", timeout=SECONDS_MAX)
    assert others[leader_of(others)].status()["term"] == term + 1
