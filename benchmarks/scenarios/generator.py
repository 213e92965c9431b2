"""That the load generator isn't what limits etcd: its own share of a processor, and what a second one adds."""

from __future__ import annotations

from functools import partial

from benchmarks.scenarios.context import Context, Row
from benchmarks.systems.etcd import Etcd

IN_FLIGHT = 256


def generator(context: Context) -> list[Row]:
    """The same number in flight from one process, and from two."""
    rows: list[Row] = []
    for trial in range(1, context.rounds + 1):
        for count in (1, 2):
            rows += context.measured("etcd", partial(_load, context, trial, count))
    return rows


def _load(context: Context, trial: int, count: int) -> Row:
    with context.cluster("etcd", 3) as cluster:
        assert isinstance(cluster, Etcd)
        leader = cluster.leader()
        drivers = [cluster.new_driver(leader) for _ in range(count)]
        for driver in drivers:
            driver.tell("load", in_flight=IN_FLIGHT // count, seconds=context.seconds)
        found = [driver.answer() for driver in drivers]
    per_second = sum(each["per_second"] for each in found)
    share = max(each["generator_cpu_share"] for each in found)
    context.say(f"{count} generators: {per_second:,.0f}/s, each {share:.0%} of a processor")
    row = {"system": "etcd", "trial": trial, "generators": count, "per_second": per_second}
    return row | {"generator_cpu_share": share}
