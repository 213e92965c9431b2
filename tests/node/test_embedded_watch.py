"""`Conflux.watch`: each committed action once, in order, wherever the node stands."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice

import pytest

import conflux
from conflux.errors import Closed, OptionsError
from tests.node.test_embedded import SECONDS_MAX, Open, follower_of, leader_of, perform, until


@pytest.fixture
def open_() -> Iterator[Open]:
    made = Open()
    yield made
    made.close()


def things(watch: Iterator[conflux.Committed], count: int) -> list[tuple[int | None, str]]:
    return [(each.revision, each.action["thing"]) for each in islice(watch, count)]


def take_snapshot(node: conflux.Conflux) -> None:
    taken = threading.Event()
    snapshots = node._node.member.snapshots
    assert snapshots is not None
    node._caller.run_soon(lambda: snapshots.snapshotter.take_now(lambda *_: taken.set()))
    assert taken.wait(SECONDS_MAX)


def test_a_watch_tells_what_was_and_what_comes_on_the_leader_and_on_a_follower(open_: Open):
    nodes = open_.cluster(3)
    for thing in ("a", "b"):
        perform(nodes[0], "append", thing)
    watches = [node.watch(1) for node in nodes]
    perform(nodes[1], "append", "c")
    assert [things(watch, 3) for watch in watches] == [[(1, "a"), (2, "b"), (3, "c")]] * 3


def test_a_watch_from_now_on_begins_where_it_is_called(open_: Open):
    (node,) = open_.cluster(1)
    perform(node, "append", "before")
    watch = node.watch()
    perform(node, "append", "after")
    assert things(watch, 1) == [(2, "after")]


def test_a_watch_goes_on_under_the_next_leader(open_: Open):
    nodes = open_.cluster(3)
    node = follower_of(nodes)
    watch = node.watch(1)
    perform(node, "append", "a")
    leader = leader_of(nodes)
    leader.close()
    perform(node, "append", "b")
    assert things(watch, 2) == [(1, "a"), (2, "b")]


def test_what_is_cut_away_is_a_gap_with_the_state_that_stands_for_it(open_: Open, tmp_path):
    (node,) = open_.cluster(1, data_dir=tmp_path)
    for _ in range(2):  # the log is cut at the older of two snapshots
        for thing in ("a", "b", "c"):
            perform(node, "append", thing)
        take_snapshot(node)
    until(lambda: (node.status()["node"]["first_index"] or 1) > 1)
    watch = node.watch(1)
    gap = next(watch)
    assert gap.gap and gap.revision == 6 and len(gap.state) == 6
    perform(node, "append", "next")
    assert things(watch, 1) == [(7, "next")]


def test_a_watch_ends_where_its_node_is_closed(open_: Open):
    (node,) = open_.cluster(1)
    perform(node, "append", "a")
    told: list[object] = []
    reader = threading.Thread(target=lambda: told.extend(node.watch(1)))
    reader.start()
    until(reader.is_alive)
    node.close()
    reader.join(SECONDS_MAX)
    assert not reader.is_alive()
    with pytest.raises(Closed):
        node.watch()


def test_a_watch_that_nobody_holds_any_more_ends(open_: Open):
    (node,) = open_.cluster(1)
    perform(node, "append", "a")
    watch = node.watch(1)
    next(watch)
    watchers = node._node.member.watchers
    assert watchers is not None and not watchers.is_empty
    del watch
    until(lambda: watchers.is_empty)


def test_what_is_no_revision_is_refused(open_: Open):
    (node,) = open_.cluster(1)
    with pytest.raises(OptionsError, match="a revision is a whole number"):
        node.watch(-1)
