"""kill -9 of the leader under load: how long until the next action is committed."""

from __future__ import annotations

import time
from functools import partial

from benchmarks.figures import outage_seconds
from benchmarks.scenarios.context import Context, Row
from benchmarks.systems.cluster import Cluster

RATE = 200  # calls a second: enough to time an outage by, and no queue when it is over
BEFORE_SECONDS = 1.5
LOAD_SECONDS = 6.0
COMPARED = {3: ("conflux", "etcd", "conflux-embedded", "pysyncobj"), 5: ("conflux", "etcd")}  # by number of nodes


def failover(context: Context) -> list[Row]:
    """Default time-outs everywhere; the load comes from a process that lives on."""
    rows: list[Row] = []
    for trial in range(1, (7 if context.is_full else context.rounds) + 1):
        for nodes in (3, 5) if context.is_full else (3,):
            for system in COMPARED[nodes]:
                rows += context.measured(f"{system}, {nodes} nodes", partial(_trial, context, system, nodes, trial))
    return rows


def _trial(context: Context, system: str, nodes: int, trial: int) -> Row:
    with context.cluster(system, nodes) as cluster:
        row = {"system": system, "nodes": nodes, "trial": trial, **_kill_under_load(cluster)}
    context.say(f"{system:<18} {nodes} nodes: the next commit after {row['outage_seconds']:.2f} s")
    return row


def _kill_under_load(cluster: Cluster) -> Row:
    witness = cluster.witness()
    witness.tell("probe", rate=RATE, seconds=LOAD_SECONDS)
    time.sleep(BEFORE_SECONDS)
    killed_at = cluster.kill_leader()
    probed = witness.answer(LOAD_SECONDS + 60)
    outage = outage_seconds(probed["answered_at"], killed_at, probed["until"])
    if outage is None:
        raise AssertionError(f"{cluster.name}: nothing was committed any more")
    # What PySyncObj reports as failed may be applied all the same, and its state isn't what is measured here.
    if cluster.name != "pysyncobj" and (problems := witness.ask("check")["problems"]):
        raise AssertionError(f"{cluster.name}: {'; '.join(problems)}")
    return {"outage_seconds": outage, "asked": probed["asked"], "answered": len(probed["answered_at"])}
