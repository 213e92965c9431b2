"""Three nodes and their links: forwarding, hints, reads through followers, and what a change of leader leaves."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs
from pyrsistent import pvector

from conflux import limits
from conflux.app import App
from conflux.errors import Diverged
from conflux.node import directory as directories
from conflux.node.node import Node
from conflux.node.status import report_of
from conflux.raft.effects import RoleName
from conflux.raft.messages import Append, Envelope, Heartbeat, VoteRequest
from conflux.wire import values
from conflux.wire.clients import (
    CLIENTS,
    Answers,
    Code,
    Consistency,
    Done,
    Events,
    LeaderIs,
    OpenSession,
    Perform,
    Read,
    Refused,
    SessionOpened,
    StatePart,
    TransferLeadership,
    Watch,
)
from conflux.wire.frames import NO_CLUSTER, NOBODY
from conflux.wire.peers import PEERS, AskReadIndex, Forward, Founder, Hello, ReadIndex
from conflux.wire.state_decoder import decode_state
from tests.node.harness import Disk, World, label_of


@pytest.fixture
def world() -> World:
    world = World(3)
    world.leader()
    return world


def added(thing: Any) -> bytes:
    return values.encode({"type": "add", "thing": thing})


def states(world: World) -> list[list[Any]]:
    return [list(node.machine.state) for node in world.nodes.values()]


# ---- Formation and links ----


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 9])
def test_clusters_of_every_size_form_and_serve(size):
    world = World(size)
    world.user().perform(("add", "x"))
    world.until(lambda: states(world) == [["x"]] * size)
    assert len({node.directory.cluster_id for node in world.nodes.values()}) == 1


def test_nodes_that_come_late_are_waited_for():
    world = World(3)
    world.stop("c")
    world.run(2.0)
    assert world.nodes["a"].problem() == "waiting for 1 of 3 nodes; here are a, b"
    world.start("c")
    assert world.leader()


def test_a_cluster_that_starts_again_has_a_leader_before_a_whole_election_time_out_is_over(world):
    world.run(0.2)
    for label in "abc":
        world.restart(label)
    world.until(world.leaders, seconds_max=0.29)  # the default is 0.3 to 0.5


def test_a_node_that_comes_back_disturbs_no_leader_though_it_stands_soon(world):
    leader = world.leader()
    term = leader.replica.raft.term
    for _ in range(5):
        label = label_of(world.followers()[0])
        disk = world.disk(label).reopened()
        world.stop(label)
        world.run(0.2)
        world.start(label, disk)
        world.run(0.6)
    assert world.leaders() == [leader] and {node.replica.raft.term for node in world.nodes.values()} == {term}


def test_a_node_that_comes_back_cut_off_keeps_its_term(world):
    world.run(0.2)
    label = label_of(world.followers()[0])
    world.restart(label)
    world.isolate(label)
    world.run(2.0)
    assert len({node.replica.raft.term for node in world.nodes.values()}) == 1


def test_b14_a_cluster_starts_again_from_its_directories_though_addresses_are_all_it_knows(world):
    world.user().perform(("add", "x"))
    world.run(0.2)
    for label in "abc":
        world.restart(label)
    assert world.leader()
    assert states(world) == [["x"]] * 3


def test_followers_hear_what_is_committed_before_the_next_heartbeat(world):
    world.user().perform(("add", "x"))
    world.run(0.02)
    assert states(world) == [["x"]] * 3


def test_while_entries_follow_each_other_no_commit_is_announced_alone(world, monkeypatch):
    """Each Append carries what the one before it committed: a message beside it wakes a follower for nothing."""
    leader, follower, user = world.leader(), world.followers()[0], world.user()
    user.open()
    world.run(0.2)
    heard = []
    take = follower.gate.take
    monkeypatch.setattr(follower.gate, "take", lambda data, now_s: heard.append(data) or take(data, now_s))
    for number in range(100):
        user.send(user.request(("add", number)))
        world.step(0.001)
    messages = [PEERS.decode_from_peer(frame).message for frame in heard]
    assert sum(isinstance(message, Append) for message in messages) == 99, "the last one is on its way"
    assert sum(isinstance(message, Heartbeat) for message in messages) <= 3, "those of 0.1 s alone"
    assert leader.is_leading


def test_a_leader_whose_disk_has_no_room_for_a_new_term_does_not_spin_over_a_commit_that_it_owes(world):
    """Found by `conflux simulate --weather churn`: it owed its followers a commit, and waited for nothing."""
    leader, other = world.leader(), world.followers()[0]
    user = world.user()
    user.open()
    world.run(0.2)
    user.send(user.request(("add", "x")))
    while leader.replica.raft.commit_owed_from is None:
        world.step(0.0001)
    world.step(0.0001)  # now it knows since when
    world.disk(label_of(leader)).is_full = True
    raft = leader.replica.raft
    request = VoteRequest(pre=False, transfer=True, last_index=raft.log.last_index, last_term=raft.term)
    other.links.send_raft(Envelope(other.directory.self.identity, raft.identity, raft.term + 1, request))
    world.step(0.0001)
    assert leader.replica.is_stuck
    world.run(0.05)
    assert leader.wait_s() > 0


def test_heartbeats_keep_no_follower_from_writing_down_what_is_committed(world):
    world.user().perform(("add", "x"))
    world.run(0.3)
    assert all(node.replica.commit_on_disk == node.replica.raft.commit_index for node in world.nodes.values())


def test_a3_the_term_never_goes_back_over_a_restart_of_all(world):
    before = world.leader().replica.raft.term
    for label in "abc":
        world.restart(label)
    assert world.leader().replica.raft.term > before


def test_a_node_of_another_app_is_a_stranger_and_named():
    world = World(3)
    world.stop("c")
    world.start("c", app=App(world.app.methods, world.app.reduce, name="other"))
    world.run(1.0)
    assert "c at at-c has app other, not things" in str(world.nodes["a"].waiting_for())
    assert not any(node.directory.formed for node in world.nodes.values())


def test_a_directory_that_was_wiped_is_a_stranger_to_its_cluster(world):
    user = world.user()
    victim = label_of(world.followers()[0])
    disk = Disk(world.clock)
    before = world.nodes[victim].directory.self
    world.stop(victim)
    directories.create(disk, world.options(victim), world.app, identity="f" * 32, public_key="p", secret_key="s")
    node = world.start(victim, disk)
    assert before.label == node.directory.self.label
    user.node = world.leader()
    user.perform(("add", "x"))
    world.run(1.0)
    assert node.replica is None and user.node.counts["strangers"] > 0


class Star(World):
    """Each node but the first is named to the first alone, and the first to nobody."""

    def peers_of(self, label: str) -> tuple[str, ...]:
        return () if label == "a" else ("at-a",)


def test_nodes_that_know_one_other_alone_learn_from_it_where_the_rest_are():
    world = Star(5)
    world.until(lambda: all(node.is_leading or node.replica for node in world.nodes.values()))
    world.until(lambda: all(len(node.links.confirmed()) == 4 for node in world.nodes.values()))
    world.stop("a")
    user = world.user()
    user.perform(("add", "without the one that knew all"))
    assert world.leader().machine.state == ["without the one that knew all"]


def test_where_a_node_is_said_to_be_counts_less_than_what_it_says_itself(world):
    node, other = world.nodes["a"], world.nodes["b"]
    third = world.nodes["c"].directory.self.identity
    hello = other.founding._hello(answer_me=False)
    hint = structs.replace(hello, others=((third, "at-nowhere"), ("9" * 32, "at-z")))
    node.channel.from_peers.append(
        PEERS.encode_for_peer(hint, cluster=NO_CLUSTER, sender=hello.founder.identity, receiver=NOBODY)
    )
    node.turn()
    assert node.address_of(third) == "at-c"
    assert not {"at-nowhere", "at-z"} & node.channel.dialled, "nobody dials a stranger because a member names it"


def test_an_address_that_changed_is_learned_and_remembered(world):
    node, other = world.nodes["a"], world.nodes["b"]
    hello = other.founding._hello(answer_me=True)
    moved = Hello(**{name: getattr(hello, name) for name in hello.__struct_fields__} | {"address": "at-new"})
    frame = PEERS.encode_for_peer(moved, cluster=NO_CLUSTER, sender=moved.founder.identity, receiver=NOBODY)
    node.channel.from_peers.append(frame)
    node.turn()
    assert node.address_of(moved.founder.identity) == "at-new"
    assert "at-b" not in node.channel.dialled and "at-new" in node.channel.dialled
    assert world.disk("a").facts()["addresses"].find(b"at-new") > 0


@pytest.mark.parametrize("change", ["cluster", "receiver", "sender"])
def test_d16_a_message_that_is_not_from_a_member_to_this_node_is_counted_and_dropped(world, change):
    node, other = world.nodes["a"], world.nodes["b"]
    header = {
        "cluster": str(node.directory.cluster_id),
        "sender": other.directory.self.identity,
        "receiver": node.directory.self.identity,
    } | {change: "e" * 32}
    node.channel.from_peers.append(PEERS.encode_for_peer(AskReadIndex(1), **header))
    node.turn()
    assert node.counts["strangers"] == 1


def test_a_greeting_in_anothers_name_is_ignored(world):
    node, other = world.nodes["a"], world.nodes["b"]
    hello = Hello(Founder("9" * 32, "z", "k"), "at-z", "test", 3, "things", 1, None, (), False, True)
    frame = PEERS.encode_for_peer(hello, cluster=NO_CLUSTER, sender=other.directory.self.identity, receiver=NOBODY)
    node.channel.from_peers.append(frame)
    node.turn()
    assert "at-z" not in node.channel.dialled and node.counts["strangers"] == 0


def test_a_raft_message_of_a_member_proves_that_the_cluster_is_formed():
    world = World(3)
    world.until(lambda: all(node.directory.accepted for node in world.nodes.values()))
    node = next((node for node in world.nodes.values() if node.replica is None), None)
    if node is None:
        node = world.nodes["a"]
        disk = world.disk("a").reopened()
        disk._facts.pop("formed")
        node = world.start("a", disk)
    assert node.replica is None
    header = {"cluster": world.nodes["b"].directory.cluster_id, "sender": world.nodes["b"].directory.self.identity}
    node.channel.from_peers.append(
        PEERS.encode_for_peer(ReadIndex(1, 1), receiver=node.directory.self.identity, **header)  # type: ignore[arg-type]
    )
    node.turn()
    assert node.replica is not None and node.directory.formed


# ---- Forwarding ----


def test_a_follower_passes_requests_on_and_tells_who_leads(world):
    follower = world.followers()[0]
    user = world.user(follower)
    assert user.perform(("add", "x")).outcomes == [added("x")]
    user.open()
    hints = user.got(LeaderIs)
    assert all(hint.address == world.leader().channel.address for hint in hints)
    world.until(lambda: states(world) == [["x"]] * 3)


def test_a_request_that_was_passed_on_is_not_passed_on_again(world):
    leader, (one, other) = world.leader(), world.followers()
    forwarded = CLIENTS.encode_for_client(OpenSession(5))
    one.links.send(other.directory.self.identity, Forward(b"h", forwarded))
    world.run(0.05)
    assert leader.machine.sessions == one.machine.sessions and not leader.machine.sessions


def test_without_a_leader_requests_are_refused(world):
    world.isolate("a"), world.isolate("b")
    world.until(lambda: not world.leaders())
    world.run(1.0)
    user = world.user(world.nodes["c"])
    assert user.ask(OpenSession(5), Refused).code is Code.NO_LEADER
    assert user.ask(Read(6, Consistency.LINEARIZABLE), Refused).code is Code.NO_LEADER
    assert user.ask(TransferLeadership(7, ""), Refused).code is Code.NO_LEADER
    assert user.ask(Read(8, Consistency.LOCAL), StatePart).revision == 0


def test_a_leader_that_can_not_be_reached_is_told_at_once(world):
    follower, leader = world.followers()[0], world.leader()
    world.cut.add((follower.channel.address, leader.channel.address))
    refused = world.user(follower).ask(OpenSession(5), Refused, seconds_max=0.1)
    assert refused.code is Code.NO_LEADER and "can't be reached" in refused.message


def test_k6_a_clients_frame_of_the_largest_size_does_not_end_a_follower(world):
    user = world.user(world.followers()[0])
    user.open()
    fixed = len(CLIENTS.encode_for_client(Perform(1, user.session, 0, 0, [("add", b"x" * 70_000)]))) - 70_000
    frame = CLIENTS.encode_for_client(
        Perform(1, user.session, 0, 0, [("add", b"x" * (limits.FRAME_BYTES_MAX - fixed - 2))])
    )
    assert len(frame) <= limits.FRAME_BYTES_MAX
    user.send_frame(frame)
    user.wait_for(Refused)


def test_b11_a_follower_that_lacks_many_small_entries_is_fed_in_frames_that_fit(world):
    away = label_of(world.followers()[0])
    world.isolate(away)
    node = world.leader()
    log = node.replica.raft.log
    user = world.user(node)
    session = user.open()
    sequence = size = 0
    while size < limits.APPEND_BYTES_MAX:  # the leader's own turns, without waiting for each
        request = Perform(sequence + 1, session, sequence, sequence, [("add_once", values.encode([0]))])
        node.desk.leadership.take(None, request)  # type: ignore[union-attr, arg-type]
        node.desk.leadership.turn()  # type: ignore[union-attr]
        size += len(log.last_payload() or b"")
        sequence += 1
        if sequence % 100 == 0:
            world.until(lambda: node.replica.raft.commit_index == log.last_index)  # type: ignore[union-attr]
    world.heal()
    world.until(lambda: world.nodes[away].machine.index == log.last_index, 20.0)


# ---- Reads ----


@pytest.mark.parametrize("place", [0, 1])
def test_a_linearizable_read_through_a_follower_sees_what_was_answered_before(world, place):
    world.user().perform(("add", "x"))
    part = world.user(world.followers()[place]).ask(Read(5, Consistency.LINEARIZABLE), StatePart)
    assert list(decode_state(part.part)) == ["x"]


def test_f5_a_read_whose_question_is_lost_asks_again_with_a_fresh_number(world):
    follower, leader = world.followers()[0], world.leader()
    link = (follower.channel.address, leader.channel.address)
    user = world.user(follower)
    user.send(Read(5, Consistency.LINEARIZABLE))
    world.cut.add(link)
    world.run(0.15)
    world.cut.discard(link)
    assert user.wait_for(StatePart).request == 5


def test_a_late_answer_to_a_follower_that_no_longer_waits_is_ignored(world):
    follower = world.followers()[0]
    world.leader().links.send(follower.directory.self.identity, ReadIndex(999, 5))
    world.run(0.05)
    assert follower.problem() is None


def test_a_leader_that_was_cut_off_answers_no_linearizable_read(world):
    old = world.leader()
    world.isolate(label_of(old))
    user = world.user(old)
    user.send(Read(5, Consistency.LINEARIZABLE))
    world.until(lambda: any(node is not old and node.is_leading for node in world.nodes.values()))
    world.run(2.0)
    assert user.got(StatePart) == [] and user.got(Refused)[0].code is Code.NO_LEADER


def test_f4_a_new_leader_that_has_not_committed_its_noop_answers_no_linearizable_read(world):
    old = world.leader()
    world.user(old).perform(("add", "x"))
    world.stop(label_of(old))
    world.until(lambda: any(node.replica.raft.role.name is RoleName.LEADER for node in world.nodes.values()))
    user = world.user(next(n for n in world.nodes.values() if n.replica.raft.role.name is RoleName.LEADER))
    part = user.ask(Read(5, Consistency.LINEARIZABLE), StatePart)
    assert list(decode_state(part.part)) == ["x"] and user.node.replica.raft.serves


# ---- A change of leader ----


def other_leader(world: World, old: Node) -> Node:
    """The node that leads in the place of one that was cut off."""
    world.until(lambda: any(node is not old and node.is_leading for node in world.nodes.values()))
    return next(node for node in world.nodes.values() if node is not old and node.is_leading)


def test_f12_who_waits_for_an_entry_of_a_lost_leader_is_told_to_look_elsewhere(world):
    old = world.leader()
    user = world.user(old)
    user.open()
    world.isolate(label_of(old))
    user.send(user.request(("add", "lost")))
    other_leader(world, old)
    world.until(lambda: not old.is_leading)
    assert user.got(LeaderIs)[-1].address == "" and user.got(Answers) == []


def test_f2_a_call_whose_entry_was_lost_is_applied_once_by_the_next_leader(world):
    old = world.leader()
    user = world.user(old)
    user.open()
    world.isolate(label_of(old))
    user.send(user.request(("add", "x")))
    world.step()
    user.node = other_leader(world, old)
    assert user.perform(("add", "x"), first=0).outcomes == [added("x")]
    world.heal()
    world.until(lambda: states(world) == [["x"]] * 3)


def test_f2_a_call_whose_answer_was_lost_gets_the_same_answer_from_the_next_leader(world):
    old = world.leader()
    user = world.user(old)
    first = user.perform(("add", "x"))
    world.until(lambda: states(world) == [["x"]] * 3)
    world.stop(label_of(old))
    user.node = world.leader()
    again = user.perform(("add", "x"), first=0)
    assert (again.outcomes, again.index, again.first_revision) == (first.outcomes, first.index, first.first_revision)


def test_a_truncated_entry_is_told_and_the_provisional_state_forgets_it(world):
    old, told = world.leader(), []
    old.on_truncated = told.append
    user = world.user(old)
    user.open()
    world.isolate(label_of(old))
    user.send(user.request(("add", "lost")))
    world.step()
    assert list(old.provisional_state()) == ["lost"] and list(old.machine.state) == []
    user.node = other_leader(world, old)
    user.perform(("add", "kept"), first=0)
    world.heal()
    world.until(lambda: states(world) == [["kept"]] * 3)
    assert told and list(old.provisional_state()) == ["kept"]


def test_requests_that_wait_for_a_new_leader_to_be_ready_are_taken_then(world):
    old = world.leader()
    world.stop(label_of(old))
    world.until(lambda: any(node.replica.raft.role.name is RoleName.LEADER for node in world.nodes.values()))
    new = next(node for node in world.nodes.values() if node.replica.raft.role.name is RoleName.LEADER)
    assert not new.is_leading
    assert world.user(new).ask(OpenSession(5), SessionOpened).request == 5


def test_requests_that_wait_for_a_leader_that_never_gets_ready_are_refused(world):
    old = world.leader()
    world.stop(label_of(old))
    world.until(lambda: any(node.replica.raft.role.name is RoleName.LEADER for node in world.nodes.values()))
    new = next(node for node in world.nodes.values() if node.replica.raft.role.name is RoleName.LEADER)
    world.isolate(label_of(new))
    user = world.user(new)
    assert user.ask(OpenSession(5), Refused).code is Code.NO_LEADER


def test_leadership_is_handed_over_when_asked_through_any_node(world):
    old = world.leader()
    user = world.user(world.followers()[0])
    assert user.ask(TransferLeadership(5, ""), Done).request == 5
    assert other_leader(world, old)


def test_watches_go_on_over_a_change_of_leader_without_gap_or_repeat(world):
    follower, old = world.followers()[0], world.leader()
    watcher, user = world.user(follower), world.user(old)
    watcher.send(Watch(1, 1))
    user.perform(("add", 1))
    world.run(0.1)
    world.stop(label_of(old))
    user.node = world.leader()
    user.perform(("add", 2))
    world.run(0.2)
    revisions = [event.revision for told in watcher.got(Events) for event in told.events]
    assert revisions == [1, 2]


# ---- Divergence ----


def test_a14_a_follower_that_diverged_stops_serving_and_the_others_go_on(world):
    victim = label_of(world.followers()[0])

    def picky(state: Any, action: Any) -> Any:
        if action and action["thing"] == "bad":
            raise OSError("not here")
        return world.app.reduce(state, action) if state is not None else pvector()

    world.restart(victim, App(world.app.methods, picky, name="things"))
    user = world.user(world.leader())
    user.perform(("add", "good"), ("add", "bad"), ("add", "more"))
    world.run(0.5)
    node = world.nodes[victim]
    assert isinstance(node.replica.failure, Diverged) and "revision 2" in str(node.problem())
    assert user.perform(("add", "last")).outcomes == [added("last")]
    assert world.user(node).ask(Read(5, Consistency.LOCAL), Refused).code is Code.NOT_READY


def test_a16_hashes_of_equal_logs_and_states_are_equal_on_all_nodes(world):
    user = world.user()
    for number in range(10):
        user.perform(("add", number))
    world.run(0.3)
    rows = [node.replica.machine for node in world.nodes.values()]
    assert len({row.log_hash for row in rows}) == 1 == len({row.revision for row in rows})


# ---- Status ----


def test_how_far_a_member_is_that_is_silent_since_the_election_is_not_known(world):
    away, other = world.followers()
    world.isolate(label_of(away))
    world.user().perform(("add", "x"))
    assert other.replica is not None and world.leader().hand_over()
    world.until(lambda: other.is_leading)
    world.run(0.2)
    known = {member["id"]: member["match_index"] for member in report_of(other)["members"]}
    last_index = other.replica.raft.log.last_index
    assert sorted(known.values(), key=str) == [last_index, last_index, None]
    assert known[away.directory.self.identity] is None
