"""What a node that wants to join says of what it hears."""

from __future__ import annotations

import pytest

from conflux import limits
from conflux.node.directory import Self, cluster_id
from conflux.node.joining import Joining
from conflux.wire.peers import Founder, Hello, Proposal

OWN = Self("d" * 32, "d", "p", "s", "shop", 0, "things", 1)
FOUNDER = Founder("a" * 32, "a", "p")


def hello(name: str = "shop", app: str = "things", *, formed: bool = True, attempt: int = 0) -> Hello:
    accepted = Proposal(name, app, 1, (FOUNDER,), attempt)
    return Hello(FOUNDER, "127.0.0.1:1", name, 1, app, 1, accepted, (), formed, False)


def test_it_says_whom_it_waits_for() -> None:
    joining = Joining(OWN, "")
    assert joining.waiting_for() == "waiting for a cluster 'shop' to join; none was found yet"
    joining.hear(hello("other"))
    assert joining.waiting_for().endswith("; a belongs to other with things version 1")
    joining.hear(hello())
    assert joining.waiting_for().endswith("to let d in: conflux members add d")
    by_token = Joining(OWN, "secret")
    by_token.hear(hello())
    assert by_token.waiting_for().endswith("to let d in by its token")


def test_what_has_not_formed_is_no_cluster_to_join() -> None:
    joining = Joining(OWN, "")
    joining.hear(hello(formed=False))
    assert "none was found yet" in joining.waiting_for()


def test_only_a_cluster_that_was_heard_may_let_it_in() -> None:
    joining, there = Joining(OWN, ""), hello()
    assert there.accepted is not None
    assert joining.proposal_of(cluster_id(there.accepted)) is None
    joining.hear(there)
    assert joining.proposal_of(cluster_id(there.accepted)) == there.accepted


def test_what_it_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CANDIDATES_MAX", 1)
    joining = Joining(OWN, "")
    for attempt in range(2):
        joining.hear(hello(attempt=attempt))
    for name in ("other", "another"):
        joining.hear(hello(name))
    second = hello(attempt=1).accepted
    assert second is not None and joining.proposal_of(cluster_id(second)) is None
    assert (len(joining._clusters), len(joining._others)) == (1, 1)
