"""What every test may use, and how a run of the suite reports what it skipped."""

from __future__ import annotations

import os
import signal
import subprocess
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

MARK = "CONFLUX_TEST_PROCESSES"  # stands in the environment of what a test starts, so of its children too

hypothesis.settings.register_profile("conflux", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("conflux")


class Processes:
    """The processes that a test starts. `end` kills, by pid, those that are still alive and what they have started."""

    def __init__(self) -> None:
        self._started: list[subprocess.Popen[Any]] = []
        self._mark = uuid.uuid4().hex

    def start(self, *command: str | os.PathLike[str], **options: Any) -> subprocess.Popen[Any]:
        """Popen, recorded. What it starts is found again even in a session of its own (on Linux)."""
        environment = {**(options.pop("env", None) or os.environ), MARK: self._mark}
        return self.add(subprocess.Popen(command, env=environment, **options))

    def add(self, process: subprocess.Popen[Any]) -> subprocess.Popen[Any]:
        """Record a process that was started elsewhere."""
        self._started.append(process)
        return process

    def end(self) -> None:
        # A process may start another while we look, so look until nobody is left.
        while pids := self._alive():
            for pid in pids:
                kill(pid)
            for process in self._started:
                process.wait()
        for process in self._started:
            process.wait()  # reaps those that ended by themselves, so nobody warns about them
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None and not pipe.closed:
                    pipe.close()

    def _alive(self) -> set[int]:
        roots = {process.pid for process in self._started if process.poll() is None}
        return roots | descendants(roots) | marked(self._mark)


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)  # the one signal that a stopped process hears too
    except ProcessLookupError:
        pass


def descendants(roots: set[int]) -> set[int]:
    """The children of `roots`, and theirs."""
    if not roots:
        return set()
    table = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    children: dict[int, set[int]] = {}
    for line in table.splitlines():
        pid, parent = map(int, line.split())
        children.setdefault(parent, set()).add(pid)
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        new = children.get(waiting.pop(), set()) - found
        found |= new
        waiting.extend(new)
    return found


def marked(mark: str) -> set[int]:
    """Living processes with `mark` in their environment. Empty where there is no /proc, as on macOS."""
    found = set()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"{MARK}={mark}".encode() in environment.read_bytes().split(b"\0"):
                found.add(int(environment.parent.name))
        except OSError:
            pass  # gone since, or another user's
    return found


@pytest.fixture
def processes() -> Iterator[Processes]:
    """Start processes through it: the test's end is theirs."""
    recorded = Processes()
    yield recorded
    recorded.end()


def pytest_configure() -> None:
    """A background job of a script ignores Ctrl-C, and so would all that the tests start to press Ctrl-C at.

    Unlike "ignored", a handler isn't inherited: this run goes on ignoring it, and what it starts does not.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, lambda number, frame: None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many tests were skipped, and why: a skip that nobody sees is a test that nobody runs."""
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    reasons = Counter(reason_of(report) for report in skipped)
    terminalreporter.write_sep("-", f"{len(skipped)} skipped")
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"{count:5} skipped: {reason}")


def reason_of(report: Any) -> str:
    """A skip's `longrepr` is (path, line, reason)."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return str(reason).removeprefix("Skipped: ")
