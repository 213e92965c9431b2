"""The global options: every command has them, and they may stand before its name, too.

A flag is stronger than its environment variable, that than the default; of two flags the later one wins.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource

import conflux
from conflux.cli.files import NamedPath

DEFAULT_CLUSTER = "conflux"
DEFAULT_TIMEOUT_SECONDS = 10.0
TIMEOUT_SECONDS_MAX = 365 * 24 * 3600.0
CLUSTER_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_GIVEN = "conflux.given"  # in click's meta, which a group shares with its command: name of an option → its value


class GlobalOption(click.Option):
    """An option of every command, which may stand before the command's name as well."""

    def resolve_envvar_value(self, ctx: click.Context) -> str | None:
        """The environment is asked by the command alone, and only where no flag was given: a flag is stronger."""
        if isinstance(ctx.command, click.Group) or self.name in given_in(ctx):
            return None
        value = super().resolve_envvar_value(ctx)
        return value.replace(",", " ") if value and self.multiple else value


def given_in(ctx: click.Context) -> dict[str, Any]:
    """What was said so far, in this run, before and after the command's name and in the environment."""
    given: dict[str, Any] = ctx.meta.setdefault(_GIVEN, {})
    return given


def global_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorator: adds the global options; their values go to `given_in`, not to the function."""
    for decorator in reversed(_DECORATORS):
        function = decorator(function)
    return function


def _note(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    """Remember what was said. What stands after the command comes later, so it wins; endpoints are all taken."""
    assert parameter.name is not None
    if ctx.get_parameter_source(parameter.name) in (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT):
        given = given_in(ctx)
        if parameter.multiple:
            value = (*given.get(parameter.name, ()), *value)
        given[parameter.name] = value


def _note_json(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        given_in(ctx)["output"] = "json"


def cluster_name(value: str) -> str:
    """The type of --cluster."""
    if not CLUSTER_NAME.fullmatch(value):
        raise click.BadParameter(f"{value!r} must match {CLUSTER_NAME.pattern}.")
    return value


def seconds(value: Any) -> float:
    """The type of --timeout."""
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not 0 < number <= TIMEOUT_SECONDS_MAX:
        raise click.BadParameter(f"{value!r} is no number of seconds greater than 0.")
    return number


def _option(*names: str, callback: Callable[..., None] = _note, **attributes: Any) -> Callable[..., Any]:
    shown = attributes.get("envvar") is not None
    attributes = {"callback": callback, "expose_value": False, "show_envvar": shown, **attributes}
    return click.option(*names, cls=GlobalOption, **attributes)


_DECORATORS = (
    _option(
        "--cluster",
        type=cluster_name,
        metavar="NAME",
        envvar="CONFLUX_CLUSTER",
        help=f"The cluster's name.  [default: {DEFAULT_CLUSTER}]",
    ),
    _option(
        "--data-dir",
        type=NamedPath(file_okay=False),
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
        type=NamedPath(),
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
        type=seconds,
        metavar="SECONDS",
        envvar="CONFLUX_TIMEOUT",
        help=f"How long to wait at most.  [default: {DEFAULT_TIMEOUT_SECONDS:g}]",
    ),
    _option("--verbose", "-v", count=True, help="Say more."),
    _option("--quiet", "-q", count=True, help="Say less: no notes on stderr."),
    click.version_option(conflux.__version__, message="conflux %(version)s", help="Show the version."),
)
