"""`conflux logs`"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path

import click

from conflux.cli import output
from conflux.cli.identify import pick
from conflux.cli.local_nodes import LocalNode, local_nodes
from conflux.cli.options import Settings, command
from conflux.errors import ConfluxError

FOLLOW_SECONDS = 0.2
TIME = re.compile(r"\d{4}-\d\d-\d\dT\S+")


@command("logs", examples=["conflux logs", "conflux logs --node n2 --follow"])
@click.option("--node", metavar="ID", help="Only this node's: its label, or the beginning of its id.")
@click.option("--follow", is_flag=True, help="Go on with lines as they are written.")
def logs(settings: Settings, node: str | None, follow: bool) -> None:
    """Print what the nodes here wrote to their log files, in the order of time."""
    nodes = local_nodes(settings.cluster_dir)
    if node is not None:
        nodes = [pick(nodes, node)]
    files = [_LogFile(each) for each in nodes]
    if not any(file.path.exists() for file in files):
        where = nodes[0].log_file if node is not None else settings.cluster_dir
        hint = "Name the place with --data-dir and --cluster."
        raise ConfluxError(f"no node has written a log here: {where}", hint=hint)
    printer = _Printer(settings, [each.label for each in nodes])
    with output.ending_with_reader():
        printer.print([line for file in files for line in file.new_lines(whole=follow)])
        while follow:
            time.sleep(FOLLOW_SECONDS)
            printer.print([line for file in files for line in file.new_lines(whole=True)])


@dataclass(frozen=True, slots=True)
class _Line:
    time: str  # as it is written: its order is that of the text; a line without one keeps the last one's
    node: LocalNode
    text: str


class _LogFile:
    """One node's log file, read further and further, over its rotation too."""

    def __init__(self, node: LocalNode) -> None:
        self.path: Path = node.log_file
        self._node = node
        self._file: TextIOWrapper | None = None
        self._part = ""
        self._time = ""

    def new_lines(self, *, whole: bool) -> Iterator[_Line]:
        """The lines that were written since the last call; with `whole` one without its end waits for that."""
        if self._file is None and not self._open():
            return
        yield from self._lines()
        if self._is_rotated() and self._open():
            yield from self._lines()
        if self._part and not whole:
            yield self._line(self._part)

    def _open(self) -> bool:
        try:
            opened = open(self.path, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115 - open between calls
        except FileNotFoundError:
            return False
        if self._file is not None:
            self._file.close()
        self._file, self._part = opened, ""
        return True

    def _is_rotated(self) -> bool:
        assert self._file is not None
        try:
            return not os.path.samestat(os.fstat(self._file.fileno()), self.path.stat())
        except OSError:
            return False

    def _lines(self) -> Iterator[_Line]:
        assert self._file is not None
        *lines, self._part = (self._part + self._file.read()).split("\n")
        for line in lines:
            yield self._line(line)

    def _line(self, text: str) -> _Line:
        found = TIME.match(text)
        self._time = found.group() if found else self._time
        return _Line(self._time, self._node, text)


class _Printer:
    def __init__(self, settings: Settings, labels: list[str]) -> None:
        self._json = settings.json
        self._width = max(len(label) for label in labels) if len(labels) > 1 else 0

    def print(self, lines: list[_Line]) -> None:
        """Print lines of several nodes, merged."""
        for line in sorted(lines, key=lambda line: line.time):  # stable: a node's lines keep their order
            output.print_line(self._shown(line))
        output.flush()

    def _shown(self, line: _Line) -> str:
        if self._json:
            return output.to_json({"node": line.node.identity or None, "label": line.node.label, "line": line.text})
        return f"{line.node.label:<{self._width}}  {line.text}" if self._width else line.text
