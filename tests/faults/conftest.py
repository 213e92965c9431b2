"""Fixtures for faults: clusters that end with the test, and the counts that a run prints at its end."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.faults.checker import Verdict
from tests.faults.cluster import APP, FaultCluster

COUNTS = "conflux faults"
JUDGEMENT = ("acknowledged", "lost", "twice", "illegal", "undecided")  # the last four are to be 0


@pytest.fixture
def make_cluster(tmp_path: Path) -> Iterator[Callable[..., FaultCluster]]:
    """Starts clusters, of the journal app unless another one is asked for."""
    clusters: list[FaultCluster] = []

    def make(
        size: int = 3,
        *options: str,
        start: bool = True,
        app: tuple[str, ...] = APP,
        archive: bool = False,
        **environment: str,
    ) -> FaultCluster:
        cluster = FaultCluster(tmp_path / f"data{len(clusters)}", size, *options, app=app, archive=archive)
        clusters.append(cluster)
        if start:
            cluster.start(**environment)
        return cluster

    yield make
    for cluster in clusters:
        print(cluster.last_words())  # pytest shows it only where the test has failed
        cluster.close()


@pytest.fixture
def report(request: pytest.FixtureRequest) -> Callable[[Verdict], None]:
    """Notes a verdict's counts for the end of the run, then fails the test if it has violations."""

    def note(verdict: Verdict, **more: int) -> None:
        counts = {**verdict.counts, **verdict.judgement(), **more, "histories": 1}
        request.node.user_properties.append((COUNTS, counts))
        verdict.check()

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line of counts for each test that judged a history, and their sum."""
    total: Counter[str] = Counter()
    lines = []
    for reports in terminalreporter.stats.values():
        for each in reports:
            if getattr(each, "when", "") == "call":
                for counts in (value for name, value in each.user_properties if name == COUNTS):
                    total.update(counts)
                    lines.append(f"{each.nodeid.rpartition('::')[2]}: {_line(counts)}")
    if lines:
        terminalreporter.write_sep("-", f"faults, {os.cpu_count()} cores")
        for line in sorted(lines):
            terminalreporter.write_line(line)
        terminalreporter.write_line(f"all: {_line(total)}")
        told = ", ".join(f"{name} {total[name]:,}" for name in ("histories", "killed", *JUDGEMENT))
        terminalreporter.write_line(f"in short: {told}")


def _line(counts: dict[str, Any]) -> str:
    return ", ".join(f"{name} {counts[name]:,}" for name in sorted(counts))
