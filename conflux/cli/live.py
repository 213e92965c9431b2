"""What `start` shows while the cluster runs: a live table on a terminal, plain lines in a pipe, JSON lines if asked."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from conflux.cli import output
from conflux.cli.cluster_status import merge
from conflux.cli.options import Settings

if TYPE_CHECKING:
    from conflux.cli.supervisor import View


def view_for(settings: Settings, first_line: str) -> View:
    """The view that suits where the output goes."""
    if settings.json:
        return JsonView()
    return TableView(first_line) if sys.stdout.isatty() else LinesView(first_line)


class _Told:
    """Nodes that were removed are in no picture of the cluster: each is spoken of once."""

    def __init__(self) -> None:
        self._labels: set[str] = set()

    def new_lines(self, reports: list[dict[str, Any]]) -> list[str]:
        removed = {each["node"]["label"]: each["node"] for each in reports if each["node"]["standing"] == "removed"}
        lines = [f"{label}: {removed[label]['problem']}." for label in sorted(set(removed) - self._labels)]
        self._labels |= set(removed)
        return lines


class LinesView:
    """A line for each change: who leads, who is there."""

    def __init__(self, first_line: str) -> None:
        self._shown: dict[str, str] = {}
        self._leader: str | None = None
        self._waiting_for: str | None = None
        self._candidates: set[str] = set()
        self._told = _Told()
        self.say(first_line)

    def show(self, reports: list[dict[str, Any]]) -> None:
        status = merge(reports)
        for line in self._told.new_lines(reports):
            self.say(line)
        labels = {node["id"]: node["label"] for node in status["nodes"]}
        leader = labels.get(status["leader"])
        if leader != self._leader:
            self._leader = leader
            self.say(f"{leader} leads in term {status['term']}." if leader else "Nobody leads.")
        if status["waiting_for"] and status["waiting_for"] != self._waiting_for:
            joins = any(node["standing"] == "candidate" for node in status["nodes"])
            self.say(f"{'No member' if joins else 'Not formed'} yet: {status['waiting_for']}.")
        self._waiting_for = status["waiting_for"]
        for candidate in status["candidates"]:
            if candidate["id"] not in self._candidates:
                self._candidates.add(candidate["id"])
                self.say(f"{candidate['label']} waits to join.")
        for node in status["nodes"]:
            now = "is up" if node["pid"] else "does not answer"
            if self._shown.get(node["label"], "does not answer") != now:
                self.say(f"{node['label']} {now}{' at ' + node['endpoint'] if node['pid'] else ''}.")
            self._shown[node["label"]] = now

    def say(self, line: str) -> None:
        output.print_line(line)
        output.flush()

    def close(self) -> None:
        pass


class JsonView:
    """The cluster's status as a JSON line, whenever it changes."""

    def __init__(self) -> None:
        self._last: dict[str, Any] = {}

    def show(self, reports: list[dict[str, Any]]) -> None:
        status = merge(reports)
        if status != self._last:
            self._last = status
            output.print_json(status)

    def say(self, line: str) -> None:
        output.complain(line)

    def close(self) -> None:
        pass


class TableView:
    """A table that is drawn over itself."""

    def __init__(self, first_line: str) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console()
        self._console.print(first_line, highlight=False)
        self._told = _Told()
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._live.start()

    def show(self, reports: list[dict[str, Any]]) -> None:
        from conflux.cli.table import status_table

        for line in self._told.new_lines(reports):
            self.say(line)
        self._live.update(status_table(merge(reports)), refresh=True)

    def say(self, line: str) -> None:
        self._console.print(line, highlight=False)

    def close(self) -> None:
        self._live.stop()
