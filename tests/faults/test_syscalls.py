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

WRITES = ("-y", "-s", "200", "-e", "trace=fdatasync,pwrite64,pwritev,pwritev2,writev,access,faccessat,faccessat2")
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


BY_LMDB = """\
1 access("/conflux-mark/persist/3/abc/7", F_OK) = -1 ENOENT (No such file or directory)
1 writev(22</n1/data.mdb>, [{iov_base="", iov_len=4096}], 1) = 4096
1 fdatasync(22</n1/data.mdb> <unfinished ...>
2 <... futex resumed>) = 0
1 <... fdatasync resumed>) = 0
1 pwrite64(23</n1/data.mdb>, "", 120, 32) = 120
"""
BY_JOURNAL = """\
1 access("/conflux-mark/persist/3/abc/7", F_OK) = -1 ENOENT (No such file or directory)
1 pwrite64(21</n1/journal>, "", 1024, 512) = 1024
1 fdatasync(21</n1/journal> <unfinished ...>
2 <... futex resumed>) = 0
1 <... fdatasync resumed>) = 0
"""
AFTER = """\
1 access("/conflux-mark/persisted", F_OK) = -1 ENOENT (No such file or directory)
1 access("/conflux-mark/accepted/3/7", F_OK) = -1 ENOENT (No such file or directory)
1 access("/conflux-mark/vote/3/abc", F_OK) = -1 ENOENT (No such file or directory)
1 access("/conflux-mark/answer/3/7", F_OK) = -1 ENOENT (No such file or directory)
"""


@pytest.fixture(params=[BY_LMDB, BY_JOURNAL], ids=["LMDB", "journal"])
def good(request: pytest.FixtureRequest) -> list[str]:
    return (str(request.param) + AFTER).splitlines()


def test_a_trace_in_the_right_order_is_accepted(good: list[str]) -> None:
    order = Order(6).read(good)
    assert order.violations == [] and order.counts == {"persist": 1, "accepted": 1, "vote": 1, "answer": 1}


@pytest.mark.parametrize("late", [-3, -2, -1])
def test_what_is_sent_before_the_sync_is_found(good: list[str], late: int) -> None:
    line = good.pop(late)
    persisted = next(place for place, each in enumerate(good) if "persisted" in each)
    for place in range(persisted + 1):
        assert Order(6).read([*good[:place], line, *good[place:]]).violations, (place, line)


@pytest.mark.parametrize("missing", ["fdatasync resumed", "pwrite64"])
def test_a_persist_without_its_sync_or_its_last_write_is_found(good: list[str], missing: str) -> None:
    kept = [line for line in good if missing not in line]
    assert len(kept) == len(good) - 1
    assert Order(6).read(kept).violations


def test_a_journal_that_is_synced_before_it_is_written_is_found(good: list[str]) -> None:
    good[1], good[4] = good[4], good[1]
    assert Order(6).read(good).violations
