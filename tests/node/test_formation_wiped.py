"""A founder's directory is lost half-way: all states that can come of it, and what an operator can still do.

As in `test_formation.py`, any greeting ever sent may arrive at any time, late, twice or never. Here one founder is
wiped at any moment: it comes back under its label with another identity, while what it said before is still under way.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Any

import pytest

from conflux.node.directory import cluster_id
from conflux.node.formation import SILENT_SECONDS, Formation
from conflux.wire.peers import Founder, Hello
from tests.node.test_formation import Disk, Model, formation, founder, hello

NEW = "Z"  # the node that was wiped, in its new directory
LATER_S = 2 * SILENT_SECONDS
REFUSALS_MAX = 2  # of one node: from there on, states repeat but for the number of the attempt


def founder_of(name: str, wiped: str) -> Founder:
    return Founder(founder(NEW).identity, wiped, "key") if name == NEW else founder(name)


class Wiped(Model):
    """Founders of whom the last one may be wiped, once."""

    def __init__(self, labels: str, size: int) -> None:
        super().__init__(labels, size)
        self.victim = labels[-1]
        self.gone = ""

    def key(self) -> Any:
        return super().key(), self.labels

    def moves(self) -> list[tuple[Any, ...]]:
        found = super().moves()
        found += [("hear", to, self.gone, disk) for to in self.labels for disk in self.sent.get(self.gone, ())]
        if not self.gone:
            found.append(("wipe",))
        return found

    def wipe(self) -> None:
        self.gone = self.victim
        self.labels = self.labels.replace(self.victim, NEW)
        del self.nodes[self.gone]
        self.disks[NEW], self.sent[NEW] = Disk(), (Disk(),)
        self.restart(NEW)

    def wait(self) -> None:
        """Long enough for who is gone to fall silent. Who is up greets meanwhile."""
        self.now_s += LATER_S
        for node in self.nodes.values():
            for label in self.labels:
                identity = founder(label).identity
                if identity in node._heard_s:
                    node._heard_s[identity] = self.now_s

    def said(self, who: str, disk: Disk) -> Hello:
        own = founder_of(who, self.victim)
        nevers = tuple(sorted(disk.nevers))
        return hello(own.label, self.size, founder=own, accepted=disk.accepted, nevers=nevers, formed=disk.formed)

    def hear(self, to: str, who: str, disk: Disk) -> None:
        if self.disks[to].formed:
            self.refuse_late_proposal(to, disk.accepted)
        else:
            self.nodes[to].hear(self.said(who, disk), self.now_s)

    def restart(self, label: str) -> None:
        disk, own = self.disks[label], founder_of(label, self.victim)
        node: Formation = formation(own.label, self.size, accepted=disk.accepted, nevers=disk.nevers)
        node._own = own
        self.nodes[label] = node

    def check(self) -> None:
        """Never two clusters, whoever was wiped: all identities together are fewer than twice the founders."""
        assert len(self.clusters()) <= 1, "two clusters"

    def living_clusters(self) -> set[str]:
        """That a cluster had formed may have been known to the lost disk alone: then it had committed nothing."""
        disks = [self.disks[label] for label in self.labels]
        return {cluster_id(disk.accepted) for disk in disks if disk.formed and disk.accepted}

    def settle(self) -> None:
        """All that are up stay up and hear each other; who is gone falls silent."""
        for _ in range(4):
            self.wait()
            super().settle()

    def forget(self) -> bool:
        """An operator at one node gives up what it waits for; False: nobody waits."""
        for label in self.labels:
            disk = self.disks[label]
            if disk.accepted is not None and not disk.formed and self.gone:
                nevers = disk.nevers | {cluster_id(disk.accepted)}
                self.write(label, Disk(None, nevers, False))
                self.restart(label)
                return True
        return False

    def is_formed(self) -> bool:
        return all(self.disks[label].formed for label in self.labels)

    def end_well(self) -> None:
        """A cluster stands: of those who are up, or of the others with the one that was wiped."""
        self.settle()
        self.check()
        if not self.living_clusters() and self.forget():
            if self.nodes[NEW].other_cluster:  # a last word of the lost one: who heard it forms no other in this life
                self.restart(NEW)
            self.settle()
        others = [label for label in self.labels if label != NEW]
        assert len(self.living_clusters()) == 1, "no cluster came about, or two"
        assert all(self.disks[label].formed for label in others), "one of them waits for ever"
        if not self.is_formed():
            assert self.nodes[NEW].other_cluster, "the new one is told that the cluster stands without it"


@pytest.mark.unmeasured
def test_two_founders_of_whom_one_is_wiped_at_any_moment_end_with_one_cluster() -> None:
    begin = Wiped("ab", 2)
    seen, waiting, found = {begin.key()}, deque([begin]), [begin]
    while waiting:
        here = waiting.popleft()
        for move in here.moves():
            there = here.do(move)
            if (key := there.key()) not in seen:
                seen.add(key)
                there.check()
                found.append(there)
                if max(len(disk.nevers) for disk in there.disks.values()) <= REFUSALS_MAX:
                    waiting.append(there)
    assert len(found) > 4000, "fewer states than were seen"
    for state in found:
        state.end_well()


def wander(labels: str, size: int, seed: int) -> Wiped:
    random = Random(seed)
    model = Wiped(labels, size)
    for _ in range(random.choice([10, 40, 120])):
        moves = [*model.moves(), ("wait",)]
        weights = {"decide": 3.0, "restart": 0.3, "hear": 1.0, "wipe": 0.3, "wait": 0.3}
        move = random.choices(moves, [weights[each[0]] for each in moves])[0]
        getattr(model, move[0])(*move[1:])
        model.check()
    return model


@pytest.mark.parametrize(("labels", "size"), [("abc", 3), ("abcde", 5)])
def test_long_walks_with_a_founder_that_is_wiped_end_with_one_cluster(labels: str, size: int) -> None:
    wiped = 0
    for seed in range(200):
        model = wander(labels, size, seed)
        wiped += bool(model.gone)
        model.end_well()
    assert wiped > 50
