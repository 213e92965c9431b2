"""Clusters for the tests of the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli.running import Cluster
from tests.conftest import kill


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three nodes that all tests share: none of them may stop one."""
    made = Cluster(tmp_path_factory.mktemp("shared"))
    made.start(3)
    yield made
    end(made)


@pytest.fixture
def new_cluster(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Starts a cluster for one test, which may do with it what it likes."""
    made: list[Cluster] = []

    def start(size: int, *options: str) -> Cluster:
        made.append(Cluster(tmp_path / f"data{len(made)}"))
        made[-1].start(size, *options)
        return made[-1]

    yield start
    for each in made:
        end(each)


def end(cluster: Cluster) -> None:
    """By `stop`, and by pid where that leaves one."""
    try:
        cluster.run("stop")
    finally:
        for node in cluster.nodes.values():
            if is_node(node["pid"]):
                kill(node["pid"])


def is_node(pid: int) -> bool:
    """True where this process is still the node that we started, and not another one of the same number."""
    try:
        return b"conflux node" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
