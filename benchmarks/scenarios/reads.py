"""What a read costs, by consistency, by place, and by the size of the state that it brings."""

from __future__ import annotations

from typing import Any

from benchmarks.scenarios.context import Context, must_be_right

CONSISTENCIES = ("local", "linearizable")


def reads(context: Context) -> list[dict[str, Any]]:
    """One read after the other, of the whole state."""
    rows = []
    for system in ("conflux", "conflux-embedded"):
        with context.cluster(system, 3) as cluster:
            length = 0
            for wanted in (10, 10_000):
                cluster.driver().ask("fill", total=wanted - length, in_flight=64)
                length = wanted
                for consistency in CONSISTENCIES:
                    found = cluster.driver().ask("read", consistency=consistency, seconds=context.seconds)
                    rows.append({"system": system, "state_length": length, "consistency": consistency, **found})
                    context.say(f"{system:<18} {length:>6} elements, {consistency}: {found['per_second']:,.0f}/s")
            must_be_right(cluster)
    return rows
