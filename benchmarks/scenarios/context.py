"""What a scenario gets: where, how much, and a cluster that is surely stopped."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.systems import SYSTEMS
from benchmarks.systems.cluster import Cluster


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
