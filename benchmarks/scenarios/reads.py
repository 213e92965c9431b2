"""What a read costs, by consistency, by place, and by the size of the state that it brings."""

from __future__ import annotations

from functools import partial

from benchmarks.scenarios.context import Context, Row, must_be_right


def reads(context: Context) -> list[Row]:
    """One read after the other, of the whole state."""
    rows: list[Row] = []
    for system in ("conflux", "conflux-embedded"):
        for length in (10, 10_000):
            for consistency in ("local", "linearizable"):
                rows += context.measured(system, partial(_read, context, system, length, consistency))
    return rows


def _read(context: Context, system: str, length: int, consistency: str) -> Row:
    with context.cluster(system, 3) as cluster:
        cluster.driver().ask("fill", total=length, in_flight=64)
        found = cluster.driver().ask("read", consistency=consistency, seconds=context.seconds)
        must_be_right(cluster)
    context.say(f"{system:<18} {length:>6} elements, {consistency}: {found['per_second']:,.0f}/s")
    return {"system": system, "state_length": length, "consistency": consistency, **found}
