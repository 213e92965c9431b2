"""Child processes of the harness: asked in lines of JSON, measured through /proc, ended by their id."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from conflux.node.addresses import PORTS_WITHOUT_A_NAME

ANSWER_SECONDS_MAX = 60.0
ROOT = Path(__file__).parent.parent
_given_ports: set[int] = set()


class WorkerFailed(Exception):
    """A worker ended, kept silent, or answered with an error."""


class Process:
    """A child that is started, measured and killed.

    Args:
        log_file: takes what it writes to stderr (and stdout, where nobody asks it anything).
    """

    def __init__(
        self,
        command: Sequence[str],
        log_file: Path,
        *,
        environment: Mapping[str, str] | None = None,
        asked: bool = False,
    ) -> None:
        self.log_file = log_file
        with log_file.open("ab") as log:
            self.popen: subprocess.Popen[bytes] = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.PIPE if asked else subprocess.DEVNULL,
                stdout=subprocess.PIPE if asked else log,
                stderr=log,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    def kill(self) -> None:
        """End it at once; harmless if it has ended."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGKILL)
        self.popen.wait()
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # what was written before it died goes nowhere
                    pipe.close()


class Worker(Process):
    """A child that answers questions."""

    def __init__(self, command: Sequence[str], log_file: Path, environment: Mapping[str, str] | None = None) -> None:
        super().__init__(command, log_file, environment=environment, asked=True)
        self._unread = b""
        self.is_busy = False  # it was asked something, and the answer wasn't taken yet

    @classmethod
    def of_module(
        cls, module: str, *arguments: str, log_file: Path, environment: Mapping[str, str] | None = None
    ) -> Worker:
        """One of `benchmarks.workers`, run by this Python."""
        return cls([sys.executable, "-m", f"benchmarks.workers.{module}", *arguments], log_file, environment)

    def ask(self, command: str, *, timeout: float = ANSWER_SECONDS_MAX, **arguments: Any) -> dict[str, Any]:
        self.tell(command, **arguments)
        return self.answer(timeout)

    def tell(self, command: str, **arguments: Any) -> None:
        """Ask without waiting; `answer` waits."""
        pipe: IO[bytes] | None = self.popen.stdin
        assert pipe is not None
        self.is_busy = True
        try:
            pipe.write(json.dumps({"do": command, **arguments}).encode() + b"\n")
            pipe.flush()
        except (BrokenPipeError, ValueError):  # by itself, or by `kill`
            raise WorkerFailed(f"the worker has ended: {self._last_words()}") from None

    def answer(self, timeout: float = ANSWER_SECONDS_MAX) -> dict[str, Any]:
        assert self.popen.stdout is not None
        descriptor = self.popen.stdout.fileno()
        deadline = time.monotonic() + timeout
        while b"\n" not in self._unread:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise WorkerFailed(f"no answer within {timeout:.0f} s: {self._last_words()}")
            if not (part := os.read(descriptor, 1 << 20)):
                raise WorkerFailed(f"the worker has ended: {self._last_words()}")
            self._unread += part
        line, self._unread = self._unread.split(b"\n", 1)
        self.is_busy = False
        found: dict[str, Any] = json.loads(line)
        if "error" in found:
            raise WorkerFailed(found["error"])
        return found

    def _last_words(self) -> str:
        lines = self.log_file.read_text("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def free_ports(count: int, *, neighbours: int = 1) -> list[int]:
    """Ports that nobody listens on, each with `neighbours - 1` free ones after it; none is given twice."""
    found: list[int] = []
    while len(found) < count:
        first = random.choice(PORTS_WITHOUT_A_NAME)
        wanted = range(first, first + neighbours)
        if _given_ports.isdisjoint(wanted) and all(_is_free(port) for port in wanted):
            _given_ports.update(wanted)
            found.append(first)
    return found


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far; 0 if it is gone or this platform doesn't say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in RAM."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def disk_bytes(directory: Path) -> int:
    """Blocks in use below a directory, whatever the files' lengths say."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                pass  # removed meanwhile
    return total


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
