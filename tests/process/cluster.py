"""A real cluster of real processes, driven through the command line as a user would."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DEADLINE_S = 60.0


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    status: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def conflux(*arguments: str, data_dir: Path, timeout: float = 60.0, **environment: str) -> Ran:
    """Run a command to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "conflux", "--data-dir", str(data_dir), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        env=os.environ | environment,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


class Cluster:
    """Nodes in a directory; `close` leaves no process behind."""

    def __init__(self, data_dir: Path, size: int, *options: str) -> None:
        self.data_dir = data_dir
        self.size = size
        self.options = options
        self.pids: dict[str, int] = {}

    def run(self, *arguments: str, **kwargs: Any) -> Ran:
        return conflux(*arguments, data_dir=self.data_dir, **kwargs)

    def start(self) -> list[dict[str, Any]]:
        ran = self.run("start", "--cluster-size", str(self.size), "--detach", "--json", *self.options)
        assert ran.status == 0, ran.err
        rows: list[dict[str, Any]] = ran.lines()
        self.pids |= {row["label"]: row["pid"] for row in rows}
        return rows

    def status(self) -> dict[str, Any]:
        return self.run("status", "--json").json()  # type: ignore[no-any-return]

    def leader(self) -> str:
        """Label of the leader, once there is one."""
        deadline_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline_s:
            status = self.status()
            for node in status["nodes"]:
                if node["id"] == status["leader"] and node["healthy"]:
                    return str(node["label"])
        raise AssertionError("no leader in time")

    def kill(self, *labels: str) -> None:
        for label in labels:
            os.kill(self.pids[label], signal.SIGKILL)
        deadline_s = time.monotonic() + DEADLINE_S
        while any(_lives(self.pids[label]) for label in labels):
            assert time.monotonic() < deadline_s
            time.sleep(0.01)

    def state(self, *arguments: str) -> Any:
        return self.run("state", "--json", *arguments).json()["state"]

    def await_equal(self) -> list[dict[str, Any]]:
        """Wait until every node is healthy and says the same of its newest state; gives their rows."""
        deadline_s = time.monotonic() + DEADLINE_S
        rows: list[dict[str, Any]] = []
        while time.monotonic() < deadline_s:
            rows = self.status()["nodes"]
            keys = {(row["applied_revision"], row["log_hash"], row["state_hash"], row["healthy"]) for row in rows}
            hashed = all(row["state_hash_revision"] == row["applied_revision"] for row in rows)  # once they are idle
            if len(keys) == 1 and rows[0]["healthy"] and len(rows) == self.size and hashed:
                return rows
        raise AssertionError(f"the nodes did not become equal: {rows}")

    def close(self) -> None:
        try:
            self.run("stop")
        finally:
            for pid in self.pids.values():
                if _lives(pid):
                    os.kill(pid, signal.SIGKILL)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
