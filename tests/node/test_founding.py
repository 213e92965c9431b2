"""A formation on disk: what a full one holds up, what strangers are told, and what is refused for good."""

from __future__ import annotations

from typing import Any

import pytest

from conflux import limits
from conflux.errors import DiskFull
from conflux.node import directory as directories
from conflux.node.directory import cluster_id
from conflux.node.formation import Formation, GiveUp, Never
from conflux.wire.clients import Change
from conflux.wire.frames import PeerFrame
from conflux.wire.peers import AskReadIndex, Founder, Hello, Proposal
from tests.node.harness import Disk, World
from tests.node.test_members import all_see, change

STRANGER = Founder("f" * 32, "stranger", "p")


def no_room(*_: object) -> None:
    raise DiskFull("no space left on device")


def founder(label: str) -> Founder:
    return Founder(label.encode().hex().rjust(32, "0"), label, "p")


def hello(founder: Founder, accepted: Proposal | None) -> Hello:
    return Hello(founder, "at-z", "test", 3, "things", 1, accepted, (), False, False)


def frame(sender: str, receiver: str, cluster: str, message: Any) -> PeerFrame:
    return PeerFrame(cluster=cluster, sender=sender, receiver=receiver, term=0, message=message)


def test_a_full_disk_holds_a_formation_up_and_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(3)
    with monkeypatch.context() as patch:
        patch.setattr(Disk, "record_facts", no_room)
        world.run(2.0)
        assert "disk full: no space left on device" in (world.nodes["a"].waiting_for() or "")
    assert world.leader()
    assert world.nodes["a"].waiting_for() is None


def test_a_node_whose_disk_is_full_is_a_member_once_there_is_room() -> None:
    world = World(1)
    late = world.join("b")
    world.run(1.0)
    storage: Any = late.directory.storage
    storage.record_facts = no_room
    change(world.user(), Change.LEARN, "b")
    world.run(1.0)
    assert late.founding.wants_to_join and late.counts["disk full"]
    del storage.record_facts
    world.until(lambda: not late.founding.wants_to_join)


def test_a_node_is_let_in_only_by_a_cluster_that_it_has_heard_of() -> None:
    world = World(1)
    late = world.join("b")
    world.run(1.0)
    assert late.founding._joining is not None
    late.founding._joining._clusters.clear()
    asks = frame(founder("a").identity, late.directory.self.identity, "0" * 32, AskReadIndex(1))
    assert not late.founding.is_from_a_member(asks) and late.founding.wants_to_join
    change(world.user(), Change.ADD, "b")
    all_see(world, "a", "b")


def test_only_a_founder_shows_that_all_have_accepted() -> None:
    world = World(3)
    world.isolate("a")
    node = world.nodes["a"]
    proposal = Proposal("test", "things", 1, tuple(map(founder, "abc")))
    directories.record_accepted(node.directory.storage, proposal)
    node = world.restart("a")
    own = node.directory.self.identity
    assert not node.founding.is_from_a_member(frame(STRANGER.identity, own, cluster_id(proposal), AskReadIndex(1)))
    assert not node.directory.formed
    assert node.founding.is_from_a_member(frame(founder("b").identity, own, cluster_id(proposal), AskReadIndex(1)))
    assert node.directory.formed


def test_a_proposal_that_comes_too_late_is_refused_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(1)
    node = world.leader()
    own = node.directory.self
    proposals = [Proposal("test", "things", 1, (own.founder, STRANGER), attempt) for attempt in range(2)]
    for accepted in (None, proposals[0], proposals[0]):
        greeting = hello(STRANGER, accepted)
        node.founding.hear(frame(STRANGER.identity, own.identity, "0" * 32, greeting), greeting, world.clock.now_s)
    assert directories.read(node.directory.storage).nevers == {cluster_id(proposals[0])}
    monkeypatch.setattr(limits, "CANDIDATES_MAX", 1)
    greeting = hello(STRANGER, proposals[1])
    node.founding.hear(frame(STRANGER.identity, own.identity, "0" * 32, greeting), greeting, world.clock.now_s)
    assert len(directories.read(node.directory.storage).nevers) == 1


def test_what_is_refused_or_given_up_is_on_disk() -> None:
    world = World(3)
    world.isolate("a")
    node = world.nodes["a"]
    own = node.directory.self.founder
    directories.record_accepted(node.directory.storage, Proposal("test", "things", 1, (own,)))
    decisions: Any = iter([Never("d" * 32), None, GiveUp("e" * 32), None])
    node.founding._formation.decide = lambda now_s: next(decisions)  # type: ignore[method-assign]
    node.founding.form(world.clock.now_s)
    assert (node.founding.directory.nevers, node.founding.directory.accepted is None) == ({"d" * 32}, False)
    node.founding.form(world.clock.now_s)
    assert node.founding.directory.nevers == {"d" * 32, "e" * 32} and node.founding.directory.accepted is None


def test_when_every_attempt_was_refused_nothing_is_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CANDIDATES_MAX", 0)
    own = founder("a")
    refused = frozenset({cluster_id(Proposal("test", "things", 1, (own,)))})
    for nevers in (frozenset[str](), refused):
        formation = Formation(
            own,
            name="test",
            size=1,
            app="things",
            app_version=1,
            accepted=None,
            nevers=nevers,
            settle_s=0.0,
            now_s=0.0,
        )
        assert (formation.decide(1.0) is None) == bool(nevers)
