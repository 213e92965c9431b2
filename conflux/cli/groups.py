"""Commands of commands, `conflux members add`: each is loaded when it is called.

Rule 1: nothing heavy is imported here, `conflux --help` passes through this file.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from conflux.cli.global_options import global_options
from conflux.cli.options import Command

# Name → (module, what `--help` says). The command is the module's attribute of the same name.
Table = dict[str, tuple[str, str]]


def load(table: Table, name: str) -> click.Command | None:
    """The command of this name, or None."""
    if name not in table:
        return None
    module, _ = table[name]
    found: click.Command = getattr(import_module(f"conflux.cli.{module}"), module)
    return found


def write_commands(table: Table, formatter: click.HelpFormatter) -> None:
    """What `--help` says of the commands of a table."""
    with formatter.section("Commands"):
        formatter.write_dl([(name, text) for name, (_, text) in table.items()])


class CommandGroup(Command, click.Group):
    """A command that is nothing but the commands of its table."""

    def __init__(self, *args: Any, table: Table, **options: Any) -> None:
        super().__init__(*args, **options)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return load(self.table, cmd_name)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_commands(self.table, formatter)
        super().format_options(ctx, formatter)


def command_group(name: str, table: Table, *, help: str, examples: Sequence[str]) -> CommandGroup:
    """A group of commands; without one of them it is a usage error."""

    def without_command() -> None:
        ctx = click.get_current_context()
        if ctx.invoked_subcommand is None:
            raise click.UsageError(f"No command was given: {', '.join(table)}.", ctx)

    wrapped = global_options(without_command)
    return click.command(
        name, cls=CommandGroup, help=help, examples=examples, table=table, invoke_without_command=True
    )(wrapped)
