"""`Joining`: a node that wants to belong to a cluster that is formed. It decides nothing: it is let in, or it waits.

It greets whoever it finds, with its token or none. A cluster lets it in by a log entry; from then on the leader sends
it Raft messages, and the first of these makes it a member, durably. A member's greeting shows the proposal that its
cluster once was, whose hash is the cluster's id: so what a frame's header says can be held against it.
"""

from __future__ import annotations

from conflux import limits
from conflux.node.directory import Self, cluster_id
from conflux.wire.peers import Hello, Proposal


class Joining:
    """One node's way in.

    Args:
        token: what it was invited with; empty where an operator shall admit it by hand.
    """

    def __init__(self, own: Self, token: str) -> None:
        self.token = token
        self._own = own
        self._clusters: dict[str, Proposal] = {}  # formed ones that were heard, by id
        self._others: dict[str, str] = {}  # label of a node that doesn't fit → why

    def hear(self, hello: Hello) -> None:
        """Take a greeting."""
        if not hello.formed or hello.accepted is None:
            return
        own, there = self._own, hello.accepted
        if (there.name, there.app, there.app_version) == (own.cluster, own.app, own.app_version):
            if len(self._clusters) < limits.CANDIDATES_MAX:
                self._clusters[cluster_id(there)] = there
        elif len(self._others) < limits.CANDIDATES_MAX:
            self._others[hello.founder.label] = f"{there.name} with {there.app} version {there.app_version}"

    def proposal_of(self, cluster: str) -> Proposal | None:
        """What a cluster once was that may let this node in."""
        return self._clusters.get(cluster)

    def waiting_for(self) -> str:
        """One line for people."""
        own = self._own
        if self._clusters:
            if self.token:
                return f"waiting for the cluster {own.cluster!r} to let {own.label} in by its token"
            return f"waiting for the cluster {own.cluster!r} to let {own.label} in: conflux members add {own.label}"
        if self._others:
            label, what = min(self._others.items())
            wanted = f"a cluster {own.cluster!r} with {own.app} version {own.app_version}"
            return f"waiting for {wanted} to join; {label} belongs to {what}"
        return f"waiting for a cluster {own.cluster!r} to join; none was found yet"
