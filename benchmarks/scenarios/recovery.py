"""All nodes killed and started again on long logs; a node that was away catches up; what a log costs in memory and on
disk."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.processes import disk_bytes, resident_bytes
from benchmarks.scenarios.context import Context, Row
from benchmarks.systems.cluster import Cluster, EmbeddedCluster

IN_FLIGHT = 1024
COMPARED = {3: ("conflux", "conflux-embedded", "pysyncobj-tuned", "etcd"), 5: ("conflux", "etcd")}  # by number of nodes
ENTRIES_OF_ROUNDS = 100_000  # measured in each round; more take too long
BACK_SECONDS_MAX = 300.0
LOOK_SECONDS = 0.01


def recovery(context: Context) -> list[Row]:
    """kill -9 of all, then: seconds from starting the processes to a leader with all of the state."""
    rows: list[Row] = []
    for nodes, entries in ((3, 100_000), (5, 100_000), (3, 1_000_000)) if context.is_full else ((3, 100_000),):
        for _ in range(context.rounds if entries == ENTRIES_OF_ROUNDS else 1):
            for system in COMPARED[nodes]:
                measure = partial(_recover, context, system, nodes, entries)
                rows += context.measured(f"{system}, {nodes} nodes, {entries:,} entries", measure)
    return rows


def _recover(context: Context, system: str, nodes: int, entries: int) -> Row:
    with context.cluster(system, nodes) as cluster:
        row = {"system": system, "nodes": nodes, "entries": entries, **_kill_all(cluster, entries)}
    context.say(f"{system:<18} {nodes} nodes, {entries:>9,} entries: back after {row['seconds']:.2f} s")
    return row


def catch_up(context: Context) -> list[Row]:
    """A follower that missed entries is started again: seconds until it has them all."""
    rows: list[Row] = []
    for entries in (10_000, 100_000, 1_000_000) if context.is_full else (10_000, 100_000):
        rows += context.measured(f"{entries} entries", partial(_return, context, entries))
    return rows


def _return(context: Context, entries: int) -> Row:
    with context.cluster("conflux-embedded", 3) as cluster:
        assert isinstance(cluster, EmbeddedCluster)
        row = {"system": cluster.name, "nodes": 3, "entries": entries, **_miss(cluster, entries)}
    context.say(f"{entries:>9,} entries missed: level after {row['seconds']:.2f} s")
    return row


def _kill_all(cluster: Cluster, entries: int) -> Row:
    memory_before = max(map(resident_bytes, cluster.node_pids()))
    disk_before = disk_bytes(cluster.directory)
    filled = _fill(cluster, entries)
    memory_after = max(map(resident_bytes, cluster.node_pids()))
    disk = (disk_bytes(cluster.directory) - disk_before) / entries / cluster.nodes
    length = cluster.length()
    cluster.kill_all()
    began = time.monotonic()
    cluster.start_again()
    _await_length(cluster, length)
    return {
        "seconds": time.monotonic() - began,
        "fill_per_second": filled["per_second"],
        "memory_bytes_idle": memory_before,
        "memory_bytes_filled": memory_after,
        "memory_bytes_recovered": max(map(resident_bytes, cluster.node_pids())),
        "disk_bytes_per_action_and_node": disk,
    }


def _miss(cluster: EmbeddedCluster, entries: int) -> Row:
    away = cluster.followers()[0]
    number = cluster.workers.index(away)
    away.kill()
    _fill(cluster, entries)
    length = cluster.length()
    began = time.monotonic()
    cluster.start_again()
    back = cluster.workers[number]
    while back.ask("length")["length"] < length:
        time.sleep(LOOK_SECONDS)
    return {"seconds": time.monotonic() - began}


def _fill(cluster: Cluster, entries: int) -> Row:
    """So many appends, and a check that all are there."""
    filled = cluster.driver().ask("fill", total=entries, in_flight=IN_FLIGHT, timeout=700)
    if problems := cluster.check()["problems"]:
        raise AssertionError(f"{cluster.name}: {'; '.join(problems)}")
    return filled


def _await_length(cluster: Cluster, length: int) -> None:
    deadline = time.monotonic() + BACK_SECONDS_MAX
    while (found := cluster.length()) < length:
        if time.monotonic() > deadline:
            raise AssertionError(f"{cluster.name}: {found} of {length} entries came back")
        time.sleep(LOOK_SECONDS)
