"""Many watchers: how long until the last of them has an action."""

from __future__ import annotations

from typing import Any

from benchmarks.scenarios.context import Context


def watchers(context: Context) -> list[dict[str, Any]]:
    """Each action is performed when all have the one before."""
    rows = []
    for count in (1, 10, 100):
        with context.cluster("conflux", 3) as cluster:
            found = cluster.driver().ask("fan_out", watchers=count, actions=200 if context.is_full else 50)
        rows.append({"system": "conflux", "nodes": 3, "watchers": count, **found})
        context.say(f"{count:>3} watchers: the last has it after {found['latency_ms']['p50']:.2f} ms")
    return rows
