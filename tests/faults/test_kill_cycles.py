"""C1, A3, F2: kill -9 under load, of any node, of the leader, of all; what was acknowledged is there, once, in order.

    CONFLUX_FAULT_CYCLES=300 python -m pytest tests/faults/test_kill_cycles.py -q

runs so many cycles on three nodes and as many on five. CONFLUX_FAULT_SEED chooses others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from tests.faults.budget import CYCLE_SECONDS_MAX, CYCLES, SEED
from tests.faults.cluster import FaultCluster
from tests.faults.committed import is_cut

ANSWERS_BETWEEN = 20


def victims_of(cluster: FaultCluster, random: Random) -> tuple[str, list[str]]:
    """Who is killed next, and what that is called."""
    kind = random.choice(["any", "leader", "minority", "all"])
    match kind:
        case "any":
            return kind, [random.choice(cluster.labels)]
        case "leader":
            return kind, [cluster.leader()]
        case "minority":
            return kind, random.sample(cluster.labels, cluster.size // 2)
        case _:
            return kind, cluster.labels


@pytest.mark.timeout(120 + CYCLE_SECONDS_MAX * CYCLES)
@pytest.mark.parametrize("size", [3, 5])
def test_kill_9_under_load_loses_nothing_and_applies_nothing_twice(
    size: int, make_cluster: Callable[..., FaultCluster], report: Callable[..., None]
) -> None:
    cluster = make_cluster(size, archive=True)  # over many cycles all logs are cut, and the judge wants all of it
    random = Random(f"{SEED} {size}")
    kinds: Counter[str] = Counter()
    with cluster.load(clients=5, seed=SEED) as load:
        for _ in range(CYCLES):
            load.await_more(ANSWERS_BETWEEN)
            kind, victims = victims_of(cluster, random)
            cluster.kill(*victims)
            if len(victims) <= size // 2 and random.random() < 0.7:
                load.await_more(ANSWERS_BETWEEN)  # the others go on without them
            cluster.start()
            kinds.update({f"killed {kind}": 1, "cycles": 1, "killed": len(victims)})
        load.await_more(ANSWERS_BETWEEN)
        verdict = cluster.settle(load)
    more: dict[str, Any] = dict(kinds)
    report(verdict, **more)


def test_what_all_nodes_have_cut_of_their_logs_is_judged_too(
    make_cluster: Callable[..., FaultCluster], report: Callable[..., None]
) -> None:
    cluster = make_cluster(3, archive=True)
    with cluster.load(clients=3, seed=SEED) as load:
        while not all(is_cut(cluster.directory, label) for label in cluster.labels):
            load.await_more(ANSWERS_BETWEEN)
            assert cluster.run("snapshot", "now").status == 0
        cluster.kill(*cluster.labels)
        cluster.start()
        load.await_more(ANSWERS_BETWEEN)
        verdict = cluster.settle(load)
    report(verdict, killed=3)
