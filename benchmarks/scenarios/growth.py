"""How throughput changes with the number of nodes, the size of an action, and the size of the state."""

from __future__ import annotations

from functools import partial

from benchmarks.scenarios.context import Context, Row, must_be_right
from benchmarks.throughput import measure

IN_FLIGHT = 256
ACTION_BYTES = (16, 256, 4096, 65_536)
LARGE_BYTES, LARGE_IN_FLIGHT = 65_536, 64


def cluster_sizes(context: Context) -> list[Row]:
    """The same load on 1, 3, 5 and 7 nodes, Conflux and etcd in turn."""
    rows: list[Row] = []
    for trial in range(1, (context.rounds if context.is_full else 1) + 1):
        for nodes in (1, 3, 5, 7):
            for system in ("conflux", "etcd"):
                rows += context.measured(system, partial(_load, context, system, nodes, trial))
    return rows


def action_sizes(context: Context) -> list[Row]:
    """The same number in flight, from small actions to large ones, Conflux and etcd in turn."""
    rows: list[Row] = []
    for trial in range(1, (context.rounds if context.is_full else 1) + 1):
        for size in ACTION_BYTES:
            for system in ("conflux", "etcd"):
                rows += context.measured(system, partial(_load, context, system, 3, trial, size))
    return rows


def state_sizes(context: Context) -> list[Row]:
    """The same load on a state that holds more and more."""
    rows: list[Row] = []
    for wanted in (10, 10_000, 1_000_000) if context.is_full else (10, 10_000, 100_000):
        rows += context.measured(f"{wanted} elements", partial(_load_state, context, wanted))
    return rows


def _load(context: Context, system: str, nodes: int, trial: int, size: int = 32) -> Row:
    in_flight = IN_FLIGHT if size < LARGE_BYTES else LARGE_IN_FLIGHT
    row = {"system": system, "nodes": nodes, "trial": trial, "action_bytes": size, "in_flight": in_flight}
    with context.cluster(system, nodes) as cluster:
        row |= measure(cluster, in_flight, context.seconds, size_bytes=size)
        must_be_right(cluster)
    _tell(context, f"{nodes} nodes, {size} bytes", row)
    return row


def _load_state(context: Context, length: int) -> Row:
    with context.cluster("conflux-embedded", 3) as cluster:
        cluster.driver().ask("fill", total=length, in_flight=1024, timeout=700)
        row = {"system": cluster.name, "nodes": 3, "state_length": length, "in_flight": IN_FLIGHT}
        row |= measure(cluster, IN_FLIGHT, context.seconds)
        must_be_right(cluster)
    _tell(context, f"{length} elements", row)
    return row


def _tell(context: Context, what: str, row: Row) -> None:
    context.say(f"{what:<20} {row['system']:<18} {row['per_second']:>9,.0f}/s  p99 {row['latency_ms']['p99']:.2f} ms")
