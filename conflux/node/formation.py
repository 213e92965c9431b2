"""How a cluster begins: all N founders accept one proposal, each on its disk, or there is no cluster.

Pure: greetings and the time go in, a decision comes out. The proposal is the sorted set of the N founders with name
and app; the cluster's id is its hash, so anyone may propose and a proposer's crash changes nothing. A node accepts one
proposal, durably, before it says so. Since all must accept, two clusters can't form out of fewer than 2N nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from conflux import limits
from conflux.node.directory import cluster_id
from conflux.wire.peers import Founder, Hello, Proposal


@dataclass(frozen=True, slots=True)
class Accept:
    """Write the proposal down as accepted, then greet with it."""

    proposal: Proposal


@dataclass(frozen=True, slots=True)
class Formed:
    """Every founder has accepted: this is the cluster."""

    proposal: Proposal


Decision: TypeAlias = Accept | Formed


class Formation:
    """One node's part in it.

    Args:
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
        settle_s: float,
        now_s: float,
    ) -> None:
        self.accepted = accepted
        self.strangers: dict[str, str] = {}  # address → why a node that greets can't take part
        self._own = own
        self._name, self._size = name, size
        self._app, self._app_version = app, app_version
        self._settle_s = settle_s
        self._candidates: dict[str, Founder] = {own.identity: own}
        self._changed_s = now_s
        self._acceptances: dict[str, str] = {}  # identity → id of the proposal it says it accepted
        self._offered: Proposal | None = None  # a proposal with this node in it, accepted by another
        self._formed_id: str | None = None  # of a cluster that a founder says is formed

    def hear(self, hello: Hello, now_s: float) -> None:
        """Take a greeting."""
        if problem := self._mismatch(hello):
            if len(self.strangers) < limits.CANDIDATES_MAX:
                self.strangers[hello.address] = problem
            return
        self.strangers.pop(hello.address, None)
        identity = hello.founder.identity
        if identity not in self._candidates and len(self._candidates) < limits.CANDIDATES_MAX:
            self._candidates[identity] = hello.founder
            self._changed_s = now_s
        if hello.accepted is not None:
            self._acceptances[identity] = cluster_id(hello.accepted)
            if self._own in hello.accepted.founders and self._is_possible(hello.accepted):
                self._offered = hello.accepted
                if hello.formed:
                    self._formed_id = cluster_id(hello.accepted)

    def decide(self, now_s: float) -> Decision | None:
        """What is to be done now, if anything."""
        if self.accepted is None:
            proposal = self._offered or self._propose(now_s)
            return Accept(proposal) if proposal else None
        own_id = cluster_id(self.accepted)
        others = (founder.identity for founder in self.accepted.founders if founder != self._own)
        if self._formed_id == own_id or all(self._acceptances.get(other) == own_id for other in others):
            return Formed(self.accepted)
        return None

    def settles_at_s(self) -> float | None:
        """When a proposal may be made of the candidates seen so far; None where that's not what is waited for."""
        return self._changed_s + self._settle_s if self.accepted is None else None

    def waiting_for(self) -> str:
        """One line for people: who or what is missing."""
        labels = sorted(founder.label for founder in self._candidates.values())
        if self.accepted is not None:
            own_id = cluster_id(self.accepted)
            missing = [f.label for f in self.accepted.founders if self._acceptances.get(f.identity) != own_id]
            waited = ", ".join(sorted(label for label in missing if label != self._own.label))
            return f"waiting for {waited} to accept the cluster"
        if len(labels) != len(set(labels)):
            return f"two nodes have the same id: {', '.join(labels)}"
        if len(labels) > self._size:
            return f"{len(labels)} candidates for a cluster of {self._size}: {', '.join(labels)}"
        if len(labels) < self._size:
            return f"waiting for {self._size - len(labels)} of {self._size} nodes; here are {', '.join(labels)}"
        return f"forming a cluster of {', '.join(labels)}"

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

    def _propose(self, now_s: float) -> Proposal | None:
        if len(self._candidates) != self._size or now_s < self._changed_s + self._settle_s:
            return None
        proposal = Proposal(self._name, self._app, self._app_version, tuple(sorted(self._candidates.values())))
        return proposal if self._is_possible(proposal) else None
