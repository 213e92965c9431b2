"""What a command says: results on stdout, everything else on stderr.

Whatever the other end is - a terminal, a pipe that closes early, a file, a locale without UTF-8, nothing at all -
no command has to think of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import stat
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import TextIOWrapper
from typing import Any

import click

from conflux.errors import ConfluxError

_reader_gone = threading.Event()


class OutputFailed(ConfluxError):
    """What a command found could not be printed."""

    hint = "Look at where it goes: the disk may be full."


def prepare() -> None:
    """Make both streams take any text. A stream that was closed before we began leads nowhere."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - for the whole run
        elif isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON text that stdout's encoding can carry."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return json.dumps(value, ensure_ascii=encoding != "utf8", indent=indent)


def print_json(value: Any) -> None:
    """One object, one line, at once."""
    print_line(to_json(value))
    flush()


def print_line(text: str) -> None:
    """A line on stdout. It may stay in the buffer: those who print as things happen `flush`. Raises as that does."""
    with _failing_as_output():
        sys.stdout.write(f"{text}\n")


def flush() -> None:
    """Hand on what was printed.

    Raises:
        OutputFailed: it can't be written.
        BrokenPipeError: nobody reads any more.
    """
    with _failing_as_output():
        sys.stdout.flush()


def complain(text: str) -> None:
    """A line on stderr; nobody is there to be told when that fails."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def note(text: str, *, verbosity: int = 0) -> None:
    """Something worth knowing that isn't a result: on stderr, unless -q was given."""
    if verbosity >= 0:
        complain(text)


def on_terminal() -> bool:
    """True where a person reads stdout."""
    return sys.stdout.isatty()


def in_colour() -> bool:
    """Only on a terminal that has colours, and not where NO_COLOR forbids it."""
    return on_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def styled(text: str, **style: Any) -> str:
    """The text in colour, where there is any."""
    return click.style(text, **style) if in_colour() else text


def utc(time_us: int) -> str | None:
    """Microseconds since 1970 as RFC 3339; None for what no calendar holds."""
    try:
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_us)
    except OverflowError:
        return None
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def abandon_stdout() -> None:
    """After a write that failed: what is still in the buffer goes nowhere, so that the interpreter's end is silent."""
    null = os.open(os.devnull, os.O_WRONLY)
    with contextlib.suppress(OSError, ValueError):
        os.dup2(null, sys.stdout.fileno())
    os.close(null)


def reader_is_gone() -> bool:
    """True once whoever read our stdout has closed it."""
    return _reader_gone.is_set()


@contextlib.contextmanager
def ending_with_reader() -> Iterator[None]:
    """For commands that wait: `conflux watch | head -1` ends with `head`, not with the next action, which may never be.

    A pipe's end is no event that a waiting main thread would see, so another thread looks and sends it SIGTERM: but not
    once the command ends by itself, where that would only disturb.
    """
    watched = threading.Lock()  # held while the signal may be sent; never let go once the command has ended
    if _is_pipe():
        threading.Thread(target=_await_reader, args=(watched,), name="stdout", daemon=True).start()
    try:
        yield
    finally:
        watched.acquire()


@contextlib.contextmanager
def _failing_as_output() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        abandon_stdout()
        raise OutputFailed(f"the output can't be written: {error.strerror}") from error


def _is_pipe() -> bool:
    try:
        mode = os.fstat(sys.stdout.fileno()).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def _await_reader(watched: threading.Lock) -> None:
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)  # errors are always reported
    main_thread = threading.main_thread().ident
    assert main_thread is not None
    poll.poll()
    if watched.acquire(blocking=False):
        _reader_gone.set()
        signal.pthread_kill(main_thread, signal.SIGTERM)
        watched.release()
