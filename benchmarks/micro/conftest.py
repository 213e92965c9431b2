"""`by_the_loop`: pytest-benchmark's fixture, in processor time, and its least round held against the baseline."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.micro.ratios import (
    CASE_ROUND_SECONDS,
    ByTheLoop,
    load_baseline,
    loop_step_seconds,
    regression,
    save_baseline,
)

_ratios = pytest.StashKey[dict[str, float]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("ratios to the fixed loop")
    group.addoption("--update", action="store_true", help="make what is measured the baseline")
    group.addoption("--tolerance", type=float, default=1.5, metavar="FACTOR", help="past the baseline (default: 1.5)")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    config.option.benchmark_timer = "time.process_time"  # what the disk takes doesn't count
    config.option.benchmark_min_time = CASE_ROUND_SECONDS  # that clock itself takes half a microsecond
    config.stash[_ratios] = {}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Each case's ratio beside the baseline's; with `--update`, they become the baseline."""
    measured, baseline = config.stash[_ratios], load_baseline()
    for name, ratio in measured.items():
        was = f"{baseline[name]:.2f}" if name in baseline else "none"
        terminalreporter.write_line(f"{name:<48} {ratio:>9.2f} steps of the loop; baseline {was}")
    if config.getoption("--update"):
        save_baseline(measured)


@pytest.fixture
def by_the_loop(benchmark: BenchmarkFixture, request: pytest.FixtureRequest) -> ByTheLoop:
    """Measures a step that does so many units of work, and fails where it has grown past the tolerance."""

    def measure(step: Callable[[], object], units: int = 1) -> None:
        step()  # what is done once, is done
        loop_seconds = loop_step_seconds()
        benchmark(step)
        measured = benchmark.stats
        if measured is None:  # with --benchmark-disable
            return
        loop_seconds = min(loop_seconds, loop_step_seconds())
        name = request.node.name.removeprefix("test_")
        ratio = measured.stats.min / units / loop_seconds
        request.config.stash[_ratios][name] = benchmark.extra_info["steps_of_the_loop"] = ratio
        problem = regression(name, ratio, load_baseline(), request.config.getoption("--tolerance"))
        if problem is not None and not request.config.getoption("--update"):
            pytest.fail(problem, pytrace=False)

    return measure
