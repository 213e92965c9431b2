"""C21, A2, A10, A11: no vote, reply to an append or answer leaves before the sync of what it depends on has returned.

Told in two ways. From inside: a trace of the system calls, into which the node's sends are marked. From outside: the
syncs are made slow, and no answer may come sooner than that.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults import strace
from tests.faults.budget import needs_time
from tests.faults.cluster import HERE, FaultCluster
from tests.faults.order import Order
from tests.faults.strace import Tracer, slow

pytestmark = pytest.mark.skipif(strace.why_not() is not None, reason=str(strace.why_not()))

WRITES = ("-s", "200", "-e", "trace=fdatasync,pwrite64,pwritev,pwritev2,writev,access,faccessat,faccessat2")
CALM = ("--election-timeout", "3000:5000", "--heartbeat-interval", "200")
DELAY_SECONDS = 0.25


def marked() -> dict[str, str]:
    path = os.pathsep.join([str(HERE / "failpoints"), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, "CONFLUX_MARKS": "1"}


def test_no_reply_vote_or_answer_leaves_before_the_sync_that_it_depends_on(
    make_cluster: Callable[..., FaultCluster], tmp_path: Path
) -> None:
    cluster = make_cluster(3, **marked())
    leader, (follower, other) = cluster.leader(), cluster.followers()
    before = {label: row["last_index"] for label, row in cluster.await_equal().items()}
    with (
        Tracer(cluster, leader, tmp_path / "leader", *WRITES) as of_leader,
        Tracer(cluster, follower, tmp_path / "follower", *WRITES) as of_follower,
    ):
        for number in range(30):
            cluster.client.perform("append", f"one-{number}", timeout=20)
        with cluster.load(clients=3) as load:
            load.await_more(60)
        for target in (follower, other, follower):
            cluster.make_leader(target)
            cluster.client.perform("append", f"as {target} {time.monotonic()}", timeout=20)
    orders = {
        label: Order(before[label]).read(tracer.lines())
        for label, tracer in ((leader, of_leader), (follower, of_follower))
    }
    found = [violation for order in orders.values() for violation in order.violations]
    assert not found, found[:5]
    assert orders[leader].counts["answer"] >= 30 and orders[follower].counts["accepted"] >= 30
    assert all(order.counts["vote"] >= 1 and order.counts["persist"] >= 30 for order in orders.values()), orders


def test_an_append_takes_as_long_as_the_syncs_of_the_followers(
    make_cluster: Callable[..., FaultCluster], tmp_path: Path
) -> None:
    cluster = make_cluster(3, *CALM)
    one, two = cluster.followers()
    cluster.client.perform("append", "first", timeout=20)
    with (
        Tracer(cluster, one, tmp_path / "one", *slow("fdatasync", DELAY_SECONDS)),
        Tracer(cluster, two, tmp_path / "two", *slow("fdatasync", DELAY_SECONDS)),
    ):
        assert min(seconds_of_appends(cluster)) >= DELAY_SECONDS


@pytest.mark.parametrize("size", [1, pytest.param(2, marks=needs_time)])
def test_an_append_takes_as_long_as_the_sync_of_a_leader_whose_vote_it_needs(
    size: int, make_cluster: Callable[..., FaultCluster], tmp_path: Path
) -> None:
    cluster = make_cluster(size, *CALM)
    cluster.client.perform("append", "first", timeout=20)
    with Tracer(cluster, cluster.leader(), tmp_path / "leader", *slow("fdatasync", DELAY_SECONDS)):
        assert min(seconds_of_appends(cluster)) >= DELAY_SECONDS


def seconds_of_appends(cluster: FaultCluster) -> list[float]:
    found = []
    for number in range(4):
        began_s = time.monotonic()
        cluster.client.perform("append", f"slow-{number}", timeout=30)
        found.append(time.monotonic() - began_s)
    return found


GOOD = """\
1 access("/conflux-mark/persist/3/abc/7", F_OK) = -1 ENOENT (No such file or directory)
1 writev(22, [{iov_base="", iov_len=4096}], 1) = 4096
1 fdatasync(22 <unfinished ...>
2 <... futex resumed>) = 0
1 <... fdatasync resumed>) = 0
1 pwrite64(23, "", 120, 32) = 120
1 access("/conflux-mark/persisted", F_OK) = -1 ENOENT (No such file or directory)
1 access("/conflux-mark/accepted/3/7", F_OK) = -1 ENOENT (No such file or directory)
1 access("/conflux-mark/vote/3/abc", F_OK) = -1 ENOENT (No such file or directory)
1 access("/conflux-mark/answer/3/7", F_OK) = -1 ENOENT (No such file or directory)
""".splitlines()


def test_a_trace_in_the_right_order_is_accepted() -> None:
    order = Order(6).read(GOOD)
    assert order.violations == [] and order.counts == {"persist": 1, "accepted": 1, "vote": 1, "answer": 1}


@pytest.mark.parametrize("late", [7, 8, 9])
def test_what_is_sent_before_the_sync_is_found(late: int) -> None:
    for place in range(late if late == 8 else 7):
        lines = [*GOOD[:late], *GOOD[late + 1 :]]
        lines.insert(place, GOOD[late])
        if place < 7:
            assert Order(6).read(lines).violations, (place, GOOD[late])


@pytest.mark.parametrize("missing", [4, 5])
def test_a_persist_without_its_sync_is_found(missing: int) -> None:
    assert Order(6).read([*GOOD[:missing], *GOOD[missing + 1 :]]).violations
