"""`conflux start`: runs the nodes of a cluster, and shows it."""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conflux.cli.options import Settings, command
from conflux.errors import NotReady, OptionsError

if TYPE_CHECKING:
    from conflux.client.client import Client
    from conflux.node.launcher import Launcher, LaunchOptions

DETACH_SECONDS = 30.0


@command(
    "start",
    examples=[
        "conflux start --cluster-size 5",
        "conflux start --cluster-size 3 --detach --app shop:app",
        "conflux start            # again, on the directories that are there",
    ],
)
@click.option("--cluster-size", "size", type=click.IntRange(1, 9), metavar="N", help="How many nodes form the cluster.")
@click.option("--id", "label", metavar="LABEL", help="Start only this node (in a new cluster of one: its name).")
@click.option("--bind", metavar="HOST[:PORT]", help="Where to listen; each node takes a port and the next one.")
@click.option("--app", envvar="CONFLUX_APP", show_envvar=True, metavar="MODULE:ATTR", help="The app; default: a list.")
@click.option(
    "--app-dir", type=click.Path(file_okay=False, exists=True), help="Where the app's module is; default: here."
)
@click.option("--election-timeout", default="300:500", metavar="MIN:MAX", show_default=True, help="In milliseconds.")
@click.option("--heartbeat-interval", default=50, type=click.IntRange(5, 10_000), metavar="MS", show_default=True)
@click.option("--restart", is_flag=True, help="Start a node again when it dies.")
@click.option("--ephemeral", is_flag=True, help="In a temporary directory, which is gone at the end.")
@click.option("--detach", is_flag=True, help="Return once the cluster serves; the nodes go on.")
def start(settings: Settings, **asked: Any) -> None:
    """Run a cluster of N nodes on this machine, each a process with a log of its own on disk.

    Shows the cluster until Ctrl-C, which stops all nodes. On directories that are there it starts every member that
    isn't running and carries on.
    """
    if asked["detach"] and (asked["ephemeral"] or asked["restart"]):
        raise OptionsError("--detach goes with neither --ephemeral nor --restart", hint="Leave one of them out.")
    temporary = Path(tempfile.mkdtemp(prefix="conflux-")) if asked["ephemeral"] else None
    try:
        _start(settings, temporary or settings.data_dir, asked)
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _start(settings: Settings, data_dir: Path, asked: dict[str, Any]) -> None:
    from conflux.cli.supervisor import Signals, Stopped
    from conflux.node.launcher import Launcher

    launcher = Launcher(_launch_options(settings, data_dir, asked))
    signals = Signals(launcher)
    try:
        launcher.start()
        for line in launcher.left:
            click.echo(line, err=True)
        client = _client(settings, data_dir)
        if asked["detach"]:
            _detach(settings, launcher, client, signals.check)
        else:
            _stay(settings, data_dir, launcher, client, signals.check, restart=asked["restart"])
    except Stopped:
        launcher.stop()
        if asked["detach"]:
            raise KeyboardInterrupt from None
        if not settings.json:
            click.echo("Stopped.")
    except BaseException:
        launcher.stop()
        raise


def _detach(settings: Settings, launcher: Launcher, client: Client, check: Any) -> None:
    from conflux.cli.supervisor import wait_until_ready

    if not wait_until_ready(client, time.monotonic() + settings.timeout(DETACH_SECONDS), check):
        launcher.stop()
        raise NotReady("the cluster was not ready in time; what was started is stopped again", hint=_look_at(launcher))
    client.close()
    if settings.json:
        for node in launcher.nodes:
            click.echo(json.dumps(node.row()))
        return
    for node in launcher.nodes:
        click.echo(f"{node.label}  {node.endpoint}  pid {node.process.pid}  {node.spec.directory}")
    click.echo("The cluster serves. Next: conflux perform append foo; conflux status; conflux stop.", err=True)


def _stay(settings: Settings, data_dir: Path, launcher: Launcher, client: Client, check: Any, *, restart: bool) -> None:
    from conflux.cli.live import view_for
    from conflux.cli.supervisor import supervise

    view = view_for(settings, _first_line(settings, data_dir, launcher))
    try:
        supervise(launcher, client, view, check, restart=restart)
    finally:
        view.close()


def _first_line(settings: Settings, data_dir: Path, launcher: Launcher) -> str:
    count = len(launcher.nodes)
    nodes = "node" if count == 1 else "nodes"
    return (
        f"The cluster {settings.cluster!r}: {count} {nodes} on this machine, which no other can reach, "
        f"in {data_dir / settings.cluster}. Ctrl-C stops them."
    )


def _client(settings: Settings, data_dir: Path) -> Client:
    from conflux.client.client import Client

    return Client(settings.cluster, data_dir=data_dir)


def _launch_options(settings: Settings, data_dir: Path, asked: dict[str, Any]) -> LaunchOptions:
    from conflux.node.launcher import LaunchOptions

    return LaunchOptions(
        cluster=settings.cluster,
        cluster_dir=(data_dir / settings.cluster).absolute(),
        size=asked["size"],
        label=asked["label"],
        app=asked["app"],
        app_dir=Path(asked["app_dir"] or ".").absolute(),
        bind=asked["bind"],
        election_timeout_ms=_milliseconds(asked["election_timeout"]),
        heartbeat_interval_ms=asked["heartbeat_interval"],
    )


def _milliseconds(text: str) -> tuple[int, int]:
    shortest, colon, longest = text.partition(":")
    if not (colon and shortest.isascii() and shortest.isdigit() and longest.isascii() and longest.isdigit()):
        raise OptionsError(f"{text!r} is no election time-out", hint="Write MIN:MAX in milliseconds: 300:500.")
    return int(shortest), int(longest)


def _look_at(launcher: Launcher) -> str:
    files = ", ".join(node.row()["log_file"] for node in launcher.nodes)
    return f"See {files}." if files else ""


def is_live(settings: Settings) -> bool:
    """True where the cluster can be drawn on the screen."""
    return sys.stdout.isatty() and not settings.json
