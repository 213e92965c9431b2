"""`conflux logs`"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING

import click

from conflux.cli import output
from conflux.cli.identify import pick
from conflux.cli.local_nodes import LocalNode, local_nodes
from conflux.cli.named_node import named_anywhere, named_here, nodes_of_rows
from conflux.cli.options import Settings, command
from conflux.cli.status import look
from conflux.errors import ConfluxError, NotApplied, Unreachable

if TYPE_CHECKING:
    from conflux.client.client import Client

FOLLOW_SECONDS = 0.2
REMOTE_FOLLOW_SECONDS = 1.0
OVERLAP_CHARACTERS = 4096
TIME = re.compile(r"\d{4}-\d\d-\d\dT\S+")


@command("logs", examples=["conflux logs", "conflux logs --node n2 --follow"])
@click.option(
    "--node", metavar="ID", help="Only this node's, on whatever machine: its label, or the beginning of its id."
)
@click.option("--follow", is_flag=True, help="Go on with lines as they are written.")
def logs(settings: Settings, node: str | None, follow: bool) -> None:
    """Print what nodes wrote to their log files, in the order of time.

    Those of this machine, or, where none is here, of the whole cluster. The log of a node elsewhere is read through the
    node: the last 256 KiB, while it runs.
    """
    files: list[_Log] = [*_files(settings, node)]
    if files:
        _print_all(settings, files, follow=follow, pause_s=FOLLOW_SECONDS)
        return
    with _client(settings, node) as client:
        _print_all(settings, [*_remote(settings, client, node)], follow=follow, pause_s=REMOTE_FOLLOW_SECONDS)


def _files(settings: Settings, node: str | None) -> list[_LogFile]:
    """The log files of this machine that are meant; none where others are."""
    if settings.endpoints:
        return []
    if node is None:
        return [file for file in map(_LogFile, local_nodes(settings.cluster_dir)) if file.path.exists()]
    found = named_here(settings, node)
    if found is not None and not found.log_file.exists():
        raise ConfluxError(f"{found.label} has written no log here: {found.log_file}")
    return [] if found is None else [_LogFile(found)]


def _client(settings: Settings, node: str | None) -> Client:
    try:
        return settings.client()
    except Unreachable:
        here = local_nodes(settings.cluster_dir)
        if node is not None and here:
            pick(here, node)  # it is none of these, and others nobody knows
        hint = "Name the place with --data-dir and --cluster, or a running node with --endpoint."
        raise ConfluxError(
            f"no node has written a log here: {settings.cluster_dir}; and none is found elsewhere", hint=hint
        ) from None


def _remote(settings: Settings, client: Client, node: str | None) -> list[_RemoteLog]:
    """The logs of nodes that run elsewhere."""
    if node is not None:
        return [_RemoteLog(named_anywhere(settings, client, node), client, settings.timeout())]
    rows = look(settings, client, settings.timeout())["nodes"]
    for row in rows:
        if row["pid"] is None:
            output.note(f"{row['label']} does not answer; its log is on its machine", verbosity=settings.verbosity)
    answering = nodes_of_rows(settings, [row for row in rows if row["pid"] is not None])
    return [_RemoteLog(each, client, settings.timeout()) for each in answering]


def _print_all(settings: Settings, logs: Sequence[_Log], *, follow: bool, pause_s: float) -> None:
    printer = _Printer(settings, [log.node.label for log in logs])
    with output.ending_with_reader():
        printer.print([line for log in logs for line in log.new_lines(whole=follow)])
        while follow:
            time.sleep(pause_s)
            printer.print([line for log in logs for line in log.new_lines(whole=True)])


@dataclass(frozen=True, slots=True)
class _Line:
    time: str  # as it is written: its order is that of the text; a line without one keeps the last one's
    node: LocalNode
    text: str


class _Log:
    """One node's log, read further and further."""

    def __init__(self, node: LocalNode) -> None:
        self.node = node
        self._part = ""
        self._time = ""

    def new_lines(self, *, whole: bool) -> Iterator[_Line]:
        """The lines that were written since the last call; with `whole` one without its end waits for that."""
        yield from self._more()
        if self._part and not whole:
            yield self._line(self._part)

    def _more(self) -> Iterator[_Line]:
        raise NotImplementedError

    def _lines(self, text: str) -> Iterator[_Line]:
        *lines, self._part = (self._part + text).split("\n")
        for line in lines:
            yield self._line(line)

    def _line(self, text: str) -> _Line:
        found = TIME.match(text)
        self._time = found.group() if found else self._time
        return _Line(self._time, self.node, text)


class _LogFile(_Log):
    """A file on this machine, over its rotation too."""

    def __init__(self, node: LocalNode) -> None:
        super().__init__(node)
        self.path: Path = node.log_file
        self._file: TextIOWrapper | None = None

    def _more(self) -> Iterator[_Line]:
        if self._file is None and not self._open():
            return
        yield from self._lines(self._read())
        if self._is_rotated() and self._open():
            yield from self._lines(self._read())

    def _read(self) -> str:
        assert self._file is not None
        return self._file.read()

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


class _RemoteLog(_Log):
    """A log on another machine, as far back as its node tells."""

    def __init__(self, node: LocalNode, client: Client, timeout_s: float) -> None:
        super().__init__(node)
        self._client = client
        self._timeout_s = timeout_s
        self._end: str | None = None  # of what was told last: what is new comes after it

    def _more(self) -> Iterator[_Line]:
        try:
            text = self._client.get_log_text(str(self.node.endpoint), timeout=self._timeout_s)
        except (NotApplied, Unreachable):
            if self._end is None:
                hint = "Its log is on its machine: conflux logs there."
                raise Unreachable(f"{self.node.label} at {self.node.endpoint} does not answer", hint=hint) from None
            return  # it may be back soon
        known, self._end = self._end, text[-OVERLAP_CHARACTERS:]
        place = text.rfind(known) if known else -1
        if place >= 0:
            text = text[place + len(known or "") :]
        else:
            self._part = ""
        yield from self._lines(text)


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
