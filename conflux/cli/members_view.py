"""What the commands of `conflux members` share: who is meant, how far somebody is, and waiting for it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conflux.cli import ending, output
from conflux.cli.identify import pick
from conflux.cli.local_nodes import label_order
from conflux.cli.options import Settings
from conflux.cli.status import look
from conflux.cli.table import health
from conflux.errors import ConfluxError, NotReady

if TYPE_CHECKING:
    from conflux.client.client import Client

WAIT_SECONDS = 60.0  # the default of --timeout, where somebody has to catch up
LOOK_SECONDS = 0.2
CANDIDATE_SECONDS = 3.0  # a node that was started just now is heard within

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Named:
    """A node as `pick` takes it."""

    identity: str
    label: str


def named(rows: Sequence[Row], text: str) -> Named:
    """The one of these rows that is meant.

    Raises:
        OptionsError: there is none, or more than one.
    """
    return pick(
        [Named(row["id"], row["label"]) for row in sorted(rows, key=lambda row: label_order(row["label"]))], text
    )


def changing() -> AbstractContextManager[None]:
    """Within, the cluster may have been asked to change its members, which it goes on with by itself."""
    return ending.begun("the members may change all the same", hint="See `conflux members list`.")


def progress_of(row: Row) -> str:
    """How far a member is behind the leader."""
    if row["installing"] or not row["healthy"]:
        return health(row)
    if row["lag"] is None:
        return "-"
    return f"{row['lag']:,} entries behind" if row["lag"] else "level"


def await_candidate(settings: Settings, client: Client, label: str) -> None:
    """Give a node that was started just now the time to be heard. What comes of it is the cluster's to say."""
    deadline_s = time.monotonic() + min(CANDIDATE_SECONDS, settings.timeout())
    while time.monotonic() < deadline_s:
        found = look(settings, client, settings.timeout())
        if any(each["label"] == label or each["id"].startswith(label) for each in found["candidates"]):
            return
        time.sleep(LOOK_SECONDS)


def await_member(settings: Settings, client: Client, name: str) -> Named:
    """The member of this label, or whose id begins so: it was let in just now."""

    def rows_of(found: dict[str, Any]) -> list[Row]:
        return [row for row in found["nodes"] if row["label"] == name or row["id"].startswith(name)]

    found = await_members(settings, client, lambda found: bool(rows_of(found)), lambda _: "", settings.timeout())
    return named(rows_of(found), name)


def await_voter(settings: Settings, client: Client, identity: str, timeout_s: float) -> Row:
    """Wait until a member is a voter; gives its row. On a terminal its progress is shown.

    Raises:
        NotReady: it isn't in time.
    """

    def row_of(found: dict[str, Any]) -> Row | None:
        return next((row for row in found["nodes"] if row["id"] == identity), None)

    def is_voter(found: dict[str, Any]) -> bool:
        row = row_of(found)
        return row is not None and row["standing"] == "voter"

    def says(found: dict[str, Any]) -> str:
        row = row_of(found)
        if row is None:
            return "it is no member now"
        if row["lag"] == 0 and row["healthy"] and not row["installing"]:
            return f"{row['label']} is level, and becomes a voter once a majority with it would be healthy"
        return f"{row['label']} is joining, {progress_of(row)}"

    row = row_of(await_members(settings, client, is_voter, says, timeout_s))
    assert row is not None
    return row


def await_members(
    settings: Settings,
    client: Client,
    is_so: Callable[[dict[str, Any]], bool],
    says: Callable[[dict[str, Any]], str],
    timeout_s: float,
) -> dict[str, Any]:
    """Look at the cluster until something is so; gives what was seen then.

    Raises:
        NotReady: it isn't in time; the cluster goes on by itself.
    """
    deadline_s = time.monotonic() + timeout_s
    line = _Line(shown=sys.stderr.isatty() and not settings.json and settings.verbosity >= 0)
    try:
        while True:
            found = _look(settings, client)
            if found is not None and is_so(found):
                return found
            if time.monotonic() > deadline_s:
                text = says(found) if found is not None else "no node answers"
                raise NotReady(f"not yet: {text}", hint="The cluster goes on by itself: see `conflux members list`.")
            if found is not None:
                line.show(says(found))
            time.sleep(LOOK_SECONDS)
    finally:
        line.clear()


def tell(settings: Settings, text: str, fields: dict[str, Any]) -> None:
    """The result of a change."""
    if settings.json:
        output.print_json(fields)
    else:
        output.print_line(text)


class _Line:
    """One line on a terminal that is written over itself."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown

    def show(self, text: str) -> None:
        if self._shown:
            sys.stderr.write(f"\r\033[K{text} …")
            sys.stderr.flush()

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()


def _look(settings: Settings, client: Client) -> dict[str, Any] | None:
    try:
        return look(settings, client, 1.0)
    except ConfluxError:
        return None
