"""Links to other nodes: where a member may be, and who is told that it was removed."""

from __future__ import annotations

import pytest

from conflux import limits
from conflux.wire.peers import Founder, Hello, Removed
from tests.node.harness import Wire, World


def test_where_a_member_may_be_is_believed_until_it_says_so_itself() -> None:
    world = World(1)
    links, wire = world.leader().links, world.wires["at-a"]
    links.expect("f" * 32, "at-z")
    links.expect("f" * 32, "at-y")
    links.expect("e" * 32, "")
    assert links.addresses == {"f" * 32: "at-z"}
    assert isinstance(wire, Wire) and wire.dialled == {"at-z"}


def test_those_who_are_still_to_be_told_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MEMBERS_MAX", 1)
    links = World(1).leader().links
    for number in range(2):
        founder = Founder(f"{number}" * 32, "gone", "p")
        links.tell(Hello(founder, f"at-{number}", "test", 1, "things", 1, None, (), True, False), Removed())
    assert links._untold == {"at-0"}
