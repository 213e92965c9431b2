"""Operators who look at what the leader says of members and candidates, and ask it for what can be done at once."""

from __future__ import annotations

from conflux.testing.host import Host
from conflux.testing.operators import Operators
from conflux.wire.clients import Change, TakeSnapshot

MEMBERS_MORE_MAX = 1  # than at first


class QuickOperators(Operators):
    """Each act is of the kind that is asked for, where that makes sense."""

    def act(self, kind: str) -> None:
        """Do one thing, of this kind where it makes sense."""
        leader = next(iter(self._cluster.leaders), None)
        if leader is None or leader.node is None:
            return
        membership = leader.node.membership()
        random, hosts = self._cluster.random, self._cluster.hosts
        members = [host for host in hosts if host.identity in membership.members]
        learners = [host for host in members if host.identity not in membership.voters]
        heard = {candidate.founder.identity for candidate in leader.node.candidates.all(leader.node.now_s())}
        waiting = [host for host in hosts if host.identity in heard.difference(membership.members, membership.removed)]
        has_room = len(members) < self._cluster.weather.nodes + MEMBERS_MORE_MAX
        for client in self._cluster.clients:
            client.link.aim(leader.node.channel.address)
        has_enough_voters = len(membership.voters) >= self._cluster.weather.nodes
        match kind:
            case "take a snapshot":
                self._ask(TakeSnapshot)
            case "add a node" | "replace a node" if not waiting and has_room:
                removed = leader.node.machine.membership.removed  # for good, since it is committed
                self._prepare([host for host in hosts if host.identity in removed])
            case "replace a node" if waiting and has_room:
                self._change(Change.REPLACE, random.choice(members), random.choice(waiting))
            case "add a node" if waiting and has_room:
                self._change(Change.LEARN if has_enough_voters else Change.ADD, random.choice(waiting))
            case "promote a node" if learners:
                self._change(Change.PROMOTE, random.choice(learners))
            case _ if learners or has_enough_voters:
                here = [host for host in learners or members if host.away_until_s < self._cluster.schedule.now_s]
                if here:  # who is away comes back, and has something to catch up with
                    self._change(Change.REMOVE, random.choice(here))

    def _name(self, host: Host) -> str:
        return host.identity  # the label may be that of an earlier life, too

    def _prepare(self, removed: list[Host]) -> None:
        """Let somebody wait to be let in: who was removed, as another node, or a new machine."""
        if removed:
            self._cluster.random.choice(removed).begin_anew()
        elif len(self._cluster.hosts) < self._cluster.weather.nodes + MEMBERS_MORE_MAX + 1:
            self._cluster.new_host()
