"""What every command takes: the global options, before or after its name, and `Settings`, what came of them.

A command of the tool is made by `command`, which gives it the global options and its worked example:

    @command("stop", examples=["conflux stop", "conflux stop --id n2"])
    @click.option("--id", "label")
    def stop(settings: Settings, label: str | None) -> None:
        ...

A flag is stronger than its environment variable, that than the default; of two flags the later one wins.
Rule 1: nothing heavy is imported here, `conflux --help` passes through this file.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

import conflux

if TYPE_CHECKING:
    from conflux.client.client import Client

DEFAULT_CLUSTER = "conflux"
DEFAULT_TIMEOUT_SECONDS = 10.0
TIMEOUT_SECONDS_MAX = 365 * 24 * 3600.0
CLUSTER_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_GIVEN = "conflux.given"  # in click's meta, which a group shares with its command: name of an option → its value


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The global options of one run. What was not said is None, or the default."""

    cluster: str = DEFAULT_CLUSTER
    data_dir: Path
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

    def client(self, endpoints: Sequence[str] = ()) -> Client:
        """A client of the cluster.

        Raises:
            Unreachable: no endpoint is known.
            OptionsError: the key can't be used.
        """
        from conflux.client.client import Client

        return Client(self.cluster, endpoints=[*endpoints] or self.endpoints, key=self.key, data_dir=self.data_dir)


class GlobalOption(click.Option):
    """An option of every command, which may stand before the command's name as well."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """The environment is asked by the command alone, and only where no flag was given: a flag is stronger."""
        if ctx.parent is None or self.name in _given(ctx):
            return None
        value = super().resolve_envvar_value(ctx)
        return value.replace(",", " ") if value and self.multiple else value


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
    """A command's own options first, then the global ones."""
    titled: dict[str, list[tuple[str, str]]] = {"Options": [], "Global options (before or after the command)": []}
    own, shared = titled.values()
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None:
            is_shared = isinstance(parameter, GlobalOption) or parameter.name in ("help", "version")
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
            return function(settings_of(click.get_current_context()), **parameters)

        wrapped = global_options(update_wrapper(run, function))
        return click.command(name, cls=cls, examples=examples, **options)(wrapped)

    return decorate


def global_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: adds the global options; their values go to `settings_of`, not to the function."""
    for decorator in reversed(_DECORATORS):
        function = decorator(function)
    return function


def settings_of(ctx: click.Context) -> Settings:
    """What was given before and after the command's name, and in the environment."""
    given = dict(_given(ctx))
    data_dir = given.pop("data_dir", None)
    if data_dir is None:
        from conflux.client.finding import default_data_dir

        data_dir = default_data_dir()
    verbosity = given.pop("verbose", 0) - given.pop("quiet", 0)
    json = given.pop("output", "text") == "json"
    return Settings(data_dir=Path(data_dir), json=json, verbosity=verbosity, **given)


def _given(ctx: click.Context) -> dict[str, Any]:
    given: dict[str, Any] = ctx.meta.setdefault(_GIVEN, {})
    return given


def _note(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Remember what was said. What stands after the command comes later, so it wins; endpoints are all taken."""
    assert parameter.name is not None
    if ctx.get_parameter_source(parameter.name) in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
        given = _given(ctx)
        if parameter.multiple:
            value = (*given.get(parameter.name, ()), *value)
        given[parameter.name] = value


def _note_json(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        _given(ctx)["output"] = "json"


class _ClusterName(click.ParamType):
    name = "name"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not CLUSTER_NAME.fullmatch(value):
            self.fail(f"{value!r} must match {CLUSTER_NAME.pattern}", param, ctx)
        return value


class _Seconds(click.ParamType):
    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds <= TIMEOUT_SECONDS_MAX:
            self.fail(f"{value!r} is no number of seconds greater than 0", param, ctx)
        return seconds


def _option(*names: str, callback: Callable[..., None] = _note, **attributes: Any) -> Callable[..., Any]:
    shown = attributes.get("envvar") is not None
    attributes = {"callback": callback, "expose_value": False, "show_envvar": shown, **attributes}
    return click.option(*names, cls=GlobalOption, **attributes)


_DECORATORS = (
    _option(
        "--cluster",
        type=_ClusterName(),
        metavar="NAME",
        envvar="CONFLUX_CLUSTER",
        help=f"The cluster's name.  [default: {DEFAULT_CLUSTER}]",
    ),
    _option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        envvar="CONFLUX_DATA_DIR",
        help="A node lives in DIR/CLUSTER/LABEL.  [default: the platform's user data directory]",
    ),
    _option(
        "--endpoint",
        "endpoints",
        multiple=True,
        metavar="ADDR",
        envvar="CONFLUX_ENDPOINT",
        help="HOST:PORT of a node; repeatable.  [default: the nodes that run here]",
    ),
    _option(
        "--key",
        type=click.Path(path_type=Path),
        metavar="FILE",
        envvar="CONFLUX_KEY",
        help="The cluster's key.  [default: the one in the cluster's directory]",
    ),
    _option(
        "--output",
        type=click.Choice(["text", "json"]),
        envvar="CONFLUX_OUTPUT",
        help="How results are printed.  [default: text]",
    ),
    _option("--json", is_flag=True, callback=_note_json, help="Short for --output json."),
    _option(
        "--timeout",
        "timeout_s",
        type=_Seconds(),
        metavar="SECONDS",
        envvar="CONFLUX_TIMEOUT",
        help=f"How long to wait at most.  [default: {DEFAULT_TIMEOUT_SECONDS:g}]",
    ),
    _option("--verbose", "-v", count=True, help="Say more."),
    _option("--quiet", "-q", count=True, help="Say less: no notes on stderr."),
    click.version_option(conflux.__version__, message="conflux %(version)s", help="Show the version."),
)
