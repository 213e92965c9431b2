"""`conflux watch`"""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, cast

import click

from conflux.cli import output
from conflux.cli.options import Settings, command
from conflux.errors import NotReady

if TYPE_CHECKING:
    from collections.abc import Generator

    from conflux.client.client import Client
    from conflux.client.committed import Committed

QUIET_SECONDS = 0.5  # when nothing came for so long, a person may wonder
STATE_PAUSE_SECONDS = 0.02


@command(
    "watch",
    examples=[
        "conflux watch",
        "conflux watch --from-revision 1 --count 10",
        "conflux watch --json | jq -c .action",
    ],
)
@click.option("--from-revision", type=click.IntRange(min=1), metavar="R", help="Begin with revision R.  [default: now]")
@click.option("--count", type=click.IntRange(min=1), metavar="N", help="End after N actions.")
@click.option("--state", "with_state", is_flag=True, help="Print the state after each action, too.")
def watch(settings: Settings, from_revision: int | None, count: int | None, with_state: bool) -> None:
    """Print each committed action as it happens, from revision R on if given.

    Over changes of the leader and restarts of nodes no action is left out and none comes twice. Where actions are
    compacted away, the state that they led to is printed in their place, as a gap. With --state each line
    is followed by the state; where actions come faster than it can be read, by that of a later one: its revision stands
    with it.
    """
    with output.ending_with_reader(), settings.client() as client:
        states = _States(client, settings.timeout()) if with_state else None
        told = 0
        hint: threading.Timer | None = None
        feed = client.watch_from(from_revision, timeout=settings.timeout())
        with closing(cast("Generator[Committed | int, None, None]", feed)) as items:
            for item in items:
                if isinstance(item, int):
                    hint = _hint_later(item, settings)
                    continue
                if hint is not None:
                    hint.cancel()
                if item.gap:
                    _tell_gap(item, json=settings.json)
                    continue
                _tell(item, states, json=settings.json)
                told += 1
                if told == count:
                    return


class _States:
    """The state as of a revision or later, read anew only where the last one read is too old."""

    def __init__(self, client: Client, timeout_s: float) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._revision = 0
        self._state: Any = None

    def at_least(self, revision: int) -> tuple[int, Any]:
        """(revision, state).

        Raises:
            NotReady: the node that answers stays behind.
        """
        from conflux.wire.states import to_plain

        deadline_s = time.monotonic() + self._timeout_s
        while self._revision < revision:
            self._revision, state = self._client.get_revision_and_state("local", timeout=self._timeout_s)
            self._state = to_plain(state)
            if self._revision < revision:
                if time.monotonic() > deadline_s:
                    raise NotReady(f"no node answered with the state at revision {revision} in time")
                time.sleep(STATE_PAUSE_SECONDS)
        return self._revision, self._state


def _tell(committed: Committed, states: _States | None, *, json: bool) -> None:
    assert committed.revision is not None
    revision, state = states.at_least(committed.revision) if states else (0, None)
    time_text = output.utc(committed.time_us)
    if json:
        line = {"revision": committed.revision, "index": committed.index, "term": committed.term, "time": time_text}
        line |= {"method": committed.method, "action": committed.action}
        output.print_json(line | {"state_revision": revision, "state": state} if states else line)
        return
    number = output.styled(f"{committed.revision:>6}", bold=True)
    faint = output.styled(f"{time_text}  {committed.method}", dim=True)
    output.print_line(f"{number}  {faint}  {output.to_json(committed.action)}")
    if states:
        output.print_line(f"        state at {revision}: {output.to_json(state)}")
    output.flush()


def _tell_gap(committed: Committed, *, json: bool) -> None:
    """What came before is compacted away: the state stands for it."""
    from conflux.wire.states import to_plain

    state = to_plain(committed.state)
    if json:
        output.print_json({"gap": True, "revision": committed.revision, "state": state})
        return
    number = output.styled(f"{committed.revision:>6}", bold=True)
    faint = output.styled("gap, what led here is compacted away; the state:", dim=True)
    output.print_line(f"{number}  {faint}  {output.to_json(state)}")
    output.flush()


def _hint_later(first: int, settings: Settings) -> threading.Timer:
    text = f"watching from revision {first} on"
    if first > 1:
        text += "; earlier ones: conflux watch --from-revision 1"
    timer = threading.Timer(QUIET_SECONDS, output.note, (text,), {"verbosity": settings.verbosity})
    timer.daemon = True
    timer.start()
    return timer
