"""Writes docs/performance.md and its plots from the JSON that `benchmarks.run --output` wrote.

python -m benchmarks.report [benchmarks/results.json]
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.figures import spread
from benchmarks.plot import Points, line_plot
from benchmarks.run import PARTS, REFERENCES
from benchmarks.systems import SYSTEMS

RESULTS = Path(__file__).parent / "results.json"
PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
PLOTS = PAGE.parent / "performance"
COMPARED = (
    *("in flight", "system", "durability", "committed", "p50", "p99", "p99.9"),
    *("CPU of all nodes, µs an action", "generator's CPU"),
)
RATIOS = ("per_second_ratio", "p50_ms_ratio")
BUSY_SHARE = 0.1  # of the processors, in the second before a part
STOLEN_SHARE = 0.01
BUSY_LOAD = 1.1  # a processor, in the minute before a part; the part before it may leave one behind

Row = dict[str, Any]
Show = Callable[[float], str]

INTRODUCTION = """<!-- Written by `python -m benchmarks.report`: change that, or measure again. -->
# Performance

What Conflux reaches, beside other systems, measured in turn (A, B, A, B, …) in the same run on the same machine: each
cluster as separate processes on loopback, with sessions, CURVE, and every node's log synced before an answer. The job
is the same for all: append a text of 32 bytes; it counts once the caller has been told that it is committed. Absolute
figures hold for one machine and day: **compare ratios, and mind their spread**, `median (least to greatest)` of the
rounds. At the end of each visit the state was read, and held each acknowledged action exactly once; where it did not,
the table says so.

    make bench           # about five minutes: side by side, fail-over, recovery, syncs
    make bench-full      # everything, long logs and large states; writes this page
    make bench-micro     # codec, core, store, storage, against a baseline
    conflux bench        # your own cluster, and what limits it

*Outside* means: the load comes from a client process, over TCP. *Inside*: the system is a library, and the load is made
within the leader's process. `data-path` is no system but a yardstick: what a Python process reaches that replicates and
syncs, and does nothing else (`benchmarks/workers/data_path.py`).
"""


def milliseconds(value: float) -> str:
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"


def seconds(value: float) -> str:
    return f"{value:.2f} s"


def rate(value: float) -> str:
    return f"{value:,.0f}/s"


def megabytes(value: float) -> str:
    return f"{value / 1e6:,.0f} MB"


def plain(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def times(value: float) -> str:
    return f"{value:.2f} ×"


@dataclass(frozen=True)
class Table:
    """How a scenario's rows are shown: rows that agree in `keys` are one line, with the spread of `values`."""

    title: str
    text: str
    keys: dict[str, str]
    values: dict[str, tuple[str, Show]]


SYSTEM = {"system": "system"}
LOADED: dict[str, tuple[str, Show]] = {
    "per_second": ("committed", rate),
    "latency_ms.p50": ("p50", milliseconds),
    "latency_ms.p99": ("p99", milliseconds),
}
TABLES = {
    "failover": Table(
        "Fail-over",
        "`kill -9` of the leader under 200 calls a second, default time-outs: how long until the next commit.",
        {**SYSTEM, "nodes": "nodes"},
        {"outage_seconds": ("next commit after", seconds)},
    ),
    "recovery": Table(
        "Recovery, memory, disk",
        "All nodes killed with `kill -9` and started again: how long until a leader has all of the state. PySyncObj "
        "never synced what it reads. Memory is that of the largest node.",
        {**SYSTEM, "nodes": "nodes", "entries": "entries"},
        {
            "seconds": ("back after", seconds),
            "memory_bytes_idle": ("memory, idle", megabytes),
            "memory_bytes_filled": ("filled", megabytes),
            "memory_bytes_recovered": ("recovered", megabytes),
            "disk_bytes_per_action_and_node": ("disk, bytes an action and node", plain),
        },
    ),
    "catch-up": Table(
        "Catch-up",
        "A follower that missed entries is started again: how long until it has them, its start included.",
        {"entries": "entries missed"},
        {"seconds": ("level after", seconds)},
    ),
    "reads": Table(
        "Reads",
        "One read of the whole state after the other.",
        {**SYSTEM, "state_length": "elements", "consistency": "consistency"},
        {
            "per_second": ("reads", rate),
            "latency_ms.p50": ("p50", milliseconds),
            "latency_ms.p99": ("p99", milliseconds),
            "reader_cpu_us": ("reader's CPU, µs", plain),
        },
    ),
    "watchers": Table(
        "Watchers",
        "Actions one by one: how long until the caller has its answer, and until the last watcher has the action.",
        {"watchers": "watchers"},
        {
            "answer_ms.p50": ("answer, p50", milliseconds),
            "latency_ms.p50": ("last watcher, p50", milliseconds),
            "latency_ms.p99": ("p99", milliseconds),
        },
    ),
    "start-up": Table(
        "Start-up",
        "From starting the processes of a new cluster to a leader. `conflux` is the command `conflux start --detach`.",
        {**SYSTEM, "nodes": "nodes"},
        {"seconds": ("serves after", seconds)},
    ),
    "cluster-sizes": Table(
        "By the number of nodes", "256 in flight from outside.", {**SYSTEM, "nodes": "nodes"}, LOADED
    ),
    "action-sizes": Table(
        "By the size of an action",
        "256 in flight from outside; 64 of the largest.",
        {**SYSTEM, "action_bytes": "bytes"},
        LOADED,
    ),
    "state-sizes": Table(
        "By the size of the state",
        "256 in flight from inside, on a list that holds so many elements already.",
        {"state_length": "elements"},
        {**LOADED, "memory_bytes_max": ("memory of the largest node", megabytes)},
    ),
    "syncs": Table(
        "That syncs happen",
        "One action in flight, and `strace -c` on each node: fdatasync, fsync and msync of all nodes by acknowledged "
        "action. Three nodes need at least two.",
        SYSTEM,
        {"acknowledged": ("acknowledged", plain), "syncs_per_action": ("syncs an action, all nodes", plain)},
    ),
    "generator": Table(
        "That the load generator isn't what limits etcd",
        "256 in flight in all, from one process and from two. It speaks HTTP/2 with headers made once "
        "(`benchmarks/workers/grpc.py`).",
        {"generators": "generators"},
        {"per_second": ("committed", rate), "generator_cpu_share": ("share of a processor, each", plain)},
    ),
}


def page(results: dict[str, Any]) -> str:
    """The whole page."""
    lines = [INTRODUCTION, *machines(results)]
    for part in PARTS:
        if part in results:
            lines += side_by_side(part, results[part]) if part in REFERENCES else scenario(part, results[part])
    if missing := [part for part in PARTS if part not in results]:
        lines += ["## What is missing", "", f"Not measured in this run: {', '.join(missing)}.", ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def machines(results: dict[str, Any]) -> Iterator[str]:
    """What it was measured on."""
    seen = [found["machine"] for found in results.values()]
    first = seen[0]
    sync = spread([machine["fdatasync_ms"]["p50"] for machine in seen])
    yield "## The machine"
    yield ""
    yield f"{first['processors']} processors, {first['system']}, Python {first['python']}, {first['file_system']};"
    commits = ", ".join(dict.fromkeys(machine["commit"] for machine in seen))
    yield f"measured on {first['time'][:10]}, at commit {commits}."
    yield f"fdatasync of one block: p50 {shown(sync.as_json(), milliseconds)}."
    yield from busy_parts(results)
    yield from robbed_parts(results)
    yield ""


def busy_parts(results: dict[str, Any]) -> Iterator[str]:
    """Before which parts the machine had other things to do, or may have had."""
    known = {part: share for part, found in results.items() if (share := found["machine"].get("busy")) is not None}
    if busy := {part: share for part, share in known.items() if share > BUSY_SHARE}:
        yield f"**The machine was busy with other work** before these parts: {', '.join(busy)}"
        yield f"({min(busy.values()):.0%} to {max(busy.values()):.0%} of its processors). Their figures are lower,"
        yield "latencies higher, and ratios less to be trusted than on a quiet one: who has more threads gets more of"
        yield "the processors. The processor time of an action holds best."
    loads = {part: found["machine"]["load_average"] for part, found in results.items() if part not in known}
    busy_load = BUSY_LOAD * next(iter(results.values()))["machine"]["processors"]
    if high := {part: load for part, load in loads.items() if load > busy_load}:
        yield f"The load average was {min(high.values()):.1f} to {max(high.values()):.1f} before these parts, from"
        yield f"other work or from the part before: {', '.join(high)}."


def robbed_parts(results: dict[str, Any]) -> Iterator[str]:
    """In which parts other machines on the same host were given this one's processors."""
    shares = {part: found["machine"].get("stolen") or 0.0 for part, found in results.items()}
    if robbed := {part: share for part, share in shares.items() if share > STOLEN_SHARE}:
        named = ", ".join(f"{part} {share:.0%}" for part, share in robbed.items())
        yield f"Of the time in which it had something to do, the host gave others this share: {named}."


def side_by_side(part: str, found: dict[str, Any]) -> Iterator[str]:
    reference = REFERENCES[part]
    yield f"## Side by side, from {part}"
    yield ""
    for nodes in sorted({entry["nodes"] for entry in found["summary"]}):
        entries = [entry for entry in found["summary"] if entry["nodes"] == nodes]
        yield f"### {nodes} nodes, from {part}"
        yield ""
        yield f"![appends a second by calls in flight](performance/{part}-{nodes}.svg)"
        yield ""
        yield from rows_of(
            [*COMPARED, f"`{reference}` is faster by", "its p50 against"],
            [comparison(entry) for entry in entries],
        )
    yield from gaps(found)


def comparison(entry: Row) -> list[str]:
    wrong = " **wrong state**" if entry["wrong"] else ""
    return [
        str(entry["in_flight"]),
        f"{entry['system']}{wrong}",
        SYSTEMS[entry["system"]].durability,
        shown(entry.get("per_second"), rate),
        *(shown(entry.get(f"{name}_ms"), milliseconds, short=True) for name in ("p50", "p99", "p99.9")),
        shown(entry.get("cpu_us_per_action_all_nodes"), plain, short=True),
        shown(entry.get("generator_cpu_share"), lambda share: f"{share:.0%}", short=True),
        *("-" if entry["system"] in REFERENCES.values() else shown(entry.get(name), times) for name in RATIOS),
    ]


def scenario(part: str, found: dict[str, Any]) -> Iterator[str]:
    table = TABLES[part]
    yield f"## {table.title}"
    yield ""
    yield table.text
    yield ""
    if found["rows"]:
        yield from rows_of(
            [*table.keys.values(), *(head for head, _ in table.values.values())], grouped(table, found["rows"])
        )
    yield from gaps(found)


def grouped(table: Table, rows: Sequence[Row]) -> list[list[str]]:
    """A line for each combination of keys, in the order of their first row."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in table.keys), []).append(row)
    lines = []
    for keys, members in groups.items():
        cells = [f"{key:,}" if isinstance(key, int) else str(key) for key in keys]
        for name, (_, show) in table.values.items():
            cells.append(shown(spread([value_of(row, name) for row in members]).as_json(), show))
        lines.append(cells)
    return lines


def value_of(row: Row, name: str) -> float:
    """A field, or one within a field: `latency_ms.p50`."""
    found: Any = row
    for part in name.split(".", 1):
        found = found[part]
    return float(found)


def shown(values: dict[str, float] | None, show: Show, *, short: bool = False) -> str:
    if values is None:
        return "-"
    median = show(values["median"])
    if short or values["runs"] == 1:
        return median
    return f"{median} ({show(values['low'])} to {show(values['high'])})"


def rows_of(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def gaps(found: dict[str, Any]) -> Iterator[str]:
    """What could not be measured, by name."""
    for reason in found["gaps"].values():
        yield f"Left out: {reason}."
        yield ""
    failed = [row for row in found["rows"] if "failed" in row]
    for row in failed:
        yield f"Failed in round {row['round']}: {row['system']} with {row['nodes']} nodes: {row['failed']}."
        yield ""


def plots(results: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(file name, SVG)."""
    for part in REFERENCES:
        summary = results.get(part, {}).get("summary", [])
        for nodes in sorted({entry["nodes"] for entry in summary}):
            lines: dict[str, Points] = {}
            for name in SYSTEMS:
                points = [
                    (entry["in_flight"], entry["per_second"]["median"])
                    for entry in summary
                    if (entry["system"], entry["nodes"]) == (name, nodes) and entry["per_second"]["median"] > 0
                ]
                if points:
                    lines[name] = points
            title = f"{nodes} nodes, load from {part}: committed appends a second"
            yield f"{part}-{nodes}.svg", line_plot(title, "calls in flight", "", lines)


def main() -> None:
    source = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    results = json.loads(source.read_text("utf-8"))
    PLOTS.mkdir(exist_ok=True)
    for name, text in plots(results):
        (PLOTS / name).write_text(text, "utf-8")
    PAGE.write_text(page(results), "utf-8")


if __name__ == "__main__":
    main()
