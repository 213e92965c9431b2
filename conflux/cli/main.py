"""`conflux`: the group of commands, each loaded when it is called, and `main`, where every run begins and ends.

Rule 1: `conflux --help` loads no command, so what it says of them stands in the table here.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from conflux.cli import failure, output
from conflux.cli.global_options import global_options
from conflux.cli.groups import Table, load, write_commands
from conflux.cli.options import format_options

COMPLETION_VARIABLE = "_CONFLUX_COMPLETE"

COMMANDS: Table = {
    "start": ("start", "Run the nodes of a cluster on this machine."),
    "stop": ("stop", "Stop the nodes that run here."),
    "wait": ("wait", "Wait until the cluster serves."),
    "perform": ("perform", "Perform a method and wait until its action is committed."),
    "watch": ("watch", "Print each committed action as it happens."),
    "state": ("state", "Print the state."),
    "status": ("status", "Show how each node of the cluster is."),
    "bench": ("bench", "Show how fast the cluster is, and what limits it."),
    "members": ("members", "Show the members, add, promote, replace and remove them."),
    "transfer-leadership": ("transfer_leadership", "Hand leadership to another voter."),
    "snapshot": ("snapshot", "Take snapshots, save and restore them."),
    "inspect-log": ("inspect_log", "Print a node's log, decoded, from its directory on disk."),
    "logs": ("logs", "Print what the nodes wrote to their log files."),
    "keygen": ("keygen", "Make a cluster key."),
    "destroy": ("destroy", "Delete the directories of a cluster's nodes here."),
    "export": ("export", "Write the log of a node here, with the state it begins with, into a file."),
    "replay": ("replay", "Fold such a file anew."),
    "inspect-archive": ("inspect_archive", "Say what was kept of logs that were cut."),
    "recover": ("recover", "Make a new cluster from what is left of one that lost its majority."),
    "simulate": ("simulate", "Run clusters in simulated weather and judge all that happens."),
    "completion": ("completion", "Print the script that completes commands in a shell."),
}

HELP = """A predictable state container, replicated with Raft: Redux for distributed systems.

Start a cluster, perform methods on it, and watch the actions that it commits."""

EXAMPLE = """\
conflux start --cluster-size 3 --detach
conflux perform append foo
conflux state
conflux stop
"""


class Group(click.Group):
    """All commands, none of them loaded before it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return load(COMMANDS, cmd_name)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_commands(COMMANDS, formatter)
        format_options(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Example"):
            for line in EXAMPLE.splitlines():
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


@click.group("conflux", cls=Group, help=HELP, invoke_without_command=True)
@global_options
@click.pass_context
def group(ctx: click.Context) -> None:
    """Without a command there is nothing to do."""
    if ctx.invoked_subcommand is None:
        raise click.UsageError("No command was given.", ctx)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; gives the exit status."""
    given = [*(sys.argv[1:] if arguments is None else arguments)]
    output.prepare()
    return failure.guarded(lambda: run(given), failure.Mode.of(given, os.environ))


def run(arguments: list[str]) -> int:
    """Find the command and run it. Errors are raised.

    Not by `click.Command.main`, whose answers to a closed pipe and to Ctrl-C aren't ours.
    """
    if instruction := os.environ.get(COMPLETION_VARIABLE):
        from click.shell_completion import shell_complete

        return shell_complete(group, {}, "conflux", COMPLETION_VARIABLE, instruction)
    colour = False if os.environ.get("NO_COLOR") else None  # None: on a terminal only
    try:
        with group.make_context("conflux", arguments, color=colour) as ctx:
            status = group.invoke(ctx)
    except click.exceptions.Exit as end:
        status = end.exit_code
    return status if isinstance(status, int) else 0
