"""The picture of a cluster for people: `conflux status`, and the live view of `conflux start`."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from conflux.cli.identify import shortened

if TYPE_CHECKING:
    from rich.table import Table

Status = Mapping[str, Any]
Row = Mapping[str, Any]
NOTHING = "-"
GAP = 2  # between two columns


def _text(value: object) -> str:
    return NOTHING if value is None else str(value)


def _log(row: Row) -> str:
    if row["last_index"] is None:
        return NOTHING
    return f"{row['first_index']}..{row['last_index']}" if row["last_index"] >= row["first_index"] else "empty"


def _app(row: Row) -> str:
    return NOTHING if row["app"] is None else f"{row['app']} v{row['app_version']}"


def _role(row: Row) -> str:
    """What it is in Raft; of who doesn't vote that it doesn't."""
    return row["standing"] if row["standing"] in ("learner", "joining") else _text(row["role"])


def health(row: Row) -> str:
    """How a node is, in a few words."""
    if not row["healthy"]:
        return _text(row["problem"])
    if row["installing"]:
        total = row["installing"]["bytes_total"]
        return f"installing snapshot {100 * row['installing']['bytes'] // max(1, total)} %"
    if (row.get("archive") or {}).get("problem"):
        return f"healthy, but its archive takes nothing: {row['archive']['problem']}"
    if row["snapshot_problem"]:
        return f"healthy, but no snapshot is taken: {row['snapshot_problem']}"
    if row["slow_code"]:
        return f"healthy, but {row['slow_code']['what']} took {row['slow_code']['seconds']} s"
    return "healthy"


COLUMNS: dict[str, Callable[[Row], str]] = {
    "node": lambda row: _text(row["label"]),
    "id": lambda row: _text(row["id"])[:8],
    "role": _role,
    "term": lambda row: _text(row["term"]),
    "commit": lambda row: _text(row["commit_index"]),
    "revision": lambda row: _text(row["applied_revision"]),
    "lag": lambda row: _text(row["lag"]),
    "log": _log,
    "snapshot": lambda row: _text(row["snapshot_index"] or None),
    "endpoint": lambda row: _text(row["endpoint"]),
    "pid": lambda row: _text(row["pid"]),
    "app": _app,
    "health": health,
}
_LEAST_NEEDED_FIRST = ("app", "snapshot", "id", "log", "lag", "pid", "term", "endpoint")
_ON_THE_RIGHT = {"term", "commit", "revision", "lag", "snapshot", "pid"}


def headline(status: Status) -> str:
    """One line: which cluster, who leads it, and what is wrong where something is."""
    nodes = status["nodes"]
    identity = f" ({status['cluster_id'][:8]})" if status["cluster_id"] else ""
    count = status["size"] if status["waiting_for"] else len(nodes)
    return f"cluster {status['cluster']}{identity}, {count} node{'' if count == 1 else 's'}: {_condition(status)}"


def _condition(status: Status) -> str:
    nodes, answering, quorum = status["nodes"], status["answering"], status["quorum"]
    if status["waiting_for"]:
        joins = any(row["standing"] == "candidate" for row in nodes)
        return f"{'no member yet' if joins else 'not formed yet'}, {status['waiting_for']}"
    if answering < quorum:
        voters = sum(row["standing"] in ("voter", None) for row in nodes)
        return f"no quorum, {answering} of {voters} answer and {quorum} are needed; `state --node ID` still works"
    if status["leader"] is None:
        return "no leader now"
    labels = {row["id"]: row["label"] for row in nodes}
    leader = labels.get(status["leader"], shortened(status["leader"]))
    silent = [row["label"] for row in nodes if row["pid"] is None]
    verb = "does" if len(silent) == 1 else "do"
    missing = f"; {', '.join(silent)} {verb} not answer" if silent else ""
    waiting = "".join(f"; {line}" for line in waiting_lines(status))
    return f"{leader} leads in term {status['term']}{missing}{waiting}"


def waiting_lines(status: Status) -> list[str]:
    """Who waits to join, and what to type for it, a line each."""
    taken = {row["label"] for row in status["nodes"]}
    labels = [each["label"] for each in status["candidates"]]
    return [
        f"{label} waits to join: conflux members {'replace' if label in taken else 'add'} {label}" for label in labels
    ]


def plain_rows(status: Status) -> list[list[str]]:
    """The table's cells, its titles first."""
    return [[*COLUMNS], *([cell(row) for cell in COLUMNS.values()] for row in status["nodes"])]


def plain_lines(status: Status) -> list[str]:
    """The table as lines of text, aligned, for pipes."""
    rows = plain_rows(status)
    widths = [max(len(row[place]) for row in rows) for place in range(len(COLUMNS))]
    return [(" " * GAP).join(_aligned(row, widths)).rstrip() for row in rows]


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        cell.rjust(width) if title in _ON_THE_RIGHT else cell.ljust(width)
        for title, cell, width in zip(COLUMNS, row, widths, strict=True)
    ]


def columns_within(status: Status, width: int) -> list[str]:
    """The titles of the columns that fit next to each other; on a narrow terminal the least needed go first."""
    rows = plain_rows(status)
    widths = {title: max(len(row[place]) for row in rows) + GAP for place, title in enumerate(COLUMNS)}
    shown = [*COLUMNS]
    for title in _LEAST_NEEDED_FIRST:
        if sum(widths[each] for each in shown) - GAP <= width:
            break
        shown.remove(title)
    return shown


def status_table(status: Status, width: int | None = None) -> Table:
    """The table for a terminal, of this one's width unless another is given."""
    from rich.markup import escape
    from rich.table import Table

    titles = columns_within(status, width or shutil.get_terminal_size().columns)
    table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, title_justify="left", title_style="bold")
    table.title = escape(headline(status))
    for title in titles:
        table.add_column(title, justify="right" if title in _ON_THE_RIGHT else "left", header_style="dim")
    for row in status["nodes"]:
        style = "red" if not row["healthy"] else "green" if row["id"] == status["leader"] else ""
        table.add_row(*(escape(COLUMNS[title](row)) for title in titles), style=style)
    return table
