"""`conflux perform METHOD [ARGS]...`"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from conflux.cli import output
from conflux.cli.ending import Interrupted
from conflux.cli.options import Command, Settings, command
from conflux.errors import MethodRejected, OptionsError, OutcomeUnknown

if TYPE_CHECKING:
    from conflux.client.committed import Committed

NOTHING_CHANGED = "Nothing was changed."


class Perform(Command):
    """A command whose arguments may look like options: whatever isn't one of ours is an argument."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, options_first(self.get_params(ctx), args, ctx))


def options_first(parameters: Sequence[click.Parameter], arguments: Sequence[str], ctx: click.Context) -> list[str]:
    """The same arguments with our options first and the others after `--`, where the parser leaves them alone.

    click's own `ignore_unknown_options` would find the -q in -10q.
    """
    options = [parameter for parameter in parameters if isinstance(parameter, click.Option)]
    takes_value = {name: not (option.is_flag or option.count) for option in options for name in option.opts}
    ours: list[str] = []
    theirs: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, equals, _ = argument.partition("=")
        if argument == "--":
            theirs += rest
        elif argument.startswith("--") and name in takes_value:
            ours.append(argument)
            if takes_value[name] and not equals:
                value = next(rest, None)
                if value is None:
                    raise click.UsageError(f"Option {name!r} requires an argument.", ctx)
                ours.append(value)
        elif len(argument) > 1 and argument[0] == "-" and all(f"-{letter}" in takes_value for letter in argument[1:]):
            ours.append(argument)
        else:
            theirs.append(argument)
    return [*ours, "--", *theirs]


@command(
    "perform",
    cls=Perform,
    examples=[
        "conflux perform append foo",
        "conflux perform append -1                # a string, as every argument is",
        "conflux perform append -- --json         # after -- nothing is an option",
        'conflux perform --parse-json append \'{"name": "foo", "count": 3}\'',
    ],
)
@click.argument("method")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@click.option("--parse-json", is_flag=True, help="Read each of ARGS as JSON.")
def perform(settings: Settings, method: str, args: tuple[str, ...], parse_json: bool) -> None:
    """Perform METHOD with ARGS and wait until its action is committed; print the action.

    ARGS are strings unless --parse-json is given. Exit status: 5 if the method rejected the call, 4 if it was not
    applied, 6 if that is not known.
    """
    method, *texts = [as_text(argument) for argument in (method, *args)]
    arguments = [parsed(number, text) for number, text in enumerate(texts, 1)] if parse_json else texts
    client = settings.client()
    committed: Committed | None = None
    try:
        with client:
            committed = client.submit(method, *arguments, timeout=settings.timeout()).result()
        _print(settings, method, committed)
    except MethodRejected as error:
        error.hint = error.hint or NOTHING_CHANGED
        raise
    except KeyboardInterrupt as end:
        raise _interrupted(end, committed) from None
    except output.OutputFailed as error:
        error.hint = "The call was committed all the same: don't repeat it."
        raise


def _interrupted(end: KeyboardInterrupt, committed: Committed | None) -> Interrupted:
    """What to say of a call that was begun."""
    if committed is None:
        message, hint = "the call may or may not be applied", OutcomeUnknown.hint
    elif committed.revision is None:
        message, hint = "the method dispatched no action", NOTHING_CHANGED
    else:
        message, hint = "the call was committed all the same", "Don't repeat it."
    return Interrupted.by(end, message, hint)


def _print(settings: Settings, method: str, committed: Committed) -> None:
    if settings.json:
        found: dict[str, Any] = {"revision": committed.revision, "index": committed.index, "term": committed.term}
        output.print_json(found | {"action": committed.action})
    elif committed.revision is None:
        output.note(f"nothing to do: {method} dispatched no action", verbosity=settings.verbosity)
    else:
        output.print_json(committed.action)


def as_text(argument: str) -> str:
    """An argument as it was typed: in a locale that doesn't know its bytes, they are UTF-8.

    Raises:
        OptionsError: they aren't.
    """
    if not any("\ud800" <= letter <= "\udfff" for letter in argument):  # so Python marks bytes that it could not decode
        return argument
    try:
        return os.fsencode(argument).decode()
    except UnicodeDecodeError:
        hint = "Arguments are text, in UTF-8 or the locale's encoding."
        raise OptionsError(f"{argument!a} is not UTF-8", hint=hint) from None


def parsed(number: int, text: str) -> Any:
    """An argument that is JSON.

    Raises:
        OptionsError: it isn't; the message says which.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        shown = text if len(text) <= 40 else f"{text[:37]}..."
        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
        hint = "A string is JSON in its quotes: '\"foo\"'. Leave --parse-json out to pass strings."
        raise OptionsError(f"argument {number}, {shown!r}, is not JSON: {reason}", hint=hint) from None
