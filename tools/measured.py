"""A plugin of pytest: `make test` measures which lines and branches it runs, and fails where a room is below its floor.

It goes with `coverage run -m pytest -p tools.measured`, which measures the workers of pytest-xdist from their first
line on. Only a run of the whole suite in which nothing failed is judged.

Measuring is dear on Python 3.11: what runs takes two to five times as long. So a run measures the tests of the rooms on
which safety rests (OWN_TESTS), each of which must run all of its room, and leaves out

- all other tests, but with CONFLUX_MEASURE=all, which `make cover` sets: then every room is judged;
- tests marked `unmeasured`: they compute for long, and what they run is run by others that say what they test;
- processes that tests start, but for the rooms in PROCESSES_OF: only there does anything run nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import coverage
import pytest
from tools.cover import FLOORS_OF_OWN_TESTS, RUN_BY_PROCESSES, Room, below, floor_of, measured, table

ALL = os.environ.get("CONFLUX_MEASURE") == "all"
OWN_TESTS = ("tests/raft/", "tests/scripts/", "tests/store/", "tests/storage/", "tests/node/")
PROCESSES_OF = ("tests/cli/", "tests/process/") if ALL else ()
CONFIGURATION = "COVERAGE_PROCESS_CONFIG"  # a process that finds it in its environment measures itself
SELECTING = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "stepwise", "collectonly", "maxfail")


class Measured:
    """In the process that runs tests: what is measured, and what is not."""

    def __init__(self) -> None:
        self._configuration = os.environ.pop(CONFIGURATION, None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        running = coverage.Coverage.current()
        assert running is not None
        is_left_out = not ALL and not item.nodeid.startswith(OWN_TESTS)
        unmeasured = is_left_out or item.get_closest_marker("unmeasured") is not None
        if item.nodeid.startswith(PROCESSES_OF) and self._configuration is not None:
            os.environ[CONFIGURATION] = self._configuration
        if unmeasured:
            running.stop()
        try:
            return (yield)
        finally:
            if unmeasured:
                running.start()
            os.environ.pop(CONFIGURATION, None)

    def pytest_sessionfinish(self) -> None:
        save()


class Judge:
    """In the process that was started first: it sums up, and judges."""

    def __init__(self) -> None:
        self._found: dict[str, Room] = {}
        self._floor = floor_of if ALL else FLOORS_OF_OWN_TESTS.__getitem__

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Once all workers have ended. What is below its floor is reported as a test that failed."""
        save()
        if not whole(session.config) or session.testsfailed or session.exitstatus:
            return
        pieces = coverage.Coverage()
        pieces.combine()
        pieces.save()
        without = frozenset() if ALL else RUN_BY_PROCESSES
        self._found = {name: room for name, room in measured(without).items() if ALL or name in FLOORS_OF_OWN_TESTS}
        if low := below(self._found, self._floor):
            words = f"below their floors, see the table: {', '.join(low)}"
            report = pytest.TestReport("coverage", ("tools/cover.py", None, "coverage"), {}, "failed", words, "call")
            session.config.hook.pytest_runtest_logreport(report=report)
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._found:
            terminalreporter.write_sep("-", "coverage of lines and branches")
            for line in table(self._found, self._floor):
                terminalreporter.write_line(line)


def save() -> None:
    """Write down what this process has run: a worker is given little time to end."""
    running = coverage.Coverage.current()
    if running is not None:
        running.stop()
        running.save()


def whole(config: pytest.Config) -> bool:
    """True where all of the suite is asked for."""
    chosen = any(config.getoption(name, None) for name in SELECTING)
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not chosen


def pytest_configure(config: pytest.Config) -> None:
    worker = hasattr(config, "workerinput")
    distributes = not worker and config.getoption("numprocesses", None)
    if not distributes:
        config.pluginmanager.register(Measured())
    if not worker:
        config.pluginmanager.register(Judge())
