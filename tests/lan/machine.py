"""A host of a LAN on which commands are typed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.lan.finder import ROOT
from tests.lan.network import Host

DEADLINE_S = 60.0


class Machine:
    """A host with a data directory of its own, on which commands are typed."""

    def __init__(self, host: Host, directory: Path, key: Path | None) -> None:
        self.host = host
        self.data_dir = directory / host.name
        self.key = key

    def type(self, *arguments: str, key: bool = True, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        keyed = ["--key", str(self.key)] if key and self.key else []
        command = [sys.executable, "-m", "conflux", "--data-dir", str(self.data_dir), *arguments, *keyed]
        return self.host.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=timeout)

    def start(self, *options: str, size: int = 5, **how: Any) -> subprocess.CompletedProcess[str]:
        return self.type("start", "--cluster-size", str(size), "--local", "1", "--detach", *options, **how)

    def start_well(self, *options: str, size: int = 5) -> None:
        ran = self.start(*options, size=size)
        assert ran.returncode == 0, ran.stderr

    def status(self) -> dict[str, Any]:
        ran = self.type("status", "--json")
        return (
            json.loads(ran.stdout) if ran.returncode == 0 else {"waiting_for": ran.stderr, "nodes": [], "leader": None}
        )

    def await_waiting_for(self, *words: str) -> str:
        """Wait until `status` says, in its line on what is missing, all of these words."""
        deadline_s = time.monotonic() + DEADLINE_S
        line = ""
        while time.monotonic() < deadline_s:
            line = self.status()["waiting_for"] or ""
            if all(word in line for word in words):
                return line
        raise AssertionError(f"{words} not in {line!r}")

    def await_nodes(self, count: int) -> list[dict[str, Any]]:
        """Wait until as many healthy nodes hold the same log."""
        deadline_s = time.monotonic() + DEADLINE_S
        rows: list[dict[str, Any]] = []
        while time.monotonic() < deadline_s:
            rows = [row for row in self.status()["nodes"] if row["healthy"]]
            if len(rows) == count and len({(row["applied_revision"], row["log_hash"]) for row in rows}) == 1:
                return rows
        raise AssertionError(f"{count} equal nodes expected: {rows}")
