"""Operators: people who change a simulated cluster's members and take snapshots, at moments that suit nobody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conflux import limits
from conflux.wire.clients import Change, ChangeMembers, TakeSnapshot

if TYPE_CHECKING:
    from conflux.testing.cluster import SimulatedCluster
    from conflux.testing.host import Host

HOSTS_MAX = 14
HASTE_S_MAX = 1.0  # between a node's start and the word that lets it in


class Operators:
    """Each act is a request that nobody repeats: it may be lost, refused, or carried out later than expected."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster
        self._number = 1 << 50

    def act(self, kind: str) -> None:
        """Do one thing."""
        random = self._cluster.random
        match kind:
            case "take a snapshot":
                self._ask(TakeSnapshot)
            case "add a node":
                self._add(random.choice([Change.ADD, Change.ADD, Change.LEARN]))
            case "remove a node":
                host = random.choice(self._cluster.hosts)
                self._change(Change.REMOVE, host)
            case "promote a node":
                self._change(Change.PROMOTE, random.choice(self._cluster.hosts))
            case "replace a node":
                old = random.choice(self._cluster.hosts)
                new = self._candidate()
                if new is not None and new is not old:
                    self._later(lambda: self._change(Change.REPLACE, old, new))

    def _add(self, change: Change) -> None:
        host = self._candidate()
        if host is not None:
            self._later(lambda: self._change(change, host))

    def _candidate(self) -> Host | None:
        """A machine whose node is no member: one that waits, or a new one."""
        waiting = [host for host in self._cluster.hosts if host.node is not None and host.node.replica is None]
        if self._cluster.weather.renewals:
            removed = [host for host in self._cluster.hosts if host.node is not None and host.node.directory.removed]
            for host in removed[:1]:
                host.begin_anew()
                return host
            if waiting:
                return self._cluster.random.choice(waiting)
        if len(self._cluster.hosts) < HOSTS_MAX:
            return self._cluster.new_host()
        return self._cluster.random.choice(waiting) if waiting else None

    def _later(self, act: Any) -> None:
        cluster = self._cluster
        cluster.schedule.at(
            cluster.schedule.now_s + cluster.random.random() * HASTE_S_MAX, lambda _: None if cluster.healed else act()
        )

    def _change(self, change: Change, host: Host, other: Host | None = None) -> None:
        name = self._name(other) if other is not None else ""
        self._ask(lambda number: ChangeMembers(number, change, self._name(host), name))

    def _name(self, host: Host) -> str:
        """What they call a node."""
        return host.label

    def _ask(self, make: Any) -> None:
        cluster = self._cluster
        self._number += 1
        client = cluster.random.choice(cluster.clients)
        message = make(min(self._number, limits.NUMBER_MAX))
        cluster.trace.note(client.name, "asks for", str(message))
        client.link.send(message)
