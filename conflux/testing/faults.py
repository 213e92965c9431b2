"""Accidents: what befalls machines, disks and links while a simulated cluster runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conflux.testing.operators import Operators
from conflux.testing.quick_operators import QuickOperators

if TYPE_CHECKING:
    from conflux.testing.cluster import SimulatedCluster
    from conflux.testing.host import Host
    from conflux.testing.network import Link

HOUR_S = 3600.0
CLIENT_CUT_OFF_S_MAX = 6.0  # long enough for a short session to expire


class Faults:
    """Lets one accident after another happen, of the kinds that the weather knows."""

    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster
        self._operators = QuickOperators(cluster) if cluster.weather.quick_operators else Operators(cluster)
        self._kinds = list(cluster.weather.faults)
        self._weights = list(cluster.weather.faults.values())
        if self._kinds:
            cluster.schedule.at(cluster.schedule.now_s + cluster.weather.calm_s, self._happen)

    def _happen(self, _argument: Any) -> None:
        cluster = self._cluster
        if cluster.healed:
            return
        random, weather = cluster.random, cluster.weather
        kind = random.choices(self._kinds, self._weights)[0]
        longest_s = max(CLIENT_CUT_OFF_S_MAX, weather.fault_s_max) if kind == "client cut off" else weather.fault_s_max
        self.let(kind, random.random() * longest_s)
        cluster.schedule.at(cluster.schedule.now_s + random.expovariate(1 / weather.fault_pause_s), self._happen)

    def let(self, kind: str, seconds: float) -> None:
        """Let one accident happen, to last so long."""
        cluster = self._cluster
        until_s = cluster.schedule.now_s + seconds
        cluster.trace.note("world", kind, f"for {seconds:.6f} s")
        cluster.counts[f"fault: {kind}"] += 1
        match kind:
            case "crash" | "crash the leader":
                self._crash(self._victim(leader=kind != "crash"), until_s)
            case "cold start":
                for host in cluster.hosts:
                    self._crash(host, cluster.schedule.now_s + cluster.random.random() * seconds)
            case "pause" | "pause the leader":
                self._victim(leader=kind != "pause").pause(until_s)
            case (
                "partition"
                | "one-way partition"
                | "cut one link"
                | "triangle"
                | "isolate the leader"
                | "client cut off"
            ):
                self._cut(kind, until_s)
            case "disk full":
                self._victim().platter.full_until_s = until_s
            case "all disks stall":
                for host in cluster.hosts:
                    host.platter.stalled_until_s = until_s
            case "one disk stalls":
                self._victim().platter.stalled_until_s = until_s
            case "clock jumps":
                self._victim().clock.jump(cluster.random.uniform(-HOUR_S, HOUR_S))
            case "the leader is an hour off":
                self._victim(leader=True).clock.jump(cluster.random.choice([-HOUR_S, HOUR_S]))
            case "a request is lost in its window":
                cluster.network.lose_request_until_s = until_s
            case "restored from its encoding":
                self._victim().restore_from_encoding()
            case "take a snapshot" | "add a node" | "remove a node" | "replace a node" | "promote a node":
                self._operators.act(kind)
            case "lose a majority" | "restore a backup":
                cluster.refound(kind)
            case "a follower is away":
                self._away(until_s)
            case "transfer leadership":
                cluster.random.choice(cluster.clients).transfer_leadership()

    def _victim(self, *, leader: bool = False) -> Host:
        leaders = self._cluster.leaders
        return self._cluster.random.choice(leaders if leader and leaders else self._cluster.hosts)

    def _crash(self, host: Host, until_s: float) -> None:
        host.down_until_s = max(host.down_until_s, until_s)
        host.stop("crashes")
        self._cluster.schedule.at(host.down_until_s, self._cluster.start, host)

    def _away(self, until_s: float) -> None:
        """A member that the cluster can do without is down, stands still or is cut off: the others go on meanwhile."""
        cluster, random = self._cluster, self._cluster.random
        leader = next(iter(cluster.leaders), None)
        if leader is None or leader.node is None:
            return
        membership = leader.node.membership()
        up = {host.identity for host in cluster.hosts_up if host.away_until_s <= cluster.schedule.now_s}
        dispensable = [
            host
            for host in cluster.hosts_up
            if host is not leader
            and host.identity in up.intersection(membership.members)
            and membership.has_quorum(up - {host.identity})
        ]
        if not dispensable:
            return
        host = random.choice(dispensable)
        host.away_until_s = until_s
        match random.choice(["crash", "pause", "cut"]):
            case "crash":
                self._crash(host, until_s)
            case "pause":
                host.pause(until_s)
            case _:
                others = [other.label for other in cluster.hosts if other is not host]
                links = {pair for other in others for pair in ((host.label, other), (other, host.label))}
                self._cut_for(links, until_s)

    def _cut(self, kind: str, until_s: float) -> None:
        self._cut_for(self._links(kind), until_s)

    def _cut_for(self, links: set[Link], until_s: float) -> None:
        cluster = self._cluster
        cut = cluster.network.cut(links, holds=cluster.random.random() < 0.3)
        cluster.transfers.links_cut(links)
        cluster.schedule.at(until_s, cluster.network.mend, cut)

    def _links(self, kind: str) -> set[Link]:
        """The links that a cut of this kind takes away. Clients stay connected, but for the kind that cuts them off."""
        cluster, random = self._cluster, self._cluster.random
        nodes = [host.label for host in cluster.hosts]
        random.shuffle(nodes)
        if kind == "client cut off":
            client = random.choice(cluster.clients).name
            some = nodes[: random.randint(1, len(nodes))]
            out = {(client, node) for node in some}
            back = {(node, client) for node in some}
            return random.choice([out, back, out | back])
        size = random.randint(1, max(1, len(nodes) - 1))
        if kind == "isolate the leader":
            here = {self._victim(leader=True).label}
        elif kind == "triangle":  # the leader and another don't see each other, and all the rest see both
            leader = self._victim(leader=True).label
            here, nodes = {leader}, [leader, *[node for node in nodes if node != leader][:1]]
        elif kind == "cut one link":
            here = {nodes[0]}
            nodes = nodes[:2]
        else:
            here = set(nodes[:size])
        out = {(a, b) for a in nodes for b in nodes if a in here and b not in here}
        back = {(b, a) for a, b in out}
        if kind == "one-way partition":
            return random.choice([out, back])
        return out | back
