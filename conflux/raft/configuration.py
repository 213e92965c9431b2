"""Who belongs to the cluster, and what a majority of it is. Pure functions: nothing here knows of time or messages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from conflux.raft.messages import NodeId


@dataclass(frozen=True, slots=True)
class Configuration:
    """Voters decide; learners receive the log and decide nothing (thesis 4.2.1)."""

    voters: tuple[NodeId, ...]  # sorted, so that iteration is the same everywhere
    learners: tuple[NodeId, ...] = ()

    @classmethod
    def of(cls, voters: Iterable[NodeId], learners: Iterable[NodeId] = ()) -> Configuration:
        """The configuration of these members, in any order."""
        return cls(tuple(sorted(set(voters))), tuple(sorted(set(learners))))

    @property
    def members(self) -> tuple[NodeId, ...]:
        """Voters and learners, sorted."""
        return tuple(sorted({*self.voters, *self.learners})) if self.learners else self.voters

    def has_quorum(self, nodes: Iterable[NodeId]) -> bool:
        """True where the voters among `nodes` are a majority."""
        return len(set(nodes) & set(self.voters)) >= majority(len(self.voters))


def majority(count: int) -> int:
    """The smallest number of `count` voters of which any two sets share a voter."""
    return count // 2 + 1


def quorum_index(values: Mapping[NodeId, int], configuration: Configuration) -> int:
    """The highest value that a majority of the voters has reached; a voter without a value counts as 0."""
    reached = sorted([values.get(voter, 0) for voter in configuration.voters], reverse=True)
    return reached[majority(len(reached)) - 1] if reached else 0
