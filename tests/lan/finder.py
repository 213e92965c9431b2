"""A node as far as discovery goes: announces itself, tells what it finds, a line of JSON whenever that changes.

    python -m tests.lan.finder CLUSTER FINGERPRINT IDENTITY ADDRESS [hurried]

Hurried, it looks around and asks much more often than a node does. Ends with a goodbye when its standard
input does.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

from conflux.discovery import lookout, session
from conflux.discovery.mdns import MdnsDiscovery
from tests.lan.network import Host

ROOT = Path(__file__).resolve().parents[2]
LOOK_SECONDS = 0.02


class Finder:
    """The other end: a finder on a host, and what it told last."""

    def __init__(
        self,
        host: Host,
        name: str,
        *,
        cluster: str = "lan",
        fingerprint: str = "f00d",
        address: str = "",
        hurried: bool = True,
    ) -> None:
        self.host = host
        command = [sys.executable, "-m", "tests.lan.finder", cluster, fingerprint, name]
        command += [address or f"{host.address}:7420", *(["hurried"] if hurried else [])]
        self.process: Popen[bytes] = host.popen(command, cwd=ROOT, stdin=PIPE, stdout=PIPE, stderr=PIPE)
        self._told: dict[str, Any] = {"addresses": [], "counters": {}}
        self._news = threading.Condition()
        self.complaints: list[str] = []  # what it wrote to stderr
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._read, self._read_complaints)]
        for reader in self._readers:
            reader.start()

    @property
    def addresses(self) -> list[str]:
        return list(self._told["addresses"])

    @property
    def counters(self) -> dict[str, int]:
        return dict(self._told["counters"])

    def wait_for(self, *addresses: str, seconds: float = 20.0) -> None:
        """Until it has found at least these."""
        self.wait_until(lambda: set(addresses) <= set(self.addresses), seconds)

    def wait_until(self, condition: Any, seconds: float = 20.0) -> None:
        """Until something holds that may change with what it tells."""
        with self._news:
            assert self._news.wait_for(condition, seconds), f"{self.host.name} knows of {self._told}"

    def end(self, *, goodbye: bool = True) -> list[str]:
        """End it; returns all that it wrote to stderr. Calling twice is harmless."""
        process = self.process
        assert process.stdin and process.stdout and process.stderr
        if process.stderr.closed:
            return self.complaints
        if not goodbye:
            process.kill()
        process.stdin.close()
        process.wait(10)
        for reader in self._readers:
            reader.join(10)
        process.stdout.close()
        process.stderr.close()
        return self.complaints

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self._told = json.loads(line)
                self._news.notify_all()

    def _read_complaints(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                self.complaints.append(line.decode().rstrip())
                self._news.notify_all()


def main(arguments: Sequence[str]) -> None:
    cluster, fingerprint, identity, address, *hurried = arguments
    if hurried:
        session.QUERY_SECONDS_MIN = session.QUERY_SECONDS_MAX = 1.0
        lookout.SWEEP_SECONDS = 0.5
    discovery = MdnsDiscovery(cluster=cluster, fingerprint=fingerprint, identity=identity, address=address)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    told = None
    while not ended.wait(LOOK_SECONDS):
        news = {"addresses": discovery.addresses(), "counters": discovery.counters()}
        if news != told:
            print(json.dumps(news), flush=True)
            told = news
    discovery.close()


if __name__ == "__main__":
    main(sys.argv[1:])
