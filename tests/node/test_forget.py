"""`start --forget`: the operator's word that a cluster which was accepted will come to nothing."""

from __future__ import annotations

import pytest

from conflux.apps.list import app
from conflux.errors import ConfluxError
from conflux.node import directory as directories
from conflux.node.directory import Directory, cluster_id
from conflux.node.formation import Accept, Formation
from conflux.node.opening import forget, memory_directory
from conflux.node.options import NodeOptions
from conflux.wire.peers import Founder, Hello, Proposal

OPTIONS = NodeOptions(cluster="conflux", label="a", size=2)
LOST = Founder("f" * 32, "lost", "")
NEW = Founder("e" * 32, "new", "")


def accepted_with_the_lost_one() -> tuple[Directory, Proposal]:
    directory = memory_directory(OPTIONS, app)
    proposal = Proposal("conflux", "list", 1, tuple(sorted((directory.self.founder, LOST))))
    directories.record_accepted(directory.storage, proposal)
    return directories.read(directory.storage), proposal


def greeting(founder: Founder, accepted: Proposal | None) -> Hello:
    return Hello(founder, "10.0.0.9:7420", "conflux", 2, "list", 1, accepted, (), False, False)


def formation_of(directory: Directory) -> Formation:
    return Formation(
        directory.self.founder,
        name="conflux",
        size=2,
        app="list",
        app_version=1,
        accepted=directory.accepted,
        nevers=directory.nevers,
        settle_s=0.0,
        now_s=0.0,
    )


def test_what_is_forgotten_is_never_accepted_again_and_another_cluster_may_form() -> None:
    directory, proposal = accepted_with_the_lost_one()
    after = forget(directory, cluster_id(proposal)[:8])
    assert after.accepted is None and cluster_id(proposal) in after.nevers
    formation = formation_of(after)
    formation.hear(greeting(LOST, proposal), 1.0)
    decision = formation.decide(1.0)
    assert isinstance(decision, Accept) and cluster_id(decision.proposal) != cluster_id(proposal), "refused for good"
    formation = formation_of(after)
    formation.hear(greeting(NEW, None), 1.0)
    assert isinstance(formation.decide(1.0), Accept)


def test_another_cluster_than_the_accepted_one_is_not_forgotten() -> None:
    directory, proposal = accepted_with_the_lost_one()
    with pytest.raises(ConfluxError, match=f"a has accepted {cluster_id(proposal)[:8]}, not 00000000"):
        forget(directory, "00000000")
    assert directories.read(directory.storage).accepted == proposal


def test_a_formed_cluster_is_not_forgotten() -> None:
    directory, proposal = accepted_with_the_lost_one()
    directories.record_formed(directory.storage)
    with pytest.raises(ConfluxError, match="is formed"):
        forget(directories.read(directory.storage), cluster_id(proposal))
    assert directories.read(directory.storage).formed


def test_nothing_accepted_is_nothing_to_forget() -> None:
    with pytest.raises(ConfluxError, match="has accepted no cluster"):
        forget(memory_directory(OPTIONS, app), "abc")
