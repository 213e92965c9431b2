"""Systems side by side: appends a second and their latencies, by cluster size and calls in flight."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

from benchmarks.figures import ratio, spread
from benchmarks.peers import Missing
from benchmarks.plan import Turn, turns
from benchmarks.processes import WorkerFailed
from benchmarks.systems import SYSTEMS

SETTLE_SECONDS = 0.3


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def compare(
    systems: Sequence[str],
    nodes: Sequence[int],
    in_flight: Sequence[int],
    *,
    rounds: int,
    seconds: float,
    directory: Path,
) -> dict[str, Any]:
    """All turns; `rows` has a row a load, `gaps` what could not be measured and why."""
    limits = {name: SYSTEMS[name].in_flight_max for name in systems}
    rows: list[dict[str, Any]] = []
    gaps: dict[str, str] = {}
    for turn in turns(systems, nodes, in_flight, rounds, limits):
        if turn.system in gaps:
            continue
        try:
            rows += visit(turn, seconds, directory)
        except Missing as missing:
            gaps[turn.system] = str(missing)
            say(f"  left out: {missing}")
        except (WorkerFailed, OSError, AssertionError, SubprocessError) as error:
            say(f"  {turn.system} with {turn.nodes} nodes failed in round {turn.round}: {error}")
            rows.append({**_place(turn), "failed": str(error)})
    return {"rows": rows, "gaps": gaps}


def visit(turn: Turn, seconds: float, directory: Path) -> list[dict[str, Any]]:
    """Start a cluster, load it at each level, check its state, stop it."""
    place = directory / f"{turn.system}-{time.time_ns()}"
    place.mkdir(parents=True)
    cluster = SYSTEMS[turn.system](turn.nodes, place)
    rows = []
    try:
        cluster.start()
        time.sleep(SETTLE_SECONDS)
        for level in turn.in_flight:
            row = {**_place(turn), "in_flight": level, **measure(cluster, level, seconds)}
            rows.append(row)
            say(_line(row))
        checked = cluster.check()
        for row in rows:
            row["state_problems"] = checked["problems"]
        if checked["problems"]:
            say(f"  {turn.system}: WRONG STATE: {'; '.join(checked['problems'])}")
    finally:
        cluster.stop()
        shutil.rmtree(place, ignore_errors=True)
    return rows


def measure(cluster: Any, in_flight: int, seconds: float, **options: Any) -> dict[str, Any]:
    """One load, and what it cost the nodes an action."""
    before, began = cluster.usage(), time.monotonic()
    row: dict[str, Any] = cluster.load(in_flight, seconds, **options)
    after, wall_seconds = cluster.usage(), time.monotonic() - began
    done = max(1, row["attempts"] - row["errors"])
    cpu = after["cpu_seconds"] - before["cpu_seconds"]
    nodes = max(1, len(after["memory_bytes"]))
    row["cpu_us_per_action_all_nodes"] = cpu / done * 1e6
    row["cpu_share_all_nodes"] = cpu / wall_seconds
    row["memory_bytes_max"] = max(after["memory_bytes"], default=0)
    row["disk_bytes_per_action_and_node"] = (after["disk_bytes"] - before["disk_bytes"]) / done / nodes
    return row


def summarize(rows: Sequence[dict[str, Any]], reference: str) -> list[dict[str, Any]]:
    """A row a (nodes, in flight, system): spreads over the rounds, and ratios of the reference to it, by round."""
    cells: dict[tuple[int, int, str], dict[int, dict[str, Any]]] = {}
    for row in rows:
        if "failed" not in row:
            cells.setdefault((row["nodes"], row["in_flight"], row["system"]), {})[row["round"]] = row
    summary = []
    for (nodes, level, system), by_round in cells.items():
        ours = cells.get((nodes, level, reference), {})
        numbers = sorted(by_round)
        entry: dict[str, Any] = {"nodes": nodes, "in_flight": level, "system": system}
        for name in ("per_second", "p50_ms", "p99_ms", "p99.9_ms"):
            values = [_value(by_round[number], name) for number in numbers]
            if known := [value for value in values if value is not None]:
                entry[name] = spread(known).as_json()
        for name in ("per_second", "p50_ms"):
            mine = [_value(ours.get(number), name) for number in numbers]
            theirs = [_value(by_round[number], name) for number in numbers]
            if found := ratio(mine, theirs):
                entry[f"{name}_ratio"] = found.as_json()
        for name in (
            "cpu_us_per_action_all_nodes",
            "cpu_share_all_nodes",
            "generator_cpu_share",
            "memory_bytes_max",
            "disk_bytes_per_action_and_node",
        ):
            values = [by_round[number][name] for number in numbers]
            if known := [value for value in values if value]:  # 0: what runs the nodes can't be asked
                entry[name] = spread(known).as_json()
        entry["wrong"] = sum(bool(row["state_problems"]) for row in by_round.values())
        summary.append(entry)
    return sorted(summary, key=lambda entry: (entry["nodes"], entry["in_flight"]))


def table(summary: Sequence[dict[str, Any]], reference: str) -> str:
    """The summary as text."""
    head = f"{'nodes':>5} {'flying':>6}  {'system':<18} {'per second':>24} {'p50 ms':>9} {'p99 ms':>9}"
    lines = [f"{head}  {'us/action':>9}  {'gen CPU':>7}  {reference} is faster by"]
    for entry in summary:
        cells = [
            f"{entry['nodes']:>5} {entry['in_flight']:>6}  {entry['system']:<18}",
            f"{_range(entry.get('per_second'), 0):>24}",
            f"{_median(entry.get('p50_ms'), 3):>9}",
            f"{_median(entry.get('p99_ms'), 3):>9} ",
            f"{_median(entry.get('cpu_us_per_action_all_nodes'), 1):>9} ",
            f"{_median(entry.get('generator_cpu_share'), 2):>7} ",
            _range(entry.get("per_second_ratio"), 2),
        ]
        if entry["wrong"]:
            cells.append(f"  WRONG STATE in {entry['wrong']} rounds")
        lines.append(" ".join(cells))
    return "\n".join(lines)


def _place(turn: Turn) -> dict[str, Any]:
    return {"round": turn.round, "system": turn.system, "nodes": turn.nodes}


def _value(row: dict[str, Any] | None, name: str) -> float | None:
    if row is None:
        return None
    found: float | None = row["latency_ms"].get(name.removesuffix("_ms")) if name.endswith("_ms") else row[name]
    return found


def _line(row: dict[str, Any]) -> str:
    latency = row["latency_ms"]
    notes = f", {row['errors']} errors {row['first_errors'][:1]}" if row["errors"] else ""
    notes += "" if row["drained"] else ", some were never answered"
    return (
        f"  round {row['round']}  {row['system']:<18} {row['nodes']} nodes, {row['in_flight']:>5} in flight:"
        f" {row['per_second']:>9,.0f}/s  p50 {latency.get('p50', 0):.3f} ms  p99 {latency.get('p99', 0):.3f} ms{notes}"
    )


def _range(values: dict[str, float] | None, digits: int) -> str:
    if values is None:
        return "-"
    return f"{values['median']:,.{digits}f} ({values['low']:,.{digits}f}-{values['high']:,.{digits}f})"


def _median(values: dict[str, float] | None, digits: int) -> str:
    return "-" if values is None else f"{values['median']:,.{digits}f}"
