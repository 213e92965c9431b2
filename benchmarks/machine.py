"""What the figures were taken on."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.figures import latencies_ms
from benchmarks.processes import ROOT

LOOK_SECONDS = 1.0
SYNCS = 200
SYNC_BYTES = 4096


def describe(directory: Path) -> dict[str, Any]:
    """Machine, load, commit, file system, and how long a sync takes there."""
    directory.mkdir(parents=True, exist_ok=True)
    return {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": _said_by("git", "rev-parse", "--short", "HEAD"),
        "changed": bool(_said_by("git", "status", "--porcelain", "--untracked-files=no")),
        "system": platform.platform(),
        "python": f"{platform.python_version()} of {Path(sys.base_prefix)}",
        "processors": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 2),
        "busy": busy_share(),
        "file_system": _said_by("stat", "-f", "-c", "%T", str(directory)),
        "fdatasync_ms": sync_latencies_ms(directory),
    }


def busy_share(seconds: float = LOOK_SECONDS) -> float | None:
    """The share of the processors' time that others take while this process sleeps; None where /proc/stat is not.

    The load average says little of now: for minutes it tells of the part that was measured before.
    """
    before = _processor_times()
    time.sleep(seconds)
    after = _processor_times()
    if before is None or after is None:
        return None
    idle, _, all_of_it = (now - then for now, then in zip(after, before, strict=True))
    return round(1.0 - idle / all_of_it, 3) if all_of_it else None


class Theft:
    """What other machines on the same host take of this one's processors, from now on."""

    def __init__(self) -> None:
        self._began = _processor_times()

    def share(self) -> float | None:
        """Of the time in which this machine had something to do; None where /proc/stat is not."""
        now = _processor_times()
        if self._began is None or now is None:
            return None
        idle, stolen, all_of_it = (after - before for after, before in zip(now, self._began, strict=True))
        return round(stolen / (all_of_it - idle), 3) if all_of_it > idle else None


def _processor_times() -> tuple[int, int, int] | None:
    """(idle, stolen, all) of all processors since the machine is up, in ticks."""
    try:
        words = Path("/proc/stat").read_text("ascii").splitlines()[0].split()[1:9]
    except OSError:
        return None
    times = [int(word) for word in words]
    return times[3] + times[4], times[7], sum(times)


def sync_latencies_ms(directory: Path, syncs: int = SYNCS) -> dict[str, float]:
    """Appends of one block, each made durable: the floor under anything that syncs before it answers."""
    path = directory / f"sync-{os.getpid()}"
    seconds = []
    descriptor = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    try:
        for _ in range(syncs):
            os.write(descriptor, bytes(SYNC_BYTES))
            began = time.perf_counter()
            os.fdatasync(descriptor)
            seconds.append(time.perf_counter() - began)
    finally:
        os.close(descriptor)
        path.unlink()
    return latencies_ms(seconds)


def _said_by(*command: str) -> str:
    try:
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
