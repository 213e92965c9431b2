"""What every command takes: the global options, before or after its name, and `Settings`, what came of them.

A command of the tool is made by `command`, which gives it the global options and its worked example:

    @command("stop", examples=["conflux stop", "conflux stop --id n2"])
    @click.option("--id", "label")
    def stop(settings: Settings, label: str | None) -> None:
        ...

Rule 1: nothing heavy is imported here, `conflux --help` passes through this file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from conflux.cli import ending
from conflux.cli.global_options import (
    DEFAULT_CLUSTER,
    DEFAULT_TIMEOUT_SECONDS,
    GlobalOption,
    given_in,
    global_options,
)
from conflux.errors import OptionsError

if TYPE_CHECKING:
    from conflux.client.client import Client


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The global options of one run. What was not said is None, or the default."""

    cluster: str = DEFAULT_CLUSTER
    cluster_was_named: bool = False  # by an option or the environment
    data_dir: Path
    data_dir_was_named: bool = False
    endpoints: tuple[str, ...] = ()
    key: Path | None = None
    json: bool = False
    timeout_s: float | None = None  # as it was said; see `timeout`
    verbosity: int = 0

    @property
    def cluster_dir(self) -> Path:
        """Where the cluster's local nodes have their directories."""
        return self.data_dir / self.cluster

    def timeout(self, default_s: float = DEFAULT_TIMEOUT_SECONDS) -> float:
        """How long to wait, in seconds; `default_s` where nobody said."""
        return default_s if self.timeout_s is None else self.timeout_s

    def client(self, endpoints: Sequence[str] = (), *, patience_s: float | None = None) -> Client:
        """A client of the cluster.

        Args:
            patience_s: how long there is, if that is less than the time-out.

        Raises:
            Unreachable: no endpoint is known; or none of those that were named answers, where the cluster is, too.
            OptionsError: the key can't be used, or the endpoint that was named is another cluster's than that.
        """
        import logging

        from conflux.client.client import Client
        from conflux.client.finding import MDNS_SECONDS_MAX

        logging.getLogger("conflux").addHandler(logging.NullHandler())  # a command's errors are told by itself, once
        patience_s = self.timeout() if patience_s is None else patience_s
        client = Client(
            self.cluster,
            endpoints=[*endpoints] or self.endpoints,
            key=self.key,
            data_dir=self.data_dir,
            mdns_seconds=max(0.1, min(MDNS_SECONDS_MAX, patience_s)),
        )
        try:
            ending.hear()  # before the first call is sent
            if self.cluster_was_named and self.endpoints and not endpoints:
                self._check_cluster(client, patience_s)
        except BaseException:
            client.close()
            raise
        if client.found.by_mdns and self.verbosity >= 0:
            click.echo(f"found the cluster {self.cluster!r} at {', '.join(client.found.endpoints)}", err=True)
        return client

    def _check_cluster(self, client: Client, seconds: float) -> None:
        """Clusters may share a key: a call for one of them must not end up in another because of a wrong address."""
        name = client.cluster_name(timeout=max(0.05, seconds))
        if name != self.cluster:
            raise OptionsError(
                f"{', '.join(self.endpoints)} belongs to the cluster {name!r}, not to {self.cluster!r}",
                hint="Name another --endpoint, or leave out --cluster or --endpoint.",
            )


class Command(click.Command):
    """A command with its examples, and the global options in a section of their own."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **options: Any) -> None:
        super().__init__(*args, **options)
        self.examples = tuple(examples)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        format_options(self, ctx, formatter)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Examples" if len(self.examples) > 1 else "Example"):
            for example in self.examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


def format_options(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """A command's own options first, then the global ones. Arguments are told of in its text."""
    titled: dict[str, list[tuple[str, str]]] = {"Options": [], "Global options (before or after the command)": []}
    own, shared = titled.values()
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None and isinstance(parameter, click.Option):  # some versions of click have one of arguments
            is_shared = isinstance(parameter, GlobalOption) or not {"--help", "--version"}.isdisjoint(parameter.opts)
            (shared if is_shared else own).append(record)
    for title, records in titled.items():
        if records:
            with formatter.section(title):
                formatter.write_dl(records)


def command(
    name: str, *, examples: Sequence[str], cls: type[Command] = Command, **options: Any
) -> Callable[[Callable[..., Any]], Command]:
    """Decorator: the function becomes a command. It gets the `Settings` first, then its own parameters by name.

    Args:
        examples: command lines for the end of its --help, each with a comment where that helps.
        options: more of `click.Command`.
    """

    def decorate(function: Callable[..., Any]) -> Command:
        def run(**parameters: Any) -> Any:
            settings = settings_of(click.get_current_context())
            ending.hear()  # a signal that came while the command was loaded
            return function(settings, **parameters)

        wrapped = global_options(update_wrapper(run, function))
        return click.command(name, cls=cls, examples=examples, **options)(wrapped)

    return decorate


def settings_of(ctx: click.Context) -> Settings:
    """What was given before and after the command's name, and in the environment."""
    given = dict(given_in(ctx))
    data_dir = given.pop("data_dir", None)
    is_named = data_dir is not None
    if data_dir is None:
        from conflux.client.finding import default_data_dir

        data_dir = default_data_dir()
    verbosity = given.pop("verbose", 0) - given.pop("quiet", 0)
    json = given.pop("output", "text") == "json"
    return Settings(
        data_dir=Path(data_dir),
        data_dir_was_named=is_named,
        cluster_was_named="cluster" in given,
        json=json,
        verbosity=verbosity,
        **given,
    )
