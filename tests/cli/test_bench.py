"""`conflux bench`: its figures, what it says limits, and a load on a real cluster."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from conflux.cli.bench import histogram_lines
from conflux.cli.bench_limits import Processors, Seen, limit_of, local_pids, sync_latency_ms
from conflux.cli.bench_load import BUCKETS_MS, Job, histogram, percentile, percentiles_ms

# ---- Figures ----


@pytest.mark.parametrize(("percent", "found"), [(50, 50), (99, 99), (99.9, 100), (100, 100), (0.1, 1)])
def test_a_percentile_is_the_value_that_so_many_do_not_exceed(percent: float, found: int):
    assert percentile(range(1, 101), percent) == found


def test_percentiles_are_in_milliseconds_and_unknown_without_a_latency():
    assert percentiles_ms([0.003, 0.001, 0.002])["p50"] == 2.0
    assert set(percentiles_ms([]).values()) == {None}


def test_a_histogram_has_the_buckets_between_the_first_and_the_last_that_are_used():
    assert histogram([0.001, 0.0011, 0.0049]) == [
        {"up_to_ms": 1, "count": 1},
        {"up_to_ms": 2, "count": 1},
        {"up_to_ms": 5, "count": 1},
    ]
    assert histogram([]) == []


def test_what_takes_longer_than_any_bound_is_counted_too():
    assert histogram([BUCKETS_MS[-1] / 1000 + 1]) == [{"up_to_ms": None, "count": 1}]


def test_the_fullest_bucket_has_the_widest_bar():
    narrow, wide = histogram_lines([{"up_to_ms": 1, "count": 1}, {"up_to_ms": None, "count": 99}])
    assert narrow.count("#") == 1 and narrow.split()[2:4] == ["1", "ms"]
    assert wide.count("#") == 40 and wide.endswith(" 99.00%")


def test_calls_without_arguments_bring_a_text_that_is_another_each_time():
    job = Job("append", (), 32)
    (one,), (other,) = job.arguments_of(1), job.arguments_of(2)
    assert len(one) == len(other) == 32 and one != other
    assert Job("stock", ("tea", 1), 32).arguments_of(7) == ("tea", 1)


# ---- What limits ----

IDLE = {
    "in_flight": 64,
    "p50_ms": 10.0,
    "sync_ms": 0.3,
    "round_trip_ms": 0.5,
    "client_cpu_share": 0.2,
    "node_cpu_shares": {"n1": 0.4, "n2": 0.3},
    "machine_cpu_share": 0.5,
    "processors": 2,
}


@pytest.mark.parametrize(
    ("change", "limit", "word"),
    [
        ({}, "load", "64 in flight"),
        ({"machine_cpu_share": 0.97}, "cpu", "35% by its nodes, 10% by this client, 52% by others"),
        ({"node_cpu_shares": {"n1": 0.3, "n2": 0.95}}, "cpu", "node n2 uses 95%"),
        ({"client_cpu_share": 0.9}, "client", "90%"),
        ({"sync_ms": 6.0}, "disk", "6.00 ms of 10.00 ms"),
        ({"round_trip_ms": 7.0}, "network", "7.00 ms of 10.00 ms"),
        ({"sync_ms": None, "round_trip_ms": None, "machine_cpu_share": None, "node_cpu_shares": {}}, "load", "more"),
    ],
)
def test_what_limits_is_what_is_used_up(change: dict[str, object], limit: str, word: str):
    found, why = limit_of(Seen(**{**IDLE, **change}))
    assert found == limit and word in why


def test_a_sync_is_timed_and_leaves_nothing_behind(tmp_path: Path):
    assert sync_latency_ms(tmp_path) is not None
    assert list(tmp_path.iterdir()) == []


def test_where_nothing_can_be_written_no_sync_is_timed(tmp_path: Path):
    assert sync_latency_ms(tmp_path / "missing") is None


def test_only_nodes_of_this_machine_have_processes_here():
    here, nodes = socket.gethostname(), ("n1", "n2", "n3")
    hosts, pids = (here, "elsewhere", here), (10, 11, None)
    rows = [{"label": n, "host": h, "pid": p} for n, h, p in zip(nodes, hosts, pids, strict=True)]
    assert local_pids(rows) == {"n1": 10}


def test_processor_time_is_told_of_those_that_are_still_there():
    processors = Processors({"ours": os.getpid(), "gone": 2**22 + 1})
    own, nodes, _ = processors.shares()
    assert own >= 0 and set(nodes) <= {"ours"}


# ---- The command ----


def test_a_load_on_a_new_cluster(new_cluster):
    cluster = new_cluster(1)
    ran = cluster.run("--json", "bench", "--in-flight", "8", "--seconds", "0.5", "--warm-up", "0.1")
    assert ran.status == 0, ran.err
    found = ran.json
    assert found["committed"] == sum(bucket["count"] for bucket in found["histogram"]) > 0
    assert (found["failed"], found["rejected"], found["first_failure"]) == (0, 0, None)
    state = cluster.run("--json", "state").json
    assert len(state["state"]) == len(set(state["state"])) == state["revision"] >= found["committed"]


def test_a_cluster_that_holds_actions_is_only_loaded_with_yes(new_cluster):
    cluster = new_cluster(1)
    cluster.run("perform", "append", "foo")
    refused = cluster.run("bench", "--seconds", "0.2")
    assert refused.status == 2 and "holds 1 actions" in refused.err
    assert cluster.run("--json", "state").json["state"] == ["foo"]
    ran = cluster.run("bench", "--yes", "--seconds", "0.2", "--warm-up", "0")
    assert ran.status == 0 and "limited by" in ran.out and "committed" in ran.err


def test_a_method_that_is_not_there_ends_the_load_with_its_own_status(cluster):
    ran = cluster.run("bench", "--yes", "nothing-of-the-kind", "--seconds", "0.2", "--warm-up", "0")
    assert (ran.status, ran.out) == (5, "") and "nothing-of-the-kind" in ran.err


def test_rejections_count_as_committed_and_are_told(cluster):
    ran = cluster.run("bench", "--yes", "remove", "nowhere", "--seconds", "0.2", "--warm-up", "0")
    assert ran.status == 0 and "rejected by the method" in ran.out
