"""That the load generator isn't what limits etcd: its own share of a processor, and what a second one adds."""

from __future__ import annotations

from typing import Any

from benchmarks.scenarios.context import Context
from benchmarks.systems.etcd import Etcd

IN_FLIGHT = 256


def generator(context: Context) -> list[dict[str, Any]]:
    """The same number in flight from one process, and from two."""
    rows = []
    for trial in range(1, context.rounds + 1):
        for count in (1, 2):
            with context.cluster("etcd", 3) as cluster:
                assert isinstance(cluster, Etcd)
                leader = cluster.leader()
                drivers = [cluster.new_driver(leader) for _ in range(count)]
                for driver in drivers:
                    driver.tell("load", in_flight=IN_FLIGHT // count, seconds=context.seconds)
                found = [driver.answer() for driver in drivers]
            per_second = sum(each["per_second"] for each in found)
            share = max(each["generator_cpu_share"] for each in found)
            rows.append({"system": "etcd", "trial": trial, "generators": count, "per_second": per_second})
            rows[-1]["generator_cpu_share"] = share
            context.say(f"{count} generators: {per_second:,.0f}/s, each {share:.0%} of a processor")
    return rows
