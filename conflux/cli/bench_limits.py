"""What limits a load: the processors, the disk, the network, or that no more is asked for."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SYNCS = 100
SYNC_BYTES = 4096
BUSY_SHARE = 0.85  # of a processor: a thread that has no more to spare
ALL_BUSY_SHARE = 0.9  # of all processors
MOST_SHARE = 0.5  # of a latency: what makes up that much of it is what limits


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was measured while a load ran; None where it can't be told from here."""

    in_flight: int
    p50_ms: float
    sync_ms: float | None  # of the disk below the nodes that run here
    round_trip_ms: float | None  # to the node that answers
    client_cpu_share: float  # of one processor
    node_cpu_shares: Mapping[str, float]  # by label, of the nodes that run here
    machine_cpu_share: float | None  # of all processors
    processors: int = os.cpu_count() or 1


def limit_of(seen: Seen) -> tuple[str, str]:
    """(`cpu`, `client`, `disk`, `network` or `load`; why, in a sentence)."""
    if seen.machine_cpu_share is not None and seen.machine_cpu_share >= ALL_BUSY_SHARE:
        nodes, client = sum(seen.node_cpu_shares.values()) / seen.processors, seen.client_cpu_share / seen.processors
        others = max(0.0, seen.machine_cpu_share - nodes - client)
        users = f"{nodes:.0%} by its nodes, {client:.0%} by this client, {others:.0%} by others"
        return "cpu", f"all processors of this machine are busy, {users}"
    if seen.node_cpu_shares:
        label, share = max(seen.node_cpu_shares.items(), key=lambda pair: pair[1])
        if share >= BUSY_SHARE:
            return "cpu", f"node {label} uses {share:.0%} of a processor, and it has one thread"
    if seen.client_cpu_share >= BUSY_SHARE:
        return "client", f"this client uses {seen.client_cpu_share:.0%} of a processor: run a second one"
    parts = {"disk": ("a sync to disk", seen.sync_ms), "network": ("a round trip", seen.round_trip_ms)}
    for name, (what, milliseconds) in parts.items():
        if milliseconds is not None and milliseconds >= seen.p50_ms * MOST_SHARE:
            return name, f"{what} takes {milliseconds:.2f} ms of {seen.p50_ms:.2f} ms"
    return "load", f"nothing is busy: more than {seen.in_flight} in flight may give more"


def sync_latency_ms(directory: Path) -> float | None:
    """The median time that the disk below a directory takes to make one appended block durable."""
    path = directory / f".bench-{os.getpid()}"
    sync = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter
    seconds = []
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError:
        return None
    try:
        for _ in range(SYNCS):
            os.write(descriptor, bytes(SYNC_BYTES))
            began_s = time.perf_counter()
            sync(descriptor)
            seconds.append(time.perf_counter() - began_s)
    except OSError:
        return None  # a full disk, for one: the load will tell more
    finally:
        os.close(descriptor)
        path.unlink()
    return sorted(seconds)[SYNCS // 2] * 1000


def local_pids(nodes: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """The processes of a status' nodes that run on this machine, by label."""
    here = socket.gethostname()
    return {node["label"]: node["pid"] for node in nodes if node["pid"] and node["host"] == here}


class Processors:
    """Processor time between two moments, through /proc; where there is none, nothing is known but our own."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._began_s = time.monotonic()
        self._own = time.process_time()
        self._nodes = self._node_seconds()
        self._machine = _machine_seconds()

    def shares(self) -> tuple[float, dict[str, float], float | None]:
        """(our own, each node's by label, the machine's) since this was made: of one processor, and of all."""
        passed_s = time.monotonic() - self._began_s
        now = self._node_seconds()
        nodes = {label: (now[label] - before) / passed_s for label, before in self._nodes.items() if label in now}
        machine, processors = _machine_seconds(), os.cpu_count() or 1
        whole = None
        if machine is not None and self._machine is not None:
            whole = (machine - self._machine) / passed_s / processors
        return (time.process_time() - self._own) / passed_s, nodes, whole

    def _node_seconds(self) -> dict[str, float]:
        found = {label: _process_seconds(pid) for label, pid in self._pids.items()}
        return {label: seconds for label, seconds in found.items() if seconds is not None}


def _process_seconds(pid: int) -> float | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime and stime


def _machine_seconds() -> float | None:
    """Time that the processors of this machine were not idle."""
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except OSError:
        return None
    user, nice, system, _idle, _wait, *others = map(int, fields)
    return (user + nice + system + sum(others)) / os.sysconf("SC_CLK_TCK")
