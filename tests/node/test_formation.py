"""How a cluster begins: every order of greetings, lost, repeated and late, and acceptors that start again.

The exhaustive tests walk through all states that a few founders can reach. A move is: a node hears any greeting that
another has ever sent (so none need arrive, and any may arrive late or twice), a node carries out one decision, or a
node starts again with what its disk holds.
"""

from __future__ import annotations

from collections import deque
from copy import copy
from dataclasses import dataclass, replace
from functools import cache
from random import Random
from typing import Any

import pytest

from conflux.node.directory import cluster_id
from conflux.node.formation import SILENT_SECONDS, Accept, Formation, Formed, GiveUp, Never, settle_seconds
from conflux.wire.peers import Founder, Hello, Proposal

short_id = cache(cluster_id)


def founder(label: str, identity: str | None = None) -> Founder:
    return Founder(identity or label.encode().hex().rjust(32, "0"), label, "key")


def proposal(*labels: str) -> Proposal:
    return Proposal("test", "app", 1, tuple(sorted(founder(label) for label in labels)))


def formation(label: str, size: int = 3, settle_s: float = 0.0, **found: Any) -> Formation:
    """A node that begins, or finds `accepted` and `nevers` on its disk."""
    held = {"accepted": None, "nevers": frozenset()} | found
    return Formation(
        founder(label), name="test", size=size, app="app", app_version=1, settle_s=settle_s, now_s=0, **held
    )


def hello(label: str, size: int = 3, **said: Any) -> Hello:
    base: dict[str, Any] = {
        "founder": founder(label),
        "address": f"at-{label}",
        "name": "test",
        "size": size,
        "app": "app",
        "app_version": 1,
        "accepted": None,
        "nevers": (),
        "formed": False,
        "answer_me": True,
    }
    return Hello(**base | said)


# ---- The decisions one by one ----


def test_a_node_alone_accepts_itself_and_is_formed():
    alone = formation("a", size=1)
    assert alone.decide(0) == Accept(proposal("a"))
    alone.accepted = proposal("a")
    assert alone.decide(0) == Formed(proposal("a"))


def test_nobody_proposes_before_enough_are_here_and_settled():
    node = formation("a", settle_s=2.0)
    node.hear(hello("b"), 0.0)
    assert node.decide(9.0) is None
    node.hear(hello("b"), 9.0)
    node.hear(hello("c"), 10.0)
    assert node.decide(11.9) is None and node.settles_at_s() == 12.0
    assert node.decide(12.0) == Accept(proposal("a", "b", "c"))


def test_nobody_proposes_while_there_are_too_many():
    node = formation("a", size=2)
    node.hear(hello("b", 2), 0)
    node.hear(hello("c", 2), 0)
    assert node.decide(0) is None
    assert node.waiting_for().startswith("3 candidates for a cluster of 2: a, b, c")


def test_a_candidate_that_falls_silent_is_none_any_more():
    node = formation("a", size=2)
    node.hear(hello("b", 2), 0)
    node.hear(hello("c", 2), 0)
    node.hear(hello("b", 2), SILENT_SECONDS)
    assert node.decide(SILENT_SECONDS + 0.1) == Accept(proposal("a", "b"))


def test_a_proposal_of_another_with_this_node_in_it_is_accepted_though_not_all_were_seen():
    node = formation("c")
    node.hear(hello("a", accepted=proposal("a", "b", "c")), 0)
    assert node.decide(0) == Accept(proposal("a", "b", "c"))


@pytest.mark.parametrize(
    "offered",
    [
        proposal("a", "b"),
        proposal("a", "b", "d"),
        Proposal("other", "app", 1, proposal("a", "b", "c").founders),
        Proposal("test", "other", 1, proposal("a", "b", "c").founders),
        Proposal("test", "app", 2, proposal("a", "b", "c").founders),
        Proposal("test", "app", 1, tuple(reversed(proposal("a", "b", "c").founders))),
        Proposal("test", "app", 1, (founder("a"), founder("a"), founder("c"))),
        Proposal("test", "app", 1, tuple(sorted([founder("a"), founder("a", "f" * 32), founder("c")]))),
        Proposal("test", "app", 1, (founder("a"), founder("b"), Founder(founder("c").identity, "c", "another key"))),
    ],
)
def test_a_proposal_that_is_not_well_made_or_not_of_this_node_is_never_accepted(offered):
    node = formation("c")
    node.hear(hello("a", accepted=offered), 0)
    assert node.decide(0) is None


def test_it_is_formed_only_when_every_founder_has_accepted():
    node = formation("a", accepted=proposal("a", "b", "c"))
    node.hear(hello("b", accepted=proposal("a", "b", "c")), 0)
    assert node.decide(0) is None
    node.hear(hello("c", accepted=proposal("a", "b", "c")), 0)
    assert node.decide(0) == Formed(proposal("a", "b", "c"))


def test_a_founder_that_says_it_is_formed_is_believed():
    node = formation("a", accepted=proposal("a", "b", "c"))
    node.hear(hello("b", accepted=proposal("a", "b", "c"), formed=True), 0)
    assert node.decide(0) == Formed(proposal("a", "b", "c"))


def test_of_proposals_that_overlap_the_lowest_wins():
    node = formation("b", size=2, accepted=proposal("a", "b"))
    node.hear(hello("c", 2, accepted=proposal("b", "c")), 0)
    assert node.decide(0) == Never(cluster_id(proposal("b", "c")))


def test_an_acceptance_is_given_up_once_a_founder_has_said_never():
    node = formation("c", size=2, accepted=proposal("b", "c"))
    node.hear(hello("b", 2, accepted=proposal("a", "b")), 0)
    assert node.decide(0) is None
    node.hear(hello("b", 2, accepted=proposal("a", "b"), nevers=(cluster_id(proposal("b", "c")),)), 0)
    assert node.decide(0) == GiveUp(cluster_id(proposal("b", "c")))


def test_a_never_of_somebody_who_is_no_founder_of_it_means_nothing():
    node = formation("a", size=2, accepted=proposal("a", "b"))
    node.hear(hello("z", 2, nevers=(cluster_id(proposal("a", "b")),)), 0)
    assert node.decide(0) is None


def test_a_proposal_that_was_given_up_is_not_accepted_again():
    refused = cluster_id(proposal("a", "b"))
    node = formation("b", size=2, nevers=frozenset([refused]))
    node.hear(hello("a", 2, accepted=proposal("a", "b")), 0)
    decision = node.decide(0)
    assert isinstance(decision, Accept) and cluster_id(decision.proposal) != refused, "another attempt is another one"


def test_e11_who_sees_a_formed_cluster_of_its_name_forms_no_other():
    node = formation("d", size=2)
    node.hear(hello("a", 2, accepted=proposal("a", "b"), formed=True), 0)
    node.hear(hello("e", 2), 0)
    assert node.decide(0) is None
    assert node.waiting_for() == "the cluster 'test' is formed already, by a, b, without this node"
    node.hear(hello("e", 2, accepted=proposal("d", "e")), 0)
    assert node.decide(0) == Never(cluster_id(proposal("d", "e")))


# ---- What is told ----


@pytest.mark.parametrize(
    ("said", "what"),
    [
        ({"name": "shop"}, "cluster shop, not test"),
        ({"size": 5}, "cluster size 5, not 3"),
        ({"app": "kv"}, "app kv, not app"),
        ({"app_version": 2}, "app version 2, not 1"),
    ],
)
def test_e8_a_stranger_is_no_candidate_and_named_with_its_reason(said, what):
    node = formation("a")
    node.hear(hello("b", **said), 0)
    assert node.strangers == {"at-b": f"b at at-b has {what}"}
    assert node.waiting_for() == "waiting for 2 of 3 nodes; here are a"
    node.hear(hello("b"), 0)
    assert node.strangers == {}


def test_e5_strangers_and_candidates_are_limited():
    node = formation("a")
    for number in range(200):
        other = founder("x", f"{number:032x}")
        node.hear(hello("x", founder=other, address=f"s{number}", size=5), 0)
        node.hear(hello("x", founder=other, address=f"c{number}"), 0)
    assert len(node.strangers) <= 64 and len(node._candidates) <= 64


@pytest.mark.parametrize(
    ("size", "peers", "mdns", "seconds"),
    [(1, (), False, 0), (3, ("x", "y"), False, 0), (3, ("x",), False, 2), (3, ("x", "y"), True, 2)],
)
def test_candidates_settle_unless_all_others_are_named_and_nobody_is_looked_for(size, peers, mdns, seconds):
    assert settle_seconds(size, peers, mdns=mdns) == seconds


def test_who_is_missing_is_told_at_every_stage():
    node = formation("a", settle_s=2.0)
    assert node.waiting_for() == "waiting for 2 of 3 nodes; here are a"
    node.hear(hello("b"), 0), node.hear(hello("c"), 0)
    assert node.waiting_for() == "forming a cluster of a, b, c"
    node.accepted = proposal("a", "b", "c")
    node.hear(hello("b", accepted=proposal("a", "b", "c")), 0)
    assert node.waiting_for().startswith("waiting for c to accept the cluster ")
    assert node.settles_at_s() is None


def test_two_nodes_of_one_label_are_told_apart_and_form_nothing():
    node = formation("a", size=2)
    node.hear(hello("a", 2, founder=founder("a", "f" * 32)), 0)
    assert node.decide(0) is None and node.waiting_for().startswith("two nodes have the same id: a, a")


def test_a_founder_that_came_back_with_another_directory_is_named():
    node = formation("a", size=2, accepted=proposal("a", "b"))
    node.hear(hello("b", 2, founder=founder("b", "f" * 32)), 0)
    assert "b came back with another directory" in node.waiting_for()


# ---- All that can happen ----


@dataclass(frozen=True)
class Disk:
    """What a founder has written down."""

    accepted: Proposal | None = None
    nevers: frozenset[str] = frozenset()
    formed: bool = False


class Model:
    """A few founders, their disks, and every greeting that was ever sent. Time stands still."""

    now_s = 0.0

    def __init__(self, labels: str, size: int) -> None:
        self.labels, self.size = labels, size
        self.disks = {label: Disk() for label in labels}
        self.nodes: dict[str, Formation] = {label: formation(label, size) for label in labels}
        self.sent = {label: (Disk(),) for label in labels}

    def copied(self) -> Model:
        twin = copy(self)
        twin.disks, twin.sent, twin.nodes = dict(self.disks), dict(self.sent), {}
        for label, node in self.nodes.items():
            other = twin.nodes[label] = copy(node)
            for name in ("_candidates", "_heard_s", "_stands_by", "_said_never", "strangers"):
                setattr(other, name, dict(getattr(node, name)))
        return twin

    def key(self) -> Any:
        """What makes two states the same."""
        views = tuple(
            (
                tuple(sorted(node._candidates)),
                tuple(sorted((who, short_id(what)) for who, what in node._stands_by.items())),
                tuple(sorted((who, tuple(sorted(ids))) for who, ids in node._said_never.items())),
                node._formed_id,
                node.other_cluster,
            )
            for node in self.nodes.values()
        )
        disks = tuple((d.accepted and short_id(d.accepted), d.nevers, d.formed) for d in self.disks.values())
        return views, disks, tuple(frozenset(self.sent[label]) for label in self.labels)

    def moves(self) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = [("decide", label) for label in self.labels if not self.disks[label].formed]
        found += [("restart", label) for label in self.labels if not self.disks[label].formed]
        for to in self.labels:
            found += [("hear", to, who, disk) for who in self.labels if who != to for disk in self.sent[who]]
        return found

    def hear(self, to: str, who: str, disk: Disk) -> None:
        if self.disks[to].formed:
            self.refuse_late_proposal(to, disk.accepted)
            return
        said = hello(who, self.size, accepted=disk.accepted, nevers=tuple(sorted(disk.nevers)), formed=disk.formed)
        self.nodes[to].hear(said, self.now_s)

    def refuse_late_proposal(self, label: str, late: Proposal | None) -> None:
        """What `Node` does for a formation that is over."""
        disk = self.disks[label]
        if late is not None and late != disk.accepted and founder(label) in late.founders:
            self.write(label, replace(disk, nevers=disk.nevers | {cluster_id(late)}))

    def restart(self, label: str) -> None:
        disk = self.disks[label]
        self.nodes[label] = formation(label, self.size, accepted=disk.accepted, nevers=disk.nevers)

    def decide(self, label: str) -> None:
        node, disk = self.nodes[label], self.disks[label]
        match node.decide(self.now_s):
            case Accept(accepted):
                disk = replace(disk, accepted=accepted)
            case Never(refused):
                disk = replace(disk, nevers=disk.nevers | {refused})
            case GiveUp(refused):
                disk = replace(disk, nevers=disk.nevers | {refused}, accepted=None)
            case Formed(formed):
                assert formed == disk.accepted, "only what is on disk is formed"
                disk = replace(disk, formed=True)
            case None:
                return
        node.accepted, node.nevers = disk.accepted, disk.nevers
        self.write(label, disk)

    def write(self, label: str, disk: Disk) -> None:
        self.disks[label] = disk
        if disk not in self.sent[label]:
            self.sent[label] = (*self.sent[label], disk)

    def do(self, move: tuple[Any, ...]) -> Model:
        twin = self.copied()
        getattr(twin, move[0])(*move[1:])
        return twin

    def clusters(self) -> set[str]:
        return {cluster_id(disk.accepted) for disk in self.disks.values() if disk.formed and disk.accepted}

    def check(self) -> None:
        """Never two; and who is formed can rely on the others: none of them has given the proposal up."""
        formed = [disk.accepted for disk in self.disks.values() if disk.formed and disk.accepted]
        assert len({cluster_id(each) for each in formed}) <= 1, "two clusters out of fewer than twice the founders"
        for each in formed:
            for member in each.founders:
                assert self.disks[member.label].accepted == each, f"{member.label} does not stand by what is formed"

    def settle(self) -> None:
        """All stay up, and every greeting arrives."""
        for _ in range(12):
            if all(disk.formed for disk in self.disks.values()):
                return
            for label in self.labels:
                for who in self.labels:
                    if who != label:
                        self.hear(label, who, self.disks[who])
                if not self.disks[label].formed:
                    self.decide(label)


def reachable(model: Model, states_max: int) -> list[Model]:
    """All states, nearest first."""
    seen = {model.key()}
    found, waiting = [model], deque([model])
    while waiting:
        here = waiting.popleft()
        for move in here.moves():
            there = here.do(move)
            if (key := there.key()) not in seen:
                seen.add(key)
                there.check()
                found.append(there)
                waiting.append(there)
                assert len(found) <= states_max, "more states than were expected"
    return found


@pytest.mark.unmeasured
def test_three_founders_of_three_form_one_cluster_from_every_state_that_they_can_reach():
    states = reachable(Model("abc", 3), 20_000)
    assert any(len(state.clusters()) == 1 for state in states)
    for state in states:
        state.settle()
        assert all(disk.formed for disk in state.disks.values()) and len(state.clusters()) == 1


def wander(labels: str, size: int, seed: int) -> Model:
    """A long random walk, checked at every step."""
    random = Random(seed)
    model = Model(labels, size)
    for _ in range(random.choice([20, 100, 250])):
        moves = model.moves()
        if not moves:
            break
        weights = {"decide": 3.0, "restart": random.choice([0.0, 1.0]), "hear": 1.0}
        move = random.choices(moves, [weights[each[0]] for each in moves])[0]
        getattr(model, move[0])(*move[1:])
        model.check()
    return model


@pytest.mark.parametrize(("labels", "size"), [("abc", 2), ("abcd", 3), ("abcde", 3), ("abcdefg", 4)])
def test_more_candidates_than_founders_never_make_two_clusters(labels, size):
    formed = 0
    for seed in range(150):
        model = wander(labels, size, seed)
        model.settle()
        model.check()
        formed += len(model.clusters())
        waiting = [disk for disk in model.disks.values() if disk.accepted and not disk.formed]
        assert not waiting, "an acceptance that can't come to anything is given up"
    assert formed > 0


def test_proposals_that_overlap_end_in_one_cluster_when_all_is_heard():
    """Two see one set and two another: the lowest proposal wins, and nobody waits for ever."""
    model = Model("abcd", 3)
    for to, others in {"a": "bc", "b": "ac", "c": "bd", "d": "bc"}.items():
        for who in others:
            model.hear(to, who, Disk())
    for label in "dcba":
        model.decide(label)
    assert len({disk.accepted for disk in model.disks.values() if disk.accepted}) == 2
    model.settle()
    assert model.clusters() == {cluster_id(proposal("a", "b", "c"))}
