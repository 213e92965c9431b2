"""Fixtures for tests with real processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.process.cluster import Cluster


@pytest.fixture
def start_cluster(tmp_path: Path) -> Iterator[Callable[..., Cluster]]:
    """Starts clusters, each in a directory of its own; all are gone at the end."""
    clusters: list[Cluster] = []

    def start(size: int = 5, *options: str) -> Cluster:
        cluster = Cluster(tmp_path / f"data{len(clusters)}", size, *options)
        clusters.append(cluster)
        cluster.start()
        return cluster

    yield start
    for cluster in clusters:
        cluster.close()
