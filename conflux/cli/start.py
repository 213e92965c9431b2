"""`conflux start`: runs the nodes of a cluster, and shows it."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conflux.cli import output
from conflux.cli.ending import Terminated
from conflux.cli.files import NamedPath
from conflux.cli.options import Settings, command
from conflux.errors import ConfluxError, NotReady, OptionsError

if TYPE_CHECKING:
    from conflux.client.client import Client
    from conflux.node.launcher import Launcher, LaunchOptions

DETACH_SECONDS = 30.0
STATUS_SECONDS = 1.0


@command(
    "start",
    examples=[
        "conflux start --cluster-size 5",
        "conflux start --cluster-size 3 --detach --app shop:app",
        "conflux start            # again, on the directories that are there",
        "conflux start --cluster-size 5 --local 1 --key cluster.key    # on each of five machines",
        "conflux start --join TOKEN            # one more, with a token from conflux members add",
    ],
)
@click.option("--cluster-size", "size", type=click.IntRange(1, 9), metavar="N", help="How many nodes form the cluster.")
@click.option("--local", type=click.IntRange(1, 9), metavar="K", help="How many of them run here.  [default: all]")
@click.option(
    "--id",
    "label",
    metavar="LABEL",
    help="Start only this node: its label, or the beginning of its id; a new cluster's only node here: its name.",
)
@click.option("--bind", metavar="HOST[:PORT]", help="Where to listen; each node takes a port and the next one.")
@click.option("--advertise", metavar="HOST[:PORT]", help="What other machines dial, if that differs from --bind.")
@click.option("--peer", "peers", multiple=True, metavar="ADDR", help="Another node's HOST:PORT; may be repeated.")
@click.option("--mdns/--no-mdns", default=None, help="Whether to announce the nodes here and look for others by mDNS.")
@click.option("--insecure", is_flag=True, help="Without a key: whoever reaches the ports may read and write.")
@click.option("--join", metavar="TOKEN", help="Join a formed cluster: with a token, or `wait` for `members add LABEL`.")
@click.option("--forget", metavar="ID", help="Give up a cluster that was accepted here and can't form any more.")
@click.option("--app", envvar="CONFLUX_APP", show_envvar=True, metavar="MODULE:ATTR", help="The app; default: a list.")
@click.option(
    "--app-dir", type=click.Path(file_okay=False, exists=True), help="Where the app's module is; default: here."
)
@click.option(
    "--election-timeout",
    default="300:500",
    metavar="MIN:MAX",
    show_default=True,
    help="How long without a leader until an election, in milliseconds.",
)
@click.option(
    "--heartbeat-interval",
    default=50,
    type=click.IntRange(5, 10_000),
    metavar="MS",
    show_default=True,
    help="How often a leader shows that it lives.",
)
@click.option(
    "--archive",
    metavar="DIR",
    type=NamedPath(file_okay=False),
    help="Keep what is cut of a node's log in DIR/LABEL; remembered.",
)
@click.option("--no-archive", is_flag=True, help="Keep it no longer.")
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
    _check_archive(asked)
    _check_join(settings, asked)
    _check_key(settings, asked)
    if asked["label"] is not None and asked["join"] is None and not asked["ephemeral"]:
        from conflux.cli.local_nodes import label_of

        asked["label"] = label_of(settings.cluster_dir, asked["label"])
    temporary = Path(tempfile.mkdtemp(prefix="conflux-")) if asked["ephemeral"] else None
    try:
        _start(settings, temporary or settings.data_dir, asked)
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _check_archive(asked: dict[str, Any]) -> None:
    """What is kept outlives a cluster that is gone at the end, and belongs to nobody then."""
    if asked["archive"] is not None and (asked["ephemeral"] or asked["no_archive"]):
        raise OptionsError("--archive goes with neither --ephemeral nor --no-archive", hint="Leave one of them out.")


def _check_join(settings: Settings, asked: dict[str, Any]) -> None:
    """A node that joins has nothing to say of the cluster's size, and needs its key."""
    if asked["join"] is None:
        return
    if asked["size"] is not None or asked["local"] is not None or asked["forget"] is not None:
        raise OptionsError("--join goes with none of --cluster-size, --local and --forget", hint="Leave them out.")
    from conflux.node.arriving import token_of

    asked["join"] = token_of(asked["join"])
    if settings.key is None and not asked["insecure"] and not (settings.cluster_dir / "cluster.json").exists():
        raise OptionsError(
            f"no node of the cluster {settings.cluster!r} is here, so its key is needed",
            hint="Copy it to this machine, and: conflux start --join TOKEN --key cluster.key",
        )


def _check_key(settings: Settings, asked: dict[str, Any]) -> None:
    """Several machines share a key, or say that they go without one."""
    if asked["insecure"] and settings.key is not None:
        raise OptionsError("--insecure and --key exclude each other", hint="Leave one of them out.")
    if asked["insecure"] and not settings.cluster_was_named:
        raise OptionsError(
            "--insecure needs a cluster of its own name",
            hint="Name it: --cluster NAME. Whoever uses that name joins in.",
        )
    size, local = asked["size"], asked["local"]
    is_part = local is not None and size is not None and local < size
    if (
        is_part
        and not asked["insecure"]
        and settings.key is None
        and not (settings.cluster_dir / "cluster.json").exists()
    ):
        raise OptionsError(
            "nodes on several machines need a key",
            hint="Make one with `conflux keygen cluster.key`, copy it to each machine, and there: "
            f"conflux start --cluster-size {size} --local {local} --key cluster.key",
        )


def _start(settings: Settings, data_dir: Path, asked: dict[str, Any]) -> None:
    from conflux.cli.supervisor import Signals, Stopped
    from conflux.node.launcher import Launcher

    launcher = Launcher(_launch_options(settings, data_dir, asked))
    signals = Signals(launcher)
    try:
        try:
            launcher.start(signals.check)
        except ConfluxError:
            signals.check()  # a node that a second signal killed can't listen: that is no error
            raise
        for line in launcher.left:
            click.echo(line, err=True)
        client = _client(settings, data_dir)
        if asked["detach"]:
            _detach(settings, launcher, client, signals.check, joins=asked["join"] is not None)
        else:
            _stay(settings, data_dir, launcher, client, signals.check, restart=asked["restart"])
    except Stopped as stopped:
        launcher.stop()
        if asked["detach"]:
            raise Terminated if stopped.number == signal.SIGTERM else KeyboardInterrupt from None
        if not settings.json:
            output.print_line("Stopped.")
    except BaseException:
        launcher.stop()
        raise


def _detach(settings: Settings, launcher: Launcher, client: Client, check: Any, *, joins: bool) -> None:
    from conflux.cli.supervisor import wait_until_heard, wait_until_ready

    is_whole = launcher.manifest is not None and launcher.manifest.is_whole and not joins
    if is_whole and not wait_until_ready(client, time.monotonic() + settings.timeout(DETACH_SECONDS), check):
        problems = _problems(client)
        launcher.stop()
        text = "the cluster was not ready in time; what was started is stopped again"
        raise NotReady(f"{text}. {problems}" if problems else text, hint=_look_at(launcher))
    if is_whole:
        wait_until_heard(client, {node.label for node in launcher.nodes}, check)
    client.close()
    _print_nodes(settings, launcher)
    if not settings.json:
        serves = "The cluster serves." if is_whole else "The nodes listen; `conflux status` tells who is missing."
        if joins:
            serves = "It joins once the cluster lets it in: see `conflux members list`."
        is_plain = not settings.cluster_was_named and not settings.data_dir_was_named
        is_plain = is_plain and not joins
        follows = " Next: conflux perform append foo; conflux status; conflux stop." if is_plain else ""
        click.echo(serves + follows, err=True)
    launcher.let_go()


def _problems(client: Client) -> str:
    """What keeps nodes from serving, each problem once with those that have it."""
    labels: dict[str, list[str]] = {}
    for report in client.status(timeout=STATUS_SECONDS):
        problem = report["node"]["problem"]
        if problem not in (None, "no leader"):  # that the cluster has none is what the line begins with
            labels.setdefault(problem, []).append(report["node"]["label"])
    return "; ".join(f"{', '.join(sorted(those))}: {problem}" for problem, those in labels.items())


def _print_nodes(settings: Settings, launcher: Launcher) -> None:
    if settings.json:
        for node in launcher.nodes:
            output.print_json(node.row())
        return
    for node in launcher.nodes:
        output.print_line(f"{node.label}  {node.endpoint}  pid {node.process.pid}  {node.spec.directory}")


def _stay(settings: Settings, data_dir: Path, launcher: Launcher, client: Client, check: Any, *, restart: bool) -> None:
    from conflux.cli.live import view_for
    from conflux.cli.notify import tell_service_manager
    from conflux.cli.supervisor import supervise

    view = view_for(settings, _first_line(settings, data_dir, launcher))
    tell_service_manager("READY=1")
    try:
        supervise(launcher, client, view, check, restart=restart)
    finally:
        tell_service_manager("STOPPING=1")
        view.close()


def _first_line(settings: Settings, data_dir: Path, launcher: Launcher) -> str:
    count = len(launcher.nodes)
    manifest = launcher.manifest
    where = f"in {data_dir / settings.cluster}. Ctrl-C stops"
    if all(node.spec.join is not None for node in launcher.nodes):
        labels = ", ".join(node.label for node in launcher.nodes)
        return f"{labels} of the cluster {settings.cluster!r}, {where} what runs here."
    if manifest is not None and not manifest.is_whole:
        return f"{count} of the {manifest.size} nodes of the cluster {settings.cluster!r}, {where} what runs here."
    all_nodes = "The node" if count == 1 else f"{count} nodes"
    return (
        f"{all_nodes} of the cluster {settings.cluster!r}, on this machine and for it alone, {where} what runs here. "
        "On several machines: conflux keygen cluster.key, then on each "
        f"conflux start --cluster-size {max(3, count)} --local 1 --key cluster.key"
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
        local=asked["local"],
        key_file=settings.key,
        insecure=asked["insecure"],
        peers=asked["peers"],
        bind=asked["bind"],
        advertise=asked["advertise"],
        mdns=asked["mdns"],
        archive=Path(os.path.abspath(asked["archive"])) if asked["archive"] is not None else None,
        no_archive=asked["no_archive"],
        forget=asked["forget"],
        join=asked["join"],
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
