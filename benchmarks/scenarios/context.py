"""What a scenario gets: where, how much, and a cluster that is surely stopped."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import SubprocessError
from typing import Any

from benchmarks.peers import Missing
from benchmarks.processes import WorkerFailed
from benchmarks.systems import SYSTEMS
from benchmarks.systems.cluster import Cluster

Row = dict[str, Any]
# Of a peer that isn't to be had, that ends, hangs, or answers wrongly; a fault of the harness itself is none of these.
FAILURES = (Missing, WorkerFailed, AssertionError, OSError, SubprocessError)


@dataclass(frozen=True)
class Context:
    """Args:
    directory: for the nodes' data.
    is_full: everything, and more often; else what fits into a few minutes.
    seconds: counted, a load.
    rounds: how often what is compared is measured.
    """

    directory: Path
    is_full: bool
    seconds: float
    rounds: int
    gaps: dict[str, str] = field(default_factory=dict)  # what could not be measured, and why

    def measured(self, what: str, measure: Callable[[], Row]) -> list[Row]:
        """The row of one measurement; without one, a gap with its name, and the others go on."""
        if what in self.gaps:
            return []  # it would only fail again
        try:
            return [measure()]
        except FAILURES as error:
            self.gaps[what] = f"{what}: {error}"
            self.say(f"left out: {self.gaps[what]}")
            return []

    def say(self, text: str) -> None:
        print(f"  {text}", file=sys.stderr, flush=True)

    @contextmanager
    def cluster(self, system: str, nodes: int) -> Iterator[Cluster]:
        """A cluster that was started, and is gone at the end."""
        with self.new_cluster(system, nodes) as cluster:
            cluster.start()
            yield cluster

    @contextmanager
    def new_cluster(self, system: str, nodes: int) -> Iterator[Cluster]:
        """A cluster that is yet to be started."""
        place = self.directory / f"{system}-{time.time_ns()}"
        place.mkdir(parents=True)
        cluster = SYSTEMS[system](nodes, place)
        try:
            yield cluster
        finally:
            cluster.stop()
            shutil.rmtree(place, ignore_errors=True)


def must_be_right(cluster: Cluster) -> None:
    """Every scenario ends with it: a figure of a cluster that lost something is worth nothing."""
    if problems := cluster.check()["problems"]:
        raise AssertionError(f"{cluster.name}: {'; '.join(problems)}")
