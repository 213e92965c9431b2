"""A machine of a cluster on several, as far as this one's loopback can play it: a data directory, a port, a key."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conflux.node import directory as directories
from conflux.node.directory import Directory, cluster_id
from conflux.storage.lmdb_storage import LmdbStorage
from conflux.transport.keys import ClusterKey
from conflux.wire.peers import Founder, Proposal
from tests.ports import free_pair
from tests.process.cluster import DEADLINE_S, Ran, conflux

APP = "import conflux\nfrom conflux.apps.list import append, reduce\napp = conflux.App(name='other', version=2)\n"
APP += "app.method(append)\napp.reducer(reduce)\n"


class Machine:
    """One of them. Its node's label is its name, unless a test says otherwise."""

    def __init__(self, place: Path, name: str, key: Path | None) -> None:
        self.name = name
        self.data_dir = place / name
        self.key = key
        self.address = f"127.0.0.1:{free_pair()}"

    def type(self, *arguments: str, key: bool = True) -> Ran:
        keyed = ["--key", str(self.key)] if key and self.key else []
        return conflux(*arguments, *keyed, data_dir=self.data_dir)

    def start(self, *options: str, size: int, peers: str | list[Machine] = "", **how: Any) -> Ran:
        """Start its node. `peers`: machines, or an address where nobody is."""
        addresses = (
            [peers]
            if isinstance(peers, str) and peers
            else [each.address for each in peers if isinstance(each, Machine)]
        )
        dialled = [word for address in addresses for word in ("--peer", address)]
        named = [] if "--id" in options else ["--id", self.name]
        bound = [] if "--bind" in options else ["--bind", self.address]
        size_and_place = ["--cluster-size", str(size), "--local", "1", *bound, *named]
        return self.type("start", "--detach", "--no-mdns", *size_and_place, *dialled, *options, **how)

    def start_well(self, *options: str, size: int, peers: str | list[Machine] = "") -> None:
        ran = self.start(*options, size=size, peers=peers)
        assert ran.status == 0, ran.err

    def waiting_for(self) -> str:
        ran = self.type("status", "--json", "--endpoint", self.address)
        return (ran.json()["waiting_for"] or "") if ran.status == 0 else ran.err

    def await_line(self, line: str) -> None:
        """Until `status` says, of what is missing, exactly this; it may say more behind it."""
        deadline_s = time.monotonic() + DEADLINE_S
        said = ""
        while time.monotonic() < deadline_s:
            said = self.waiting_for()
            if line in said.split("; ") or said == line or said.startswith(f"{line}; "):
                return
            time.sleep(0.1)
        raise AssertionError(f"{line!r} is not what was said: {said!r}")

    def await_formed(self) -> str:
        """Until its cluster serves; gives the cluster's id."""
        ran = self.type("wait", "--timeout", str(DEADLINE_S))
        assert ran.status == 0, ran.err
        return str(self.type("status", "--json").json()["cluster_id"])

    @property
    def place(self) -> Path:
        """The directory of its node."""
        return self.data_dir / "conflux" / self.name

    def on_disk(self, change: Callable[[Directory], None]) -> None:
        """Change what the directory of the node, which is stopped, says."""
        storage = LmdbStorage.open(self.place, create=False)
        try:
            change(directories.read(storage))
        finally:
            storage.close()

    def founder(self) -> Founder:
        found: list[Founder] = []
        self.on_disk(lambda directory: found.append(directory.self.founder))
        return found[0]


def accept_on_disk(machines: list[Machine], lost: Founder) -> str:
    """As a crash may leave it: these stopped nodes stand by a cluster with one that is lost. Gives its short id."""
    founders = tuple(sorted([*(machine.founder() for machine in machines), lost]))
    proposal = Proposal("conflux", "list", 1, founders)
    for machine in machines:
        machine.on_disk(lambda directory: directories.record_accepted(directory.storage, proposal))
    return cluster_id(proposal)[:8]


def new_key(directory: Path, name: str) -> Path:
    path = directory / name
    ClusterKey.generate().save(path)
    return path
