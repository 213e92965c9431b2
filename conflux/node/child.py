"""Processes that a launcher starts: a job on their standard input, one line of JSON as their answer.

The launcher has loaded all that a node needs, so a fork of it is one at once, where a new interpreter loads for a tenth
of a second: five nodes on two processors serve in two thirds of the time. But all forks of one process order the
elements of a set of texts alike. So the first node of each start is a new interpreter: a reducer that depends on such
an order is found by the hashes of the states on one machine, too (docs/decisions/0013).
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import select
import signal
import stat
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, NoReturn

from conflux import errors, limits
from conflux.errors import ConfluxError

CAN_FORK = sys.platform == "linux"  # elsewhere libraries don't bear it
DESCRIPTORS_MAX = 1 << 16
CHECK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Child:
    """A process that was started, and what it says beside its answer."""

    what: str  # what it is, for an error's text
    process: subprocess.Popen[bytes]
    words: IO[bytes] | None  # None: it says that on the launcher's own standard error

    def answer(self, deadline_s: float, check: Callable[[], None]) -> dict[str, Any]:
        """The one line that it answers with; in its place an error, where it ended or is killed at the deadline.

        `check` is called while there is none, and what it raises ends the wait.
        """
        stdout = self.process.stdout
        assert stdout is not None
        with stdout, self.words or nullcontext():
            ready, left_s = False, CHECK_SECONDS
            while not ready and left_s > 0:
                check()
                left_s = max(0.0, deadline_s - time.monotonic())
                ready = bool(select.select([stdout], [], [], min(left_s, CHECK_SECONDS))[0])
            line = stdout.readline() if ready else b""
            if line:
                answer: dict[str, Any] = json.loads(line)
                return answer
            self.process.kill()
            self.process.wait()
            reason = self._last_word() or ("it ended" if ready else "it did not answer in time")
            return said_of(ConfluxError(f"{self.what} failed: {reason}"))

    def await_end(self, deadline_s: float) -> None:
        """Wait until it has ended; at the deadline it is killed."""
        try:
            self.process.wait(max(0.0, deadline_s - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def let_go(self) -> None:
        """It goes on when this process has ended: in Python's development mode `Popen` would warn of that."""
        self.process.returncode = 0

    def _last_word(self) -> str:
        if self.words is None:
            return ""
        self.words.seek(0)
        lines = self.words.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""


class Answer:
    """A child's one line. From construction on, what else it prints, or a user's app does, is no part of it."""

    def __init__(self) -> None:
        self._descriptor = os.dup(1)
        os.dup2(2, 1)
        sys.stdout = os.fdopen(1, "w", 1, errors="backslashreplace", closefd=False)

    def give(self, line: dict[str, Any]) -> None:
        """Answer, or end where whoever started this waits for it no more."""
        try:
            os.write(self._descriptor, json.dumps(line).encode() + b"\n")
        except BrokenPipeError:
            sys.exit(1)
        os.close(self._descriptor)


def said_of(error: ConfluxError) -> dict[str, Any]:
    """An error as an answer."""
    return {"error": type(error).__name__, "message": str(error), "hint": error.hint}


def raised(answer: dict[str, Any]) -> ConfluxError:
    """The error that a child answered with, as it raised it."""
    kind: type[ConfluxError] = getattr(errors, answer["error"], ConfluxError)
    return kind(answer["message"], hint=answer["hint"])


def said_so_far() -> bytes:
    """What this child, or a user's app in it, has said beside its answer, where that lies in a file."""
    return os.pread(2, limits.FRAME_BYTES_MAX, 0) if stat.S_ISREG(os.fstat(2).st_mode) else b""


def command(main: Callable[[], int]) -> list[str]:
    """The command that runs `main` of a module in a new interpreter."""
    return [sys.executable, "-c", f"import sys; from {main.__module__} import main; sys.exit(main())"]


def begin(what: str, main: Callable[[], int], job: bytes, *, fresh: bool, words_in: Path | None) -> Child:
    """Start `main` of a module.

    Args:
        what: what it is, for the text of an error.
        main: reads its standard input, gives an `Answer`, and returns an exit status.
        job: what it reads there; less than a pipe holds (64 KiB).
        fresh: in a new interpreter. Else in a fork of this process, which may have no other thread.
        words_in: a directory for a nameless file with what it says beside its answer, which so never waits for a
            reader; it has a session of its own then, where Ctrl-C doesn't reach it. None: it is a part of this
            process's command: it speaks where that speaks, and Ctrl-C ends it.

    Raises:
        ConfluxError: the system has no room for it.
    """
    forks = CAN_FORK and not fresh
    if forks:
        gc.freeze()  # what is here is shared, until a collection in the fork looks at it
    try:
        words = None if words_in is None else tempfile.TemporaryFile(dir=words_in)  # noqa: SIM115 - the child writes on
        process = subprocess.Popen(
            command(main),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=words,
            start_new_session=words_in is not None,
            restore_signals=not forks,  # a Python that goes on ignores SIGPIPE
            preexec_fn=partial(_instead, main) if forks else None,  # noqa: PLW1509 - there is no other thread
        )
    except OSError as error:  # no room for a file, no more processes
        raise ConfluxError(f"{what} can't be started: {error.strerror}") from error
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as stdin:  # it has ended; its answer will say so
        stdin.write(job)
    return Child(what, process, words)


def _instead(main: Callable[[], int]) -> NoReturn:
    """In the fork, in place of the command: nothing of the launcher's goes on there, and nothing returns to it."""
    status = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        sys.unraisablehook = sys.__unraisablehook__
        os.closerange(3, DESCRIPTORS_MAX)  # the launcher's lock, its ends of other pipes, and what `Popen` waits for
        sys.stdin = os.fdopen(0, closefd=False)
        sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
        atexit._clear()
        status = main()
    except SystemExit:
        pass  # nobody waits for its answer
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(status)
