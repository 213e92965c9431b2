"""`conflux inspect-log`: reads a node's directory, beside the running node or without it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from conflux.cli import output
from conflux.cli.identify import shortened
from conflux.cli.local_nodes import LocalNode
from conflux.cli.options import Settings, command
from conflux.errors import Damaged

if TYPE_CHECKING:
    from conflux.storage.reader import LogReader, LogState

TERMINAL_ENTRIES = 50
FOLLOW_SECONDS = 0.2
DAMAGED_NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class Range:
    """Which entries are asked for."""

    first: int | None
    last: int | None
    all: bool

    def start(self, state: LogState) -> int:
        """The first index to print: on a terminal not the whole log, unless that was said."""
        if self.first is not None or self.last is not None or self.all or not output.on_terminal():
            return max(self.first or 0, state.first_index)
        return max(state.first_index, state.last_index - TERMINAL_ENTRIES + 1)

    def end(self, state: LogState) -> int:
        """The last index to print."""
        return state.last_index if self.last is None else min(self.last, state.last_index)

    @property
    def is_narrowed(self) -> bool:
        """True where not all was asked for."""
        return self.first is not None or self.last is not None

    def why_empty(self, state: LogState) -> str:
        """What to say where no entry is of this range."""
        asked = f"{self.first or 1} to {self.last if self.last is not None else 'the end'}"
        return f"no entry of the log is in {asked}: it has {state.first_index} to {state.last_index}"


@command(
    "inspect-log",
    examples=[
        "conflux inspect-log --node n2",
        "conflux inspect-log --from-index 10 --to-index 20",
        "conflux inspect-log --json | jq -c '.actions[]?'",
    ],
)
@click.option("--node", metavar="ID", help="This node's: its label, or the beginning of its id.")
@click.option("--from-index", type=click.IntRange(min=1), metavar="I", help="Begin with entry I.")
@click.option("--to-index", type=click.IntRange(min=1), metavar="I", help="End with entry I.")
@click.option("--all", "everything", is_flag=True, help=f"On a terminal, not just the last {TERMINAL_ENTRIES}.")
@click.option("--follow", is_flag=True, help="Go on with entries as the node writes them.")
def inspect_log(
    settings: Settings, node: str | None, from_index: int | None, to_index: int | None, everything: bool, follow: bool
) -> None:
    """Print a node's term, vote and log from its directory on disk, decoded.

    The node may run or not. Without --node: the only one here, or the one whose log is the newest. Exit status: 1 if an
    entry is damaged.
    """
    from conflux.cli.log_choice import choose

    chosen, reader = choose(settings, node)
    with closing(reader), output.ending_with_reader():
        state = reader.hard_state()
        asked = Range(from_index, to_index, everything)
        _print_head(settings, chosen, state)
        printer = _Printer(reader, json=settings.json)
        printer.print(asked.start(state), asked.end(state), state)
        if follow:
            printer.follow(asked, settings)
        elif printer.is_silent and asked.is_narrowed:
            output.note(asked.why_empty(state), verbosity=settings.verbosity)
    if printer.damaged:
        shown = ", ".join(str(index) for index in printer.damaged[:DAMAGED_NAMED_MAX])
        more = ", ..." if len(printer.damaged) > DAMAGED_NAMED_MAX else ""
        count = "an entry is" if len(printer.damaged) == 1 else f"{len(printer.damaged)} entries are"
        raise Damaged(f"{count} damaged in the log of {chosen.label}: {shown}{more}")


class _Printer:
    """Prints entries and remembers which were damaged, and which were printed before they were committed."""

    def __init__(self, reader: LogReader, *, json: bool) -> None:
        self.damaged: list[int] = []
        self._reader = reader
        self._json = json
        self._next = 1
        self._count = 0
        self._uncommitted: dict[int, int] = {}  # printed: index → term

    @property
    def is_silent(self) -> bool:
        """True where no entry was printed."""
        return self._count == 0

    def print(self, first: int, last: int, state: LogState) -> None:
        """Print these entries."""
        from conflux.cli.entry_view import line, view

        self._next = max(first, 1)
        for entry, checksum_ok in self._reader.entries(first, last):
            shown = view(entry, checksum_ok=checksum_ok, commit_index=state.commit_index)
            output.print_line(output.to_json(shown) if self._json else line(shown))
            self._next = entry.index + 1
            self._count += 1
            if not checksum_ok:
                self.damaged.append(entry.index)
            elif not shown["committed"]:
                self._uncommitted[entry.index] = entry.term
        output.flush()

    def follow(self, asked: Range, settings: Settings) -> None:
        """Print what the node writes from now on, until the range ends. What it replaces is printed again."""
        while asked.last is None or self._next <= asked.last:
            time.sleep(FOLLOW_SECONDS)
            state = self._reader.hard_state()
            replaced = self._first_replaced(state)
            if replaced is not None:
                output.note(f"entries from {replaced} on were replaced by a new leader's", verbosity=settings.verbosity)
                self._next = replaced
            self._uncommitted = {
                i: term for i, term in self._uncommitted.items() if state.commit_index < i < self._next
            }
            if self._next <= state.last_index:
                self.print(max(self._next, state.first_index), asked.end(state), state)

    def _first_replaced(self, state: LogState) -> int | None:
        for index, term in self._uncommitted.items():
            if index > state.last_index or term != _term_at(self._reader.entries(index, index)):
                return index
        return None


def _term_at(entries: Iterator[tuple[Any, bool]]) -> int | None:
    return next((entry.term for entry, _ in entries), None)


def _print_head(settings: Settings, node: LocalNode, state: LogState) -> None:
    head = {
        "node": node.identity,
        "label": node.label,
        "term": state.term,
        "vote": state.vote,
        "snapshot_index": state.snapshot_index,
        "snapshot_term": state.snapshot_term,
        "first_index": state.first_index,
        "last_index": state.last_index,
        "commit_index": state.commit_index,
    }
    if settings.json:
        output.print_json(head)
        return
    vote = f"voted for {shortened(state.vote)}" if state.vote else "no vote"
    entries = f"entries {state.first_index} to {state.last_index}" if state.last_index else "an empty log"
    snapshot = f"snapshot at {state.snapshot_index} (term {state.snapshot_term})" if state.snapshot_index else ""
    parts = [f"{node.label} ({shortened(node.identity)})", f"term {state.term}", vote, entries]
    parts += [f"committed to {state.commit_index}", *([snapshot] if snapshot else [])]
    output.print_line(", ".join(parts))
