"""Members that come and go, on whole nodes: failure cases G1 to G10, and who decides what."""

from __future__ import annotations

import pytest

from conflux.node.node import Node
from conflux.wire.clients import (
    AskMembers,
    Change,
    Changed,
    ChangeMembers,
    Code,
    Consistency,
    Members,
    Read,
    Refused,
    Watch,
)
from tests.node.harness import NotSo, User, Wire, World, label_of
from tests.process.rows import row


def change(user: User, what: Change, member: str = "", other: str = "", *, force: bool = False) -> Changed | Refused:
    """Ask whoever leads; what it answers. A leader that hands over first is not the last word."""
    user.node = user.world.leader()
    for _ in range(20):
        answer = user.ask(ChangeMembers(user.number(), what, member, other, force), (Changed, Refused))
        if isinstance(answer, Changed) or answer.code is not Code.NO_LEADER:
            return answer
        user.world.run(0.2)
        user.node = user.world.leader()
    raise AssertionError(f"no answer but {answer}")


def voters(node: Node) -> list[str]:
    membership = node.membership()
    return sorted(each.label for each in membership.members_by_identity if each.standing == "voter")


def all_see(world: World, *labels: str) -> None:
    """Let time pass until every node has these voters, and knows it to be committed."""
    nodes = [world.nodes[label] for label in labels]
    world.until(lambda: all(voters(node) == list(labels) and node.replica for node in nodes), 20)
    leader = world.leader()
    world.until(lambda: all(node.machine.index == leader.machine.index for node in nodes), 20)


def test_a_node_that_wants_to_join_is_a_candidate_until_somebody_lets_it_in():
    world = World(3)
    leader = world.leader()
    world.join("d")
    world.run(1.0)
    assert [each.founder.label for each in leader.candidates.all(world.clock.now_s)] == ["d"]
    assert "conflux members add d" in (world.nodes["d"].problem() or "")
    assert voters(leader) == ["a", "b", "c"]


def test_G6_it_learns_first_and_votes_once_it_has_caught_up():
    world = World(3)
    user = world.user()
    user.perform(*[("add", str(each)) for each in range(50)])
    world.join("d")
    world.run(1.0)
    assert isinstance(change(user, Change.ADD, "d"), Changed)
    all_see(world, "a", "b", "c", "d")
    assert world.nodes["d"].machine.state == world.leader().machine.state


def test_a_learner_stays_one_until_it_is_promoted():
    world = World(3)
    user = world.user()
    world.join("d")
    world.run(1.0)
    change(user, Change.LEARN, "d")
    world.run(5.0)
    assert voters(world.leader()) == ["a", "b", "c"]
    assert world.nodes["d"].machine.index == world.leader().machine.index
    assert isinstance(change(user, Change.PROMOTE, "d"), Changed)
    all_see(world, "a", "b", "c", "d")


@row("a token that is used up, or older than a day")
def test_a_token_lets_one_node_in_and_no_other():
    world = World(1)
    user = world.user()
    answer = change(user, Change.INVITE)
    assert isinstance(answer, Changed)
    assert answer.token
    world.join("b", answer.token)
    world.join("c", answer.token)
    world.run(5.0)
    assert len(world.leader().membership().members) == 2
    assert world.leader().membership().tokens == ()


def test_an_invitation_lapses_after_a_day_of_log_time():
    world = World(1)
    user = world.user()
    answer = change(user, Change.INVITE)
    assert isinstance(answer, Changed)
    world.clock.now_s += 25 * 3600
    user.perform(("add", "x"))
    world.join("b", answer.token)
    world.run(3.0)
    assert len(world.leader().membership().members) == 1


def test_a_token_that_nobody_gave_lets_nobody_in():
    world = World(1)
    world.leader()
    world.join("b", "0" * 32)
    world.run(3.0)
    assert len(world.leader().membership().members) == 1


def test_a_removed_node_is_told_so_and_disturbs_nobody():
    world = World(3)
    user = world.user(world.leader())
    gone = label_of(world.followers()[0])
    assert isinstance(change(user, Change.REMOVE, gone), Changed)
    term = world.leader().replica.raft.term
    world.run(5.0)
    assert "was removed" in (world.nodes[gone].problem() or "")  # G5
    assert world.leader().replica.raft.term == term  # B4


def test_G5_a_removed_node_that_was_away_learns_it_when_it_is_back():
    world = World(3)
    user = world.user()
    gone = label_of(world.followers()[0])
    disk = world.disk(gone)
    world.stop(gone)
    assert isinstance(change(user, Change.REMOVE, gone), Changed)
    world.start(gone, disk.reopened())
    world.run(3.0)
    assert "was removed" in (world.nodes[gone].problem() or "")
    world.restart(gone)
    assert "was removed" in (world.nodes[gone].problem() or "")


def test_G5_a_removed_node_is_told_so_though_a_link_to_it_takes_its_time(monkeypatch):
    since: dict[tuple[str, str], float] = {}
    dial, send, hang_up = Wire.dial, Wire.send, Wire.hang_up

    def dial_slowly(wire: Wire, address: str) -> None:
        since.setdefault((wire.address, address), wire.world.clock.now_s)
        dial(wire, address)

    def send_once_it_is_up(wire: Wire, address: str, frame: bytes) -> bool:
        return wire.world.clock.now_s - since.get((wire.address, address), 1e9) > 0.1 and send(wire, address, frame)

    def hang_up_at_once(wire: Wire, address: str) -> None:
        since.pop((wire.address, address), None)
        hang_up(wire, address)

    monkeypatch.setattr(Wire, "dial", dial_slowly)
    monkeypatch.setattr(Wire, "send", send_once_it_is_up)
    monkeypatch.setattr(Wire, "hang_up", hang_up_at_once)
    world = World(1)
    user = world.user()
    world.join("b")
    world.run(1.0)
    change(user, Change.ADD, "b")
    all_see(world, "a", "b")
    assert isinstance(change(user, Change.REMOVE, "b"), Changed)
    world.run(10.0)
    assert world.nodes["b"].directory.removed


def test_a_node_whose_removal_is_not_committed_is_not_told_that_it_was_removed():
    world = World(3)
    leader = world.leader()
    one, other = (label_of(node) for node in world.followers())
    mine = f"at-{label_of(leader)}"
    world.cut = {(mine, f"at-{one}"), (f"at-{one}", mine)}
    user = world.user(leader)
    user.send(ChangeMembers(user.number(), Change.REMOVE, other))
    world.until(lambda: other not in voters(leader))
    world.run(3.0)
    assert not world.nodes[other].directory.removed
    world.heal()
    user = world.user()
    user.perform(("add", "x"))
    all_see(world, "a", "b", "c")


def test_G7_a_removed_identity_never_returns():
    world = World(3)
    user = world.user()
    gone = label_of(world.followers()[0])
    change(user, Change.REMOVE, gone)
    world.stop(gone)
    world.join(gone)  # the same identity, with an empty disk
    world.run(1.0)
    answer = change(user, Change.ADD, gone)
    assert isinstance(answer, Refused)


def test_G4_a_leader_that_is_removed_hands_over_first():
    world = World(3)
    user = world.user()
    old = label_of(world.leader())
    assert isinstance(change(user, Change.REMOVE, old), Changed)
    assert label_of(world.leader()) != old
    assert old not in voters(world.leader())


def test_a_node_tells_a_client_where_the_voters_are():
    world = World(3)
    follower = world.followers()[0]
    world.run(1.0)
    members = world.user(follower).ask(AskMembers(1), Members)
    assert sorted(members.addresses) == ["at-a", "at-b", "at-c"]


def test_the_last_voter_stays():
    world = World(1)
    answer = change(world.user(), Change.REMOVE, "a")
    assert isinstance(answer, Refused)
    assert "only voter" in answer.message


def test_I6_a_removal_that_leaves_no_healthy_majority_needs_force():
    world = World(3)
    user = world.user()
    away, other = (label_of(node) for node in world.followers())
    world.stop(away)
    world.run(1.0)
    refused = change(user, Change.REMOVE, other)
    assert isinstance(refused, Refused)
    assert "--force" in refused.message


def test_a_lost_node_is_replaced_by_a_new_one_under_its_label():
    world = World(3)
    user = world.user()
    user.perform(("add", "kept"))
    lost = label_of(world.followers()[0])
    world.stop(lost)
    world.run(1.0)
    world.join(lost, identity="f" * 32)
    world.run(1.0)
    assert isinstance(change(user, Change.REPLACE, lost), Changed)
    world.until(lambda: world.leader().membership().replacement is None, 20)
    all_see(world, *sorted(["a", "b", "c"]))
    membership = world.leader().membership()
    assert [each.identity for each in membership.members_by_identity if each.label == lost] == ["f" * 32]


def test_a_replacement_goes_on_under_another_leader():
    world = World(3)
    user = world.user()
    lost = label_of(world.followers()[0])
    old = world.nodes[lost].directory.self.identity
    world.stop(lost)
    world.run(1.0)
    world.join("d")
    world.run(1.0)
    world.cut = {(a, b) for a in world.addresses for b in world.addresses if "at-d" in (a, b)}
    assert isinstance(change(user, Change.REPLACE, lost, "d"), Changed)
    world.leader().hand_over()
    world.run(1.0)
    world.heal()
    world.until(lambda: old in world.leader().membership().removed, 20)
    assert "d" in voters(world.leader())


def test_a_voter_is_not_added_where_the_quorum_would_wait_for_it():
    world = World(3)
    user = world.user()
    world.stop(label_of(world.followers()[0]))
    world.join("d")
    world.run(1.0)
    change(user, Change.ADD, "d")
    world.run(5.0)
    assert "d" not in voters(world.leader())  # 3 of 4 would be needed, and 3 are healthy: none to spare


def test_a_label_that_is_taken_is_refused():
    world = World(3)
    user = world.user()
    label = label_of(world.followers()[0])
    world.stop(label)
    world.join(label, identity="f" * 32)
    world.run(1.0)
    answer = change(user, Change.ADD, label)
    assert isinstance(answer, Refused)
    assert "already" in answer.message


def test_who_is_not_there_can_not_be_added():
    answer = change(World(1).user(), Change.ADD, "nobody")
    assert isinstance(answer, Refused)
    assert "waits to join" in answer.message


def test_a_joined_node_restarts_as_a_member():
    world = World(1)
    user = world.user()
    world.join("b")
    world.run(1.0)
    change(user, Change.ADD, "b")
    all_see(world, "a", "b")
    world.restart("b")
    world.run(2.0)
    assert world.nodes["b"].problem() is None
    user.node = world.leader()
    user.perform(("add", "x"))
    all_see(world, "a", "b")


def test_growing_and_shrinking_keeps_the_cluster_serving():
    world = World(1)
    user = world.user()
    for label in "bcde":
        world.join(label)
        world.run(1.0)
        assert isinstance(change(user, Change.ADD, label), Changed)
        all_see(world, *sorted({*voters(world.leader()), label}))
        user.node = world.leader()
        user.perform(("add", label))
    for label in "edcb":
        assert isinstance(change(user, Change.REMOVE, label), Changed)
        world.run(1.0)
        user.node = world.leader()
        user.perform(("add", f"without {label}"))
    assert voters(world.leader()) == ["a"]
    assert list(world.leader().machine.state) == [*"bcde", *(f"without {label}" for label in "edcb")]


def test_a_forming_cluster_takes_no_notice_of_who_wants_to_join():
    world = World(3)
    world.join("d")
    with pytest.raises(NotSo):
        world.until(lambda: "d" in voters(world.leader()), 2.0)
    assert voters(world.leader()) == ["a", "b", "c"]


def test_a_removed_node_serves_nobody_and_names_others():
    world = World(3)
    user = world.user()
    gone = label_of(world.followers()[0])
    change(user, Change.REMOVE, gone)
    world.until(lambda: world.nodes[gone].directory.removed, 5)
    asker = world.user(world.nodes[gone])
    refused = asker.ask(Read(1, Consistency.LINEARIZABLE), Refused)
    assert refused.code is Code.NOT_READY
    (hint,) = asker.got(Members)
    assert set(hint.addresses) <= {f"at-{label}" for label in "abc"} - {f"at-{gone}"} and hint.addresses


def test_a_removal_that_is_not_committed_keeps_nobody_from_being_heard():
    """The leader that wrote it is deposed by the very node that it would remove, and must follow that one."""
    world = World(3)
    user = world.user()
    old = label_of(world.leader())
    first, second = (label_of(node) for node in world.followers())
    for label in (first, second):
        world.cut |= {(f"at-{old}", f"at-{label}"), (f"at-{label}", f"at-{old}")}
    user.send(ChangeMembers(user.number(), Change.REMOVE, first))
    world.run(0.05)
    assert first not in voters(world.nodes[old])
    world.until(lambda: any(world.nodes[label].is_leading for label in (first, second)), 5)
    if not world.nodes[first].is_leading:
        world.nodes[second].hand_over()
        world.until(lambda: world.nodes[first].is_leading, 5)
    world.heal()
    all_see(world, "a", "b", "c")


def test_a_leader_that_a_lagging_node_does_not_know_is_answered():
    world = World(3)
    user = world.user()
    away = label_of(world.followers()[0])
    world.isolate(away)
    world.join("d")
    world.cut |= {("at-d", f"at-{away}"), (f"at-{away}", "at-d")}
    world.run(1.0)
    change(user, Change.LEARN, "d")
    assert "d" not in [each.label for each in world.nodes[away].membership().members_by_identity]
    world.run(3.0)
    change(user, Change.PROMOTE, "d")
    world.run(3.0)
    world.heal()
    all_see(world, "a", "b", "c", "d")


def test_changes_that_wait_behind_the_removal_of_the_leader_wait_for_the_next_one():
    world = World(3)
    user = world.user()
    old = label_of(world.leader())
    user.send(ChangeMembers(1, Change.REMOVE, old))
    user.send(ChangeMembers(2, Change.INVITE))
    world.until(lambda: len(user.got((Refused, Changed))) == 2, 5)
    assert [answer.code for answer in user.got(Refused)] == [Code.NO_LEADER] * 2


@pytest.mark.parametrize("has_the_entry", [False, True])
def test_a_node_whose_admission_was_lost_says_so_serves_nobody_and_is_let_in_after_all(has_the_entry):
    """Found by `conflux simulate`: it took itself for a member, and nobody else did, for ever."""
    world = World(3)
    user = world.user()
    user.perform(("add", "x"))
    world.join("d")
    world.run(1.0)
    old = world.leader()
    label = label_of(old)
    world.cut |= {(f"at-{label}", f"at-{other}") for other in "abc"}
    if not has_the_entry:
        world.cut.add(("at-d", f"at-{label}"))
    user.send(ChangeMembers(user.number(), Change.ADD, "d"))
    joiner = world.nodes["d"]
    world.until(lambda: joiner.directory.formed)
    world.until(lambda: not has_the_entry or joiner.membership().find("d"))
    world.isolate(label)
    world.until(lambda: any(node.is_leading for node in world.nodes.values() if node is not old))
    world.heal()
    world.run(3.0)
    user = world.user()
    assert "conflux members add d" in (joiner.problem() or "")
    for question in (Read(1, Consistency.LOCAL), Watch(2, 1)):
        assert User(world, joiner).ask(question, Refused).code is Code.NOT_READY
    assert isinstance(change(user, Change.ADD, "d"), Changed)
    all_see(world, "a", "b", "c", "d")
    assert joiner.machine.state == world.leader().machine.state and joiner.problem() is None
