"""`conflux status`"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from conflux.cli import output
from conflux.cli.cluster_status import merge
from conflux.cli.local_nodes import local_nodes
from conflux.cli.options import Settings, command
from conflux.cli.table import headline, plain_lines, status_table
from conflux.errors import ConfluxError

if TYPE_CHECKING:
    from conflux.client.client import Client

REFRESH_SECONDS = 1.0
ATTEMPT_SECONDS = 0.25
ANSWER_SECONDS_MAX = 1.0  # a node that runs answers in milliseconds; the others are waited for no longer


@command("status", examples=["conflux status", "conflux status --watch", "conflux status --json | jq .leader"])
@click.option("--watch", is_flag=True, help="Show it anew every second, until Ctrl-C.")
def status(settings: Settings, watch: bool) -> None:
    """Show a row for each node of the cluster.

    The nodes answer for themselves, so there is an answer without a quorum, too. Hashes are comparable between nodes at
    equal revision.
    """
    with settings.client() as client:
        found = look(settings, client, settings.timeout())
        if watch:
            with output.ending_with_reader():
                _watch(settings, client, found)
        elif settings.json:
            output.print_json(found)
        else:
            _show(found)


def look(settings: Settings, client: Client, timeout_s: float) -> dict[str, Any]:
    """The cluster's status, once every node has answered or had its time to.

    Asked again and again: a link that is still being made takes no question.

    Raises:
        Unreachable: no node answers in time.
    """
    started_s = time.monotonic()
    reports: dict[str, dict[str, Any]] = {}
    while True:
        for report in client.status(timeout=min(ATTEMPT_SECONDS, timeout_s)):
            reports[report["node"]["id"]] = report
        found = merge([*reports.values()], local_nodes(settings.cluster_dir))
        waited_s = time.monotonic() - started_s
        if reports and (all(row["pid"] is not None for row in found["nodes"]) or waited_s >= ANSWER_SECONDS_MAX):
            return found
        if waited_s >= timeout_s:
            raise client.unreachable()


def _show(found: dict[str, Any]) -> None:
    if output.on_terminal():
        from rich.console import Console

        Console().print(status_table(found))
        return
    for line in (headline(found), *plain_lines(found)):
        output.print_line(line)
    output.flush()


def _watch(settings: Settings, client: Client, found: dict[str, Any]) -> None:
    if settings.json or not output.on_terminal():
        while True:
            output.print_json(found) if settings.json else _show(found)
            time.sleep(REFRESH_SECONDS)
            found = _look_again(settings, client)
    from rich.live import Live

    with Live(status_table(found), auto_refresh=False) as live:
        while True:
            time.sleep(REFRESH_SECONDS)
            live.update(status_table(_look_again(settings, client)), refresh=True)


def _look_again(settings: Settings, client: Client) -> dict[str, Any]:
    """Once it runs, a cluster of which no node answers is shown as that."""
    try:
        return look(settings, client, ANSWER_SECONDS_MAX)
    except ConfluxError:
        return merge([], local_nodes(settings.cluster_dir), cluster=settings.cluster)
