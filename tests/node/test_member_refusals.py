"""Changes of the members that are refused, and that nothing changes by them."""

from __future__ import annotations

import pytest

from conflux import limits
from conflux.node import changes as changes_module
from conflux.node.candidates import Candidates
from conflux.wire.clients import Change, Changed, ChangeMembers, Code, Refused
from conflux.wire.peers import Candidate, Founder
from tests.node.harness import World, label_of
from tests.node.test_members import all_see, change, voters

IDENTITY = {label: label.encode().hex().rjust(32, "0") for label in "abcdefz"}


def candidate(label: str, identity: str) -> Candidate:
    return Candidate(Founder(identity, label, "p"), f"at-{label}", "")


def heard(world: World, label: str, identity: str) -> None:
    world.leader().candidates.hear(candidate(label, identity), world.clock.now_s)


def refused(world: World, what: Change, member: str = "", other: str = "", *, force: bool = False) -> Refused:
    before = voters(world.leader())
    answer = change(world.user(), what, member, other, force=force)
    assert isinstance(answer, Refused), answer
    assert voters(world.leader()) == before
    return answer


@pytest.mark.parametrize(
    ("what", "member", "other", "words"),
    [
        (Change.ADD, "a", "", "a is a member already"),
        (Change.PROMOTE, "b", "", "b is a voter already"),
        (Change.REMOVE, "z", "", "there is no member z: the members are a, b, c"),
        (Change.REPLACE, "a", "z", "no node 'z' waits to join"),
    ],
)
def test_what_can_not_be_is_said(what: Change, member: str, other: str, words: str) -> None:
    assert words in refused(World(3), what, member, other).message


def test_a_newcomer_that_is_a_member_or_was_one_is_refused() -> None:
    world = World(3)
    gone = label_of(world.followers()[0])
    member = label_of(world.followers()[1])
    assert isinstance(change(world.user(), Change.REMOVE, gone), Changed)
    heard(world, "z", IDENTITY[gone])
    assert "z was removed and never returns" in refused(world, Change.ADD, "z").message
    assert "z was removed and never returns" in refused(world, Change.REPLACE, member, "z").message
    heard(world, "y", IDENTITY[member])
    assert "y is a member already" in refused(world, Change.ADD, "y").message


def test_a_node_is_not_replaced_by_itself_or_by_one_whose_label_is_taken() -> None:
    world = World(3)
    heard(world, "a", IDENTITY["a"])
    assert "a is a member already, or was one" in refused(world, Change.REPLACE, "a").message
    heard(world, "b", IDENTITY["z"])
    assert "there is a member b already" in refused(world, Change.REPLACE, "a", IDENTITY["z"]).message


def pending(world: World) -> None:
    """Let a node be replaced by one that does not catch up."""
    old = label_of(world.followers()[0])
    world.join("d")
    world.run(1.0)
    world.isolate(old)
    world.isolate("d")
    assert isinstance(change(world.user(), Change.REPLACE, old, "d"), Changed)


def test_one_member_is_replaced_at_a_time() -> None:
    world = World(3)
    pending(world)
    assert "another member is being replaced" in refused(world, Change.REPLACE, label_of(world.leader())).message


def test_a_learner_takes_a_members_place() -> None:
    world = World(3)
    world.join("d")
    world.run(1.0)
    change(world.user(), Change.LEARN, "d")
    old = label_of(world.followers()[0])
    assert isinstance(change(world.user(), Change.REPLACE, old, "d"), Changed)
    all_see(world, *sorted({"a", "b", "c", "d"} - {old}))


def test_a_leader_that_is_replaced_hands_over_first() -> None:
    world = World(3)
    world.join("d")
    world.run(1.0)
    old = label_of(world.leader())
    change(world.user(), Change.REPLACE, old, "d")
    world.until(lambda: old not in voters(world.leader()), 30)
    assert label_of(world.leader()) != old


def test_a_membership_that_no_cluster_could_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(1)
    world.join("b")
    world.run(1.0)
    monkeypatch.setattr(limits, "MEMBERS_MAX", 1)
    monkeypatch.setattr(limits, "REPLACEMENTS_MAX", 0)
    assert "at most 9 members" in refused(world, Change.ADD, "b").message


def test_invitations_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "TOKENS_MAX", 0)
    world = World(1)
    user = world.user()
    answer = user.ask(ChangeMembers(1, Change.INVITE, "", "", False), (Changed, Refused))
    assert isinstance(answer, Refused) and answer.code is Code.BUSY


def test_changes_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes_module, "WAITING_CHANGES_MAX", 0)
    world = World(1)
    answer = world.user().ask(ChangeMembers(1, Change.INVITE, "", "", False), (Changed, Refused))
    assert isinstance(answer, Refused) and "too many changes" in answer.message


def test_those_who_wait_to_join_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CANDIDATES_MAX", 1)
    candidates = Candidates()
    for label in "de":
        candidates.hear(candidate(label, IDENTITY[label]), 0.0)
    candidates.hear(candidate("d", IDENTITY["d"]), 1.0)
    assert [each.founder.label for each in candidates.all(1.0)] == ["d"]
