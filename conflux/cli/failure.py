"""The one place where an error becomes a line on stderr and an exit status."""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import click

from conflux.cli import output
from conflux.cli.ending import INTERRUPTED, TERMINATED, Terminated, ended_by_signals
from conflux.errors import ConfluxError

USAGE = 2


@dataclass(frozen=True, slots=True)
class Mode:
    """How errors are told: found without parsing, since parsing is what may have failed."""

    json: bool = False
    verbose: bool = False

    @classmethod
    def of(cls, arguments: Sequence[str], environment: Mapping[str, str]) -> Mode:
        """From the arguments before any `--`, and the environment."""
        chosen, verbose = environment.get("CONFLUX_OUTPUT", ""), False
        before = ""
        for argument in arguments:
            if argument == "--":
                break
            if before == "--output":
                chosen = argument
            elif argument == "--json":
                chosen = "json"
            elif argument.startswith("--output="):
                chosen = argument.removeprefix("--output=")
            elif argument == "--verbose" or re.fullmatch("-[vq]*v[vq]*", argument):
                verbose = True
            before = argument
        return cls(chosen == "json", verbose)


@dataclass(frozen=True, slots=True)
class Failure:
    """What is told of an error: the fields of the JSON object."""

    error: str  # name of its class
    message: str
    hint: str
    exit_status: int
    retryable: bool
    where: str = ""  # the traceback of what nobody foresaw

    def as_line(self) -> str:
        """One line that says what happened and what to do."""
        message, hint = _one_line(self.message) or self.error, _one_line(self.hint)
        if hint and not message.endswith((".", "!", "?")):
            message += "."
        return f"error: {message} {hint}".rstrip()

    def as_json(self, *, verbose: bool) -> str:
        """The object."""
        fields = asdict(self)
        where = fields.pop("where")
        return json.dumps(fields | ({"where": where} if verbose and where else {}))


def guarded(action: Callable[[], int], mode: Mode) -> int:
    """Run a command to its end, output flushed; gives the exit status, and tells of an error first."""
    try:
        with ended_by_signals():
            status = action()
            output.flush()
            return status
    except BrokenPipeError:
        output.abandon_stdout()
        return 0
    except Terminated:
        return 0 if output.reader_is_gone() else TERMINATED
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except Exception as error:
        _flush_results()
        return tell(failure_of(error), mode)


def tell(failure: Failure, mode: Mode) -> int:
    """Print an error; gives its exit status."""
    if mode.json:
        output.complain(failure.as_json(verbose=mode.verbose))
    else:
        if mode.verbose and failure.where:
            output.complain(failure.where)
        output.complain(failure.as_line())
    return failure.exit_status


def failure_of(error: Exception) -> Failure:
    """What to tell of an error, whatever it is."""
    match error:
        case ConfluxError():
            name = type(error).__name__
            return Failure(name, str(error), error.hint, error.exit_status, error.retryable)
        case click.UsageError():
            path = error.ctx.command_path if error.ctx else "conflux"
            return Failure("UsageError", error.format_message(), f"See `{path} --help`.", USAGE, False)
        case click.ClickException():
            return Failure(type(error).__name__, error.format_message(), "", error.exit_code, False)
        case OSError():
            reason = error.strerror or str(error)
            message = f"{error.filename}: {reason}" if error.filename else f"the system refuses: {reason}"
            return Failure(type(error).__name__, message, _what_to_do(error), 1, False)
        case _:
            message = f"{type(error).__name__}: {error}"
            where = "".join(traceback.format_exception(error)).rstrip()
            return Failure(type(error).__name__, message, "This is a bug: -v shows where it happened.", 1, False, where)


def _what_to_do(error: OSError) -> str:
    if not error.filename:
        return ""
    path = str(error.filename)
    directory = shlex.quote(os.path.dirname(path) or ".")
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return f"Make room there: df -h {directory}"
        case errno.EACCES | errno.EPERM:
            return f"Only its owner may: ls -ld {shlex.quote(path)} {directory}"
        case errno.ENOENT | errno.ENOTDIR:
            return f"See what is there: ls -ld {directory}"
    return ""


def _flush_results() -> None:
    """What was printed before the error comes first."""
    try:
        output.flush()
    except (OSError, output.OutputFailed):
        output.abandon_stdout()


def _one_line(text: str) -> str:
    return " ".join(text.split())
