"""That syncs happen: the system calls of each node are counted while actions are acknowledged one by one."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from functools import partial
from pathlib import Path

from benchmarks.peers import Missing
from benchmarks.scenarios.context import Context, Row, must_be_right

CALLS = "fdatasync,fsync,msync"
ATTACH_SECONDS = 0.5
TABLE_LINE = re.compile(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", re.MULTILINE)


def syncs(context: Context) -> list[Row]:
    """Syncs an acknowledged action: a majority of nodes must have made one each, with one action in flight."""
    rows: list[Row] = []
    for system in ("conflux", "etcd"):
        rows += context.measured(system, partial(_count, context, system))
    return rows


def _count(context: Context, system: str) -> Row:
    if shutil.which("strace") is None:
        raise Missing("there is no strace here")
    with context.cluster(system, 3) as cluster:
        logs = [cluster.directory / f"strace-{pid}" for pid in cluster.node_pids()]
        tracers = [_trace(pid, log) for pid, log in zip(cluster.node_pids(), logs, strict=True)]
        time.sleep(ATTACH_SECONDS)
        loaded = cluster.load(1, context.seconds)
        for tracer in tracers:
            tracer.send_signal(signal.SIGINT)
            tracer.wait(10)
        must_be_right(cluster)
        counted = [sum(count_calls(log.read_text()).values()) for log in logs]
    context.say(f"{system:<18} {loaded['attempts']} acknowledged one by one, syncs by node: {counted}")
    row = {"system": system, "nodes": 3, "acknowledged": loaded["attempts"], "syncs_by_node": counted}
    return row | {"syncs_per_action": sum(counted) / loaded["attempts"]}


def count_calls(table: str) -> dict[str, int]:
    """The counts of `strace -c`, by system call."""
    return {name: int(count) for count, name in TABLE_LINE.findall(table) if name != "total"}


def _trace(pid: int, log: Path) -> subprocess.Popen[bytes]:
    command = ["strace", "-f", "-c", "-e", f"trace={CALLS}", "-o", str(log), "-p", str(pid)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
