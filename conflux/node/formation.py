"""How a cluster begins: all N founders accept one proposal, each on its disk, or there is no cluster.

Pure: greetings and the time go in, a decision comes out. The proposal is the sorted set of the N founders with name
and app; the cluster's id is its hash, so anyone may propose and a proposer's crash changes nothing. A node accepts one
proposal, durably, before it says so. Since all must accept, two clusters can't form out of fewer than 2N nodes.

Nodes that see different candidates may accept different proposals. An acceptance is given up only after a founder of
that proposal has answered, durably, "never": then unanimity can't come about any more, since the first to say never
had not accepted and never will. A founder says never to a proposal when it stands by a lower one, when its cluster is
formed, or when it sees one of its name that is. So of proposals that overlap the lowest wins, whoever proposed it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TypeAlias

from conflux import limits
from conflux.node.directory import cluster_id
from conflux.wire.peers import Founder, Hello, Proposal

SETTLE_SECONDS = 2.0  # so long a set of candidates stays the same before it is proposed: there may be more of them
SILENT_SECONDS = 5.0  # who isn't heard for so long is gone: no candidate any more, and no place is kept for it


@dataclass(frozen=True, slots=True)
class Accept:
    """Write the proposal down as accepted, then greet with it."""

    proposal: Proposal


@dataclass(frozen=True, slots=True)
class Never:
    """Write down that this node will never accept the proposal of this id, then greet with that."""

    proposal_id: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    """A founder has said never to the accepted proposal: write down that this node will not stand by it either."""

    proposal_id: str


@dataclass(frozen=True, slots=True)
class Formed:
    """Every founder has accepted: this is the cluster."""

    proposal: Proposal


Decision: TypeAlias = Accept | Never | GiveUp | Formed


def settle_seconds(size: int, peers: Collection[str], *, mdns: bool) -> float:
    """How long candidates have to stay the same: not at all where all others are named, and nobody else is looked for.

    Args:
        size: of the cluster to form.
        peers: addresses of other nodes, as this one was told.
    """
    return 0.0 if len(peers) >= size - 1 and not mdns else SETTLE_SECONDS


class Formation:
    """One node's part in it.

    Args:
        accepted, nevers: what this node's disk says.
        settle_s: how long the candidates must stay the same before a proposal is made of them.
    """

    def __init__(
        self,
        own: Founder,
        *,
        name: str,
        size: int,
        app: str,
        app_version: int,
        accepted: Proposal | None,
        nevers: frozenset[str] = frozenset(),
        settle_s: float,
        now_s: float,
    ) -> None:
        self.accepted = accepted
        self.nevers = nevers
        self.strangers: dict[str, str] = {}  # address → why a node that greets can't take part
        self.other_cluster: str | None = None  # one of this name is formed, without this node: it forms no other
        self._own = own
        self._name, self._size = name, size
        self._app, self._app_version = app, app_version
        self._settle_s = settle_s
        self._candidates: dict[str, Founder] = {}  # others that want to form
        self._heard_s: dict[str, float] = {}  # when each was heard last
        self._changed_s = now_s
        self._stands_by: dict[str, Proposal] = {}  # identity → the proposal it says it accepted
        self._said_never: dict[str, frozenset[str]] = {}  # identity → ids that it says it never accepts
        self._stranger_heard_s: dict[str, float] = {}
        self._gone: list[str] = []  # identities that were forgotten
        self._formed_id: str | None = None  # of a cluster that a founder says is formed

    def hear(self, hello: Hello, now_s: float) -> None:
        """Take a greeting."""
        if problem := self._mismatch(hello):
            if hello.address in self.strangers or len(self.strangers) < limits.CANDIDATES_MAX:
                self.strangers[hello.address] = problem
                self._stranger_heard_s[hello.address] = now_s
            return
        self._forget_stranger(hello.address)
        identity = hello.founder.identity
        if identity not in self._heard_s and len(self._heard_s) >= limits.CANDIDATES_MAX:
            return
        self._heard_s[identity] = now_s
        self._said_never[identity] = frozenset(hello.nevers)
        if hello.accepted is not None and self._is_possible(hello.accepted):
            self._stands_by[identity] = hello.accepted
        else:
            self._stands_by.pop(identity, None)
        if hello.formed and hello.accepted is not None:
            self._hear_formed(hello, hello.accepted)
        elif self._candidates.get(identity) != hello.founder:
            self._candidates[identity] = hello.founder
            self._changed_s = now_s

    def take_gone(self) -> list[str]:
        """The identities that were forgotten since this was asked last."""
        gone, self._gone = self._gone, []
        return gone

    def decide(self, now_s: float) -> Decision | None:
        """What is to be done now, if anything. Called again after each decision is carried out."""
        self._drop_silent(now_s)
        if self.accepted is not None:
            if self._is_unanimous(self.accepted):
                return Formed(self.accepted)
            if self._is_refused(self.accepted):
                return GiveUp(cluster_id(self.accepted))
            return self._refuse(lambda proposal: _rank(proposal) > _rank(self.accepted or proposal))
        if self.other_cluster is not None:
            return self._refuse(lambda proposal: True)
        offered = min(self._offers(), key=_rank, default=None) or self._propose(now_s)
        return Accept(offered) if offered is not None else None

    def settles_at_s(self) -> float | None:
        """When a proposal may be made of the candidates seen so far; None where that's not what is waited for."""
        return self._changed_s + self._settle_s if self.accepted is None else None

    def waiting_for(self) -> str:
        """One line for people: who or what is missing."""
        if self.accepted is not None:
            return self._waiting_to_accept(self.accepted)
        if self.other_cluster is not None:
            return self.other_cluster
        labels = sorted([self._own.label, *(founder.label for founder in self._candidates.values())])
        listed = ", ".join(labels)
        if len(labels) != len(set(labels)):
            return f"two nodes have the same id: {listed}; start one of them with another --id"
        if len(labels) > self._size:
            return f"{len(labels)} candidates for a cluster of {self._size}: {listed}; stop those that do not belong"
        if len(labels) < self._size:
            return f"waiting for {self._size - len(labels)} of {self._size} nodes; here are {listed}"
        return f"forming a cluster of {listed}"

    # -- inside --------------------------------------------------------------------------------------------------

    def _hear_formed(self, hello: Hello, proposal: Proposal) -> None:
        self._candidates.pop(hello.founder.identity, None)
        if self._own in proposal.founders:
            self._formed_id = cluster_id(proposal)
        elif self.accepted is None:
            labels = ", ".join(sorted(founder.label for founder in proposal.founders))
            self.other_cluster = f"the cluster {self._name!r} is formed already, by {labels}, without this node"

    def _mismatch(self, hello: Hello) -> str | None:
        asked = [
            ("cluster", hello.name, self._name),
            ("cluster size", hello.size, self._size),
            ("app", hello.app, self._app),
            ("app version", hello.app_version, self._app_version),
        ]
        for what, there, here in asked:
            if there != here:
                return f"{hello.founder.label} at {hello.address} has {what} {there}, not {here}"
        return None

    def _is_possible(self, proposal: Proposal) -> bool:
        """True where the proposal is well made and of this cluster: anything else is never accepted."""
        identities = [founder.identity for founder in proposal.founders]
        labels = {founder.label for founder in proposal.founders}
        return (
            (proposal.name, proposal.app, proposal.app_version) == (self._name, self._app, self._app_version)
            and len(identities) == len(set(identities)) == len(labels) == self._size
            and tuple(sorted(proposal.founders)) == proposal.founders
        )

    def _is_unanimous(self, proposal: Proposal) -> bool:
        others = [founder.identity for founder in proposal.founders if founder != self._own]
        return self._formed_id == cluster_id(proposal) or all(
            self._stands_by.get(other) == proposal for other in others
        )

    def _is_refused(self, proposal: Proposal) -> bool:
        """True once a founder of the proposal has said never to it."""
        own_id = cluster_id(proposal)
        return any(own_id in self._said_never.get(founder.identity, ()) for founder in proposal.founders)

    def _refuse(self, loses: Callable[[Proposal], bool]) -> Never | None:
        """Say never to a proposal with this node in it that loses."""
        for proposal in self._stands_by.values():
            refused = cluster_id(proposal)
            if self._own in proposal.founders and refused not in self.nevers and loses(proposal):
                return Never(refused)
        return None

    def _offers(self) -> list[Proposal]:
        """Proposals of others that this node may accept: it is in them, and no founder has said never."""
        return [
            proposal
            for proposal in self._stands_by.values()
            if self._own in proposal.founders
            and cluster_id(proposal) not in self.nevers
            and not self._is_refused(proposal)
        ]

    def _propose(self, now_s: float) -> Proposal | None:
        """A proposal of all candidates, if they are just as many as are needed, and have been for a while."""
        founders = (self._own, *self._candidates.values())
        if len(founders) != self._size or now_s < self._changed_s + self._settle_s:
            return None
        in_order = tuple(sorted(founders))
        for attempt in range(limits.CANDIDATES_MAX + 1):  # one more than anyone can have refused
            proposal = Proposal(self._name, self._app, self._app_version, in_order, attempt)
            if not self._is_possible(proposal):
                return None
            if cluster_id(proposal) not in self.nevers and not self._is_refused(proposal):
                return proposal
        return None

    def _drop_silent(self, now_s: float) -> None:
        """Forget who went away. Founders of what is accepted stay: they are waited for.

        What the others stood by, and what they said never to, they say again should they come back.
        """
        for address, heard_s in [*self._stranger_heard_s.items()]:
            if now_s - heard_s > SILENT_SECONDS:
                self._forget_stranger(address)
        founders = {founder.identity for founder in self.accepted.founders} if self.accepted else set()
        for identity in [each for each, heard_s in self._heard_s.items() if now_s - heard_s > SILENT_SECONDS]:
            if self._candidates.pop(identity, None) is not None:
                self._changed_s = now_s
            if identity not in founders:
                del self._heard_s[identity]
                self._said_never.pop(identity, None)
                self._stands_by.pop(identity, None)
                self._gone.append(identity)

    def _forget_stranger(self, address: str) -> None:
        self.strangers.pop(address, None)
        self._stranger_heard_s.pop(address, None)

    def _waiting_to_accept(self, accepted: Proposal) -> str:
        missing = sorted(
            founder.label
            for founder in accepted.founders
            if founder != self._own and self._stands_by.get(founder.identity) != accepted
        )
        line = f"waiting for {', '.join(missing)} to accept the cluster {cluster_id(accepted)[:8]}"
        here = {founder.label: founder.identity for founder in self._candidates.values()}
        known = {founder.label: founder.identity for founder in accepted.founders}
        for label in missing:
            if here.get(label, known[label]) != known[label]:
                line += f"; {label} came back with another directory, and is not the one that was accepted"
        return line


def _rank(proposal: Proposal) -> tuple[tuple[str, ...], int, str]:
    """Of two proposals the lower one wins: by its founders' identities, then by the attempt, then by its id."""
    return tuple(founder.identity for founder in proposal.founders), proposal.attempt, cluster_id(proposal)
