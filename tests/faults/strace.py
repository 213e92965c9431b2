"""`strace` on a node's process: what the kernel is told to answer, and the order of system calls."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from functools import cache
from pathlib import Path
from types import TracebackType

from tests.faults.cluster import FaultCluster, await_until


@cache
def why_not() -> str | None:
    """Why no process can be traced here; None where one can be."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    probe = subprocess.run(
        ["strace", "-o", os.devnull, "-e", "inject=fdatasync:delay_enter=1", "true"], capture_output=True, check=False
    )
    return f"strace does not work here: {probe.stderr.decode().strip()}" if probe.returncode else None


class Tracer:
    """Traces a node from `with` until its end. The node goes on afterwards, if it still lives."""

    def __init__(self, cluster: FaultCluster, label: str, output: Path, *options: str) -> None:
        pid = cluster.pid(label)
        assert pid is not None
        self.output = output
        command = ("strace", "-f", "-p", str(pid), "-o", str(output), *options)
        self._process = cluster.popen(*command, stderr=subprocess.PIPE, text=True)

    def __enter__(self) -> Tracer:
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        assert "attached" in line, line
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        self._process.wait(10)

    def lines(self) -> list[str]:
        """What it has written, in the order in which things happened."""
        return self.output.read_text(errors="replace").splitlines()

    def await_line(self, words: str, seconds: float = 20.0) -> None:
        await_until(lambda: any(words in line for line in self.lines()), f"{words!r} in a trace", seconds)


def failing(call: str, error: str) -> tuple[str, ...]:
    """Options with which a system call fails from now on."""
    return "-e", f"trace={call}", "-e", f"inject={call}:error={error}"


def slow(call: str, seconds: float) -> tuple[str, ...]:
    """Options with which a system call takes at least so long."""
    return "-e", f"trace={call}", "-e", f"inject={call}:delay_enter={round(seconds * 1e6)}"
