"""How throughput changes with the number of nodes, the size of an action, and the size of the state."""

from __future__ import annotations

from typing import Any

from benchmarks.scenarios.context import Context, must_be_right
from benchmarks.throughput import measure

IN_FLIGHT = 256
ACTION_BYTES = (16, 256, 4096, 65_536)


def cluster_sizes(context: Context) -> list[dict[str, Any]]:
    """The same load on 1, 3, 5 and 7 nodes, Conflux and etcd in turn."""
    rows = []
    for trial in range(1, (context.rounds if context.is_full else 1) + 1):
        for nodes in (1, 3, 5, 7):
            for system in ("conflux", "etcd"):
                with context.cluster(system, nodes) as cluster:
                    row = {"system": system, "nodes": nodes, "trial": trial, "in_flight": IN_FLIGHT}
                    rows.append({**row, **measure(cluster, IN_FLIGHT, context.seconds)})
                    must_be_right(cluster)
                _tell(context, f"{nodes} nodes", rows[-1])
    return rows


def action_sizes(context: Context) -> list[dict[str, Any]]:
    """The same number in flight, from small actions to large ones, Conflux and etcd in turn."""
    rows = []
    for trial in range(1, (context.rounds if context.is_full else 1) + 1):
        for size in ACTION_BYTES:
            for system in ("conflux", "etcd"):
                with context.cluster(system, 3) as cluster:
                    in_flight = IN_FLIGHT if size < 65_536 else 64
                    row = {"system": system, "nodes": 3, "trial": trial, "action_bytes": size, "in_flight": in_flight}
                    rows.append({**row, **measure(cluster, in_flight, context.seconds, size_bytes=size)})
                    must_be_right(cluster)
                _tell(context, f"{size} bytes", rows[-1])
    return rows


def state_sizes(context: Context) -> list[dict[str, Any]]:
    """The same load on a state that holds more and more."""
    rows = []
    with context.cluster("conflux-embedded", 3) as cluster:
        for wanted in (10, 10_000, 1_000_000) if context.is_full else (10, 10_000, 100_000):
            if (missing := wanted - cluster.length()) > 0:
                cluster.driver().ask("fill", total=missing, in_flight=1024, timeout=700)
            row = {"system": cluster.name, "nodes": 3, "state_length": cluster.length(), "in_flight": IN_FLIGHT}
            rows.append({**row, **measure(cluster, IN_FLIGHT, context.seconds)})
            _tell(context, f"{row['state_length']} elements", rows[-1])
        must_be_right(cluster)
    return rows


def _tell(context: Context, what: str, row: dict[str, Any]) -> None:
    context.say(f"{what:<18} {row['system']:<18} {row['per_second']:>9,.0f}/s  p99 {row['latency_ms']['p99']:.2f} ms")
