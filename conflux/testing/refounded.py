"""A cluster made out of another one's state, by the code of `recover` and of `snapshot restore`, in the same world.

It has time, network and chance in common with the old one, whose nodes may be up, or come back later, at addresses that
may once have been those of the new ones, and the other way round. Its clients have a key of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import structs

from conflux.node import directory as directories
from conflux.node.refounding import Base, NewNode, Plan, refound
from conflux.raft.entry import Entry
from conflux.storage.memory import MemoryStorage
from conflux.store.machine import Machine, fold
from conflux.store.membership import Member, Membership
from conflux.store.records import SessionOpened, records_of
from conflux.store.session import session_id
from conflux.testing.checkers import CommitsAgree
from conflux.testing.cluster import SimulatedCluster
from conflux.testing.host import Host
from conflux.testing.platters import read_directory
from conflux.testing.weather import CLUSTER
from conflux.transport.keys import KeyPair

CALM_S_MAX = 1.0  # before the first accident
TAKEN_OVER = 0.5  # chance of a new machine to have the address of an old one that is down
CALLS_APART = 1 << 20  # more than any cluster makes
SIZES = (1, 2, 3, 3, 4, 5)


@dataclass(frozen=True, slots=True)
class Founded:
    """A node of the new cluster, before its first start."""

    label: str
    storage: MemoryStorage


@dataclass(frozen=True, slots=True)
class Beginning:
    """The new cluster's committed log as it begins, and what each of its entries folds into."""

    log: list[Entry]
    machines: list[Machine]


class RefoundedCluster(SimulatedCluster):
    """A cluster that goes on where another one's log ends, or a part of it."""

    def __init__(self, old: SimulatedCluster, suffix: str, founded: Sequence[Founded], beginning: Beginning) -> None:
        self.old = old
        self.beginning = beginning
        self._founded = founded
        weather = replace(
            old.weather,
            nodes=len(founded),
            extra_candidates=0,
            calm_s=old.random.random() * CALM_S_MAX,
        )
        super().__init__(old.app, old._draw_call, weather, old.random, old.trace, suffix=suffix, beside=old)
        self.counts.clear()  # its size was chosen, not drawn
        self.history.inherit(old.history, _sessions(beginning.log))
        self._calls_made = old._calls_made + CALLS_APART  # so no two clusters ever write the same value

    def count_work(self, steps: int) -> None:
        """Its steps are the old one's too."""
        super().count_work(steps)
        self.old.count_work(steps)

    def _make_hosts(self) -> list[Host]:
        hosts, down = [], [host for host in self.old.hosts if host.node is None]
        for each in self._founded:
            host = Host(self, each.label)
            host.adopt(directories.read(each.storage).self.identity, each.storage)
            if down and self.random.random() < TAKEN_OVER:
                host.take_over(down.pop())
            hosts.append(host)
        return hosts


def found(
    old: SimulatedCluster, commits: CommitsAgree, suffix: str, *, base: Base | None, entries: Iterable[Entry], term: int
) -> RefoundedCluster:
    """Make the new cluster of a snapshot, or none, and the entries behind it, with the real code."""
    random = old.random
    plan = Plan(
        cluster=CLUSTER,
        cluster_dir=Path(),
        size=random.choice(SIZES),
        app="simulated:app",
        app_dir=".",
        app_name=old.app.name,
        app_version=old.app.version,
        key=None,
        term=term,
    )

    def node(label: str) -> NewNode:
        pair = KeyPair(label.encode(), label.encode())
        return NewNode(label + suffix, f"{random.getrandbits(128):032x}", pair)

    with TemporaryDirectory() as place:
        plan = replace(plan, cluster_dir=Path(place) / "new")
        manifest = refound(plan, base, entries, make_node=node)
        founded = [Founded(each.label, read_directory(plan.cluster_dir / each.label)) for each in manifest.nodes]
    beginning = _beginning(old, commits, founded[0].storage)
    cluster = RefoundedCluster(old, suffix, founded, beginning)
    old.trace.note("world", "has another cluster", suffix, len(founded), len(beginning.log))
    return cluster


def _beginning(old: SimulatedCluster, commits: CommitsAgree, storage: MemoryStorage) -> Beginning:
    """What the new nodes must fold: worked out from the old cluster's log, with the new members in their place."""
    restored = storage.restored()
    proposal = directories.read(storage).accepted
    assert proposal is not None
    members = Membership.made_of(Member(each.identity, each.label, each.public_key) for each in proposal.founders)
    machine = structs.replace(Machine.initial(old.app), membership=members)
    base = restored.snapshot_index
    log, machines = commits.log[:base], commits.machines[:base]
    if base:
        machine = machines[-1] = structs.replace(machines[-1], membership=members)
    index = base + 1
    while index <= restored.last_index:
        for entry in storage.read(index, restored.last_index, 1 << 20):
            machine = fold(machine, entry, old.app)
            log.append(entry)
            machines.append(machine)
            index += 1
    return Beginning(log, machines)


def _sessions(log: Iterable[Entry]) -> set[int]:
    """Those that a log opens."""
    sessions: set[int] = set()
    for entry in log:
        opened = [record for record in records_of(entry.payload) if isinstance(record, SessionOpened)]
        sessions.update(session_id(entry.index, number) for number in range(len(opened)))
    return sessions
