"""Many watchers: how long until the last of them has an action."""

from __future__ import annotations

from functools import partial

from benchmarks.scenarios.context import Context, Row


def watchers(context: Context) -> list[Row]:
    """Each action is performed when all have the one before."""
    rows: list[Row] = []
    for count in (1, 10, 100):
        rows += context.measured(f"{count} watchers", partial(_watch, context, count))
    return rows


def _watch(context: Context, count: int) -> Row:
    with context.cluster("conflux", 3) as cluster:
        found = cluster.driver().ask("fan_out", watchers=count, actions=200 if context.is_full else 50)
    context.say(f"{count:>3} watchers: the last has it after {found['latency_ms']['p50']:.2f} ms")
    return {"system": "conflux", "nodes": 3, "watchers": count, **found}
