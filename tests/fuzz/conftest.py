"""Fixtures for what is thrown at Conflux, and the totals that a run prints at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from tests.faults.conftest import make_cluster, report  # noqa: F401

TOTALS = "conflux fuzz"


@pytest.fixture
def thrown(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Notes how much of what was thrown, for the end of the run."""

    def note(**counts: int) -> None:
        request.node.user_properties.append((TOTALS, counts))

    return note


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line with all that was thrown."""
    total: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for each in reports:
            if getattr(each, "when", "") == "call":
                for counts in (value for name, value in each.user_properties if name == TOTALS):
                    total.update(counts)
    if total:
        failed = len(terminalreporter.stats.get("failed", []))
        counted = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in sorted(total.items()))
        terminalreporter.write_sep("-", "fuzz")
        terminalreporter.write_line(f"{counted}; {failed} tests in which something was raised, lost or kept")
