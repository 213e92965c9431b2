"""One node, alone in its cluster: the loop, its leadership, its readers and watchers, and its disk."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from pyrsistent import pvector

from conflux import limits
from conflux.app import App
from conflux.errors import Diverged, StorageFailed
from conflux.node import leadership as leaderships
from conflux.node import readers as reading
from conflux.node.directory import cluster_id
from conflux.node.loop import Loop
from conflux.node.member_work import IDLE_HASH_SECONDS
from conflux.raft.effects import RoleName
from conflux.raft.entry import Entry
from conflux.store.machine import Machine
from conflux.wire import values
from conflux.wire.clients import (
    Answers,
    Appended,
    AskStatus,
    CloseSession,
    Code,
    Consistency,
    Done,
    Events,
    LeaderIs,
    OpenSession,
    Perform,
    Read,
    ReadMore,
    Refused,
    Rejection,
    SessionOpened,
    StatePart,
    Status,
    TransferLeadership,
    Unwatch,
    Watch,
    Working,
)
from conflux.wire.state_decoder import decode_state
from tests.node.harness import World


@pytest.fixture
def world() -> World:
    return World(1)


def added(thing: Any) -> bytes:
    return values.encode({"type": "add", "thing": thing})


# ---- It begins ----


def test_a_node_alone_forms_its_cluster_and_leads_it(world):
    node = world.leader()
    assert node.directory.formed and node.directory.cluster_id == cluster_id(node.directory.accepted)
    assert (node.problem(), node.waiting_for()) == (None, None)


def test_a_node_alone_leads_again_as_soon_as_it_starts(world):
    world.leader()
    node = world.restart("a")
    for _ in range(3):
        node.turn()
    assert node.is_leading


def test_before_its_first_turn_a_node_serves_nobody_and_says_what_it_waits_for():
    world = World(3)
    world.stop("b"), world.stop("c")
    user = world.user(world.nodes["a"])
    for message in (OpenSession(1), Read(2, Consistency.LOCAL), TransferLeadership(3, "")):
        assert user.ask(message, Refused).code in (Code.NOT_READY, Code.NO_LEADER)
    user.send(Watch(4, 1))
    user.send(Unwatch(4))
    world.run(0.1)
    assert world.nodes["a"].problem() == "waiting for 2 of 3 nodes; here are a"
    assert user.got(Events) == []


def test_the_state_is_there_before_the_cluster_is():
    world = World(3)
    assert world.nodes["a"].machine.state == world.nodes["a"].provisional_state() == pvector()


# ---- Performing ----


def test_a_session_is_opened_and_a_call_is_answered_with_its_revision(world):
    answers = world.user().perform(("add", "x"))
    assert (answers.outcomes, answers.first_revision, answers.first_sequence) == ([added("x")], 1, 0)
    assert answers.term == 1 and answers.time_us > 1_700_000_000_000_000


def test_a_repeat_is_answered_alike_though_it_is_committed_long_ago(world):
    user = world.user()
    first = user.perform(("add", "x"))
    world.run(1.0)
    assert user.perform(("add", "x"), first=0) == first
    assert list(world.leader().machine.state) == ["x"]


def test_a_repeat_of_a_call_that_is_not_committed_joins_its_waiter(world):
    user = world.user()
    user.open()
    request = user.request(("add", "x"))
    user.send(request)
    user.send(request)
    world.run(0.1)
    first, second = user.got(Answers)
    assert first == second and list(world.leader().machine.state) == ["x"]


def test_all_requests_of_a_turn_become_one_entry(world):
    users = [world.user() for _ in range(3)]
    for user in users:
        user.open()
    before = world.leader().replica.raft.log.last_index
    for user in users:
        user.send(user.request(("add", 1), ("add", 2)))
    world.run(0.1)
    assert {user.got(Answers)[0].index for user in users} == {before + 1}


def test_a_turn_that_is_full_leaves_the_rest_for_the_next_entry(world, monkeypatch):
    user = world.user()
    user.open()
    monkeypatch.setattr(limits, "TURN_RECORDS_MAX", 3)
    user.send(user.request(*[("add", n) for n in range(8)]))
    world.until(lambda: sum(len(answers.outcomes) for answers in user.got(Answers)) == 8)
    assert [(answers.first_sequence, len(answers.outcomes)) for answers in user.got(Answers)] == [
        (0, 3),
        (3, 3),
        (6, 2),
    ]
    assert list(world.leader().machine.state) == list(range(8))


def test_a_rejection_is_answered_once_it_is_committed(world):
    assert world.user().perform(("fail", "no")).outcomes == [Rejection("ValueError", "no")]


def test_a_closed_session_is_gone_and_nothing_answers(world):
    user = world.user()
    user.perform(("add", "x"))
    del user.inbox[:]
    user.send(CloseSession(user.session))
    world.run(0.1)
    assert user.inbox == [] and not world.leader().machine.sessions
    assert user.ask(user.request(("add", "y")), Refused).code is Code.SESSION_EXPIRED


def test_who_asked_to_know_is_told_when_the_entry_is_on_the_leaders_disk(world):
    user = world.user()
    user.open()
    user.send(user.request(("add", "x"), appended=True))
    world.run(0.1)
    assert [type(message) for message in user.inbox[-2:]] == [Appended, Answers]
    assert user.got(Appended)[0].outcomes == [added("x")]


def test_who_asked_to_know_is_told_of_the_rest_too(world, monkeypatch):
    user = world.user()
    user.open()
    monkeypatch.setattr(limits, "TURN_RECORDS_MAX", 1)
    user.send(user.request(("add", "x"), ("add", "y"), appended=True))
    world.run(0.2)
    assert [told.first_sequence for told in user.got(Appended)] == [0, 1]


def test_too_many_waiting_calls_are_refused_as_busy(world, monkeypatch):
    user = world.user()
    user.open()
    monkeypatch.setattr(limits, "WAITING_REQUESTS_MAX", 3)
    user.send(user.request(("add", 1), ("add", 2), ("add", 3), ("add", 4)))
    user.send(CloseSession(5))
    assert user.wait_for(Refused).code is Code.BUSY
    user.next_sequence = 0
    assert len(user.perform(("add", 1), ("add", 2), ("add", 3)).outcomes) == 3


def test_an_idle_leader_lets_a_session_expire_with_an_entry_of_its_own(world, monkeypatch):
    monkeypatch.setattr(limits, "SESSION_SECONDS", 1)
    monkeypatch.setattr(leaderships.Turn.open_session, "__defaults__", (1,))
    user = world.user()
    user.open()
    before = world.leader().replica.raft.log.last_index
    world.until(lambda: not world.leader().machine.sessions)
    assert world.leader().replica.raft.log.last_index == before + 1


@pytest.mark.parametrize("frame", [b"", b"\x01", b"\x01\x02", b"\x09\x01\x91\x01", b"\x01\xff\x90", b"garbage" * 9])
def test_a_frame_that_is_none_is_counted_and_nothing_else_happens(world, frame):
    user, node = world.user(), world.leader()
    user.send_frame(frame)
    node.channel.from_peers.append(frame)
    world.run(0.05)
    assert node.counts["malformed"] == 2 and user.inbox == []


def test_an_answer_that_a_client_sends_is_counted_and_dropped(world):
    user = world.user()
    user.send(Done(1))
    user.send(LeaderIs("at-z"))
    world.run(0.05)
    assert world.leader().counts["unexpected"] == 2 and user.inbox == []


def test_k7_a_frame_whose_arguments_are_no_list_does_not_end_the_loop(world):
    user = world.user()
    user.open()
    refused = user.ask(Perform(9, user.session, 0, 0, [("add", values.encode({}))]), Refused)
    assert refused.code is Code.BAD_ARGUMENTS


def test_leadership_can_not_be_handed_to_nobody(world):
    assert world.user().ask(TransferLeadership(5, ""), Refused).code is Code.NO_LEADER


# ---- Reading ----


@pytest.mark.parametrize("consistency", list(Consistency))
def test_a_read_gives_the_state_and_its_revision(world, consistency):
    user = world.user()
    user.perform(("add", "x"))
    part = user.ask(Read(5, consistency), StatePart)
    assert (part.request, part.revision, part.offset, decode_state(part.part)) == (5, 1, 0, pvector(["x"]))
    assert part.bytes_total == len(part.part)


def test_a_state_larger_than_a_frame_is_read_in_parts(world):
    user = world.user()
    large = "x" * (limits.ACTION_BYTES_MAX - 100)
    for _ in range(5):
        user.perform(("add", large))
    part = user.ask(Read(5, Consistency.LOCAL), StatePart)
    held = part.part
    user.perform(("add", "later"))  # the parts go on with the revision that they began with
    while len(held) < part.bytes_total:
        more = user.ask(ReadMore(5, part.revision, len(held)), StatePart)
        assert (more.offset, more.revision) == (len(held), part.revision)
        held += more.part
    assert decode_state(held) == pvector([large] * 5)


@pytest.mark.parametrize(("revision", "offset"), [(77, 0), (0, 10**9)])
def test_a_part_that_is_not_held_is_gone(world, revision, offset):
    user = world.user()
    user.ask(Read(5, Consistency.LOCAL), StatePart)
    assert user.ask(ReadMore(5, revision, offset), Refused).code is Code.GONE


def test_an_encoding_that_nobody_asks_for_is_let_go(world):
    user = world.user()
    user.ask(Read(5, Consistency.LOCAL), StatePart)
    world.run(reading.KEPT_SECONDS + 1)
    assert user.ask(ReadMore(5, 0, 0), Refused).code is Code.GONE


def test_only_a_few_encodings_are_kept(world):
    user = world.user()
    for number in range(reading.KEPT_ENCODINGS + 3):
        user.perform(("add", number))
        user.ask(Read(5, Consistency.LOCAL), StatePart)
    world.run(0.1)
    assert user.ask(ReadMore(5, 1, 0), Refused).code is Code.GONE
    assert user.ask(ReadMore(5, reading.KEPT_ENCODINGS + 3, 0), StatePart).revision == reading.KEPT_ENCODINGS + 3


def test_too_many_waiting_reads_are_refused_as_busy(world, monkeypatch):
    monkeypatch.setattr(limits, "WAITING_REQUESTS_MAX", 0)
    assert world.user().ask(Read(5, Consistency.LINEARIZABLE), Refused).code is Code.BUSY


def test_a_read_of_a_state_that_has_no_encoding_is_refused_and_the_node_goes_on():
    app: App[Any, Any] = App({"act": lambda state: "x"}, lambda state, action: 0 if action is None else (1,))
    world = World(1, app)
    user = world.user()
    user.perform(("act",))
    assert "can't hold a tuple" in user.ask(Read(5, Consistency.LOCAL), Refused).message
    user.perform(("act",))


# ---- Watching ----


def events(user: Any) -> list[Any]:
    return [event for told in user.got(Events) for event in told.events]


def test_a_watch_from_1_gives_all_of_the_past_and_then_what_happens(world):
    user = world.user()
    for thing in "abc":
        user.perform(("add", thing))
    user.perform(("fail", "no"))
    watcher = world.user()
    watcher.send(Watch(1, 1))
    world.run(0.1)
    user.perform(("add", "d"))
    world.run(0.1)
    assert [(event.revision, event.action) for event in events(watcher)] == [
        (number, added(thing)) for number, thing in enumerate("abcd", 1)
    ]
    assert {told.node for told in watcher.got(Events)} == {"a"}


def test_a_watch_from_0_begins_now(world):
    user, watcher = world.user(), world.user()
    user.perform(("add", "old"))
    watcher.send(Watch(1, 0))
    world.run(0.05)
    user.perform(("add", "new"))
    world.run(0.05)
    assert [event.action for event in events(watcher)] == [added("new")]


def test_a_watch_of_the_future_waits_for_it(world):
    user, watcher = world.user(), world.user()
    watcher.send(Watch(1, 3))
    for number in range(1, 5):
        user.perform(("add", number))
    world.run(0.05)
    assert [event.revision for event in events(watcher)] == [3, 4]


def test_a_watch_that_is_not_renewed_lapses(world):
    watcher = world.user()
    watcher.send(Watch(1, 1))
    world.run(limits.WATCH_LEASE_SECONDS + 1)
    del watcher.inbox[:]
    world.user().perform(("add", "x"))
    world.run(2.0)
    assert watcher.inbox == []


def test_a_renewed_watch_goes_on_and_a_silent_one_is_told_that_it_lives(world):
    watcher = world.user()
    for _ in range(4):
        watcher.send(Watch(1, 1))
        world.run(limits.WATCH_LEASE_SECONDS / 2)
    told = watcher.got(Events)
    assert len(told) > limits.WATCH_LEASE_SECONDS and all(not each.events and each.revision == 0 for each in told)


def test_a_renewal_may_go_back_to_what_the_watcher_has_missed(world):
    user, watcher = world.user(), world.user()
    watcher.send(Watch(1, 1))
    for number in range(3):
        user.perform(("add", number))
    world.run(0.05)
    del watcher.inbox[:]
    watcher.send(Watch(1, 2))
    world.run(0.05)
    assert [event.revision for event in events(watcher)] == [2, 3]


def test_who_ends_a_watch_is_told_nothing_more(world):
    watcher = world.user()
    watcher.send(Watch(1, 1))
    world.run(0.05)
    watcher.send(Unwatch(1))
    watcher.send(Unwatch(99))
    world.run(0.05)
    del watcher.inbox[:]
    world.user().perform(("add", "x"))
    world.run(2.0)
    assert watcher.inbox == []


def test_a_watcher_that_can_take_no_more_misses_nothing(world):
    user, watcher = world.user(), world.user()
    watcher.send(Watch(1, 1))
    world.run(0.05)
    watcher.is_gone = True
    for number in range(5):
        user.perform(("add", number))
    watcher.is_gone = False
    world.run(0.1)
    assert [event.revision for event in events(watcher)] == [1, 2, 3, 4, 5]


def test_a_long_history_comes_in_frames_that_fit(world):
    user = world.user()
    large = "x" * (limits.ACTION_BYTES_MAX - 100)
    for _ in range(6):
        user.perform(*[("add", large)] * 2)
    for _ in range(3):
        user.perform(*[("add", number) for number in range(900)])
    watcher = world.user()
    watcher.send(Watch(1, 1))
    world.until(lambda: len(events(watcher)) == 2712)
    assert [event.revision for event in events(watcher)] == list(range(1, 2713))


def test_f9_watchers_that_come_and_go_see_no_gap(world):
    user, first, second = world.user(), world.user(), world.user()
    first.send(Watch(1, 1))
    user.perform(("add", 1))
    first.send(Unwatch(1))
    for number in range(2, 5):
        user.perform(("add", number))
    second.send(Watch(2, 2))
    user.perform(("add", 5))
    world.run(0.05)
    assert [event.revision for event in events(second)] == [2, 3, 4, 5]


def test_no_more_watchers_are_taken_than_the_limit(world, monkeypatch):
    monkeypatch.setattr(limits, "WATCHERS_MAX", 1)
    first, second = world.user(), world.user()
    first.send(Watch(1, 1))
    second.send(Watch(1, 1))
    world.user().perform(("add", 1))
    world.run(0.05)
    assert len(events(first)) == 1 and events(second) == []


# ---- Restart ----


def test_a_restart_keeps_state_sessions_and_answers(world):
    user = world.user()
    first = user.perform(("add", "x"), ("fail", "no"))
    world.restart("a")
    user.node = world.leader()
    assert list(user.node.machine.state) == ["x"]
    again = user.perform(("add", "x"), ("fail", "no"), first=0)
    assert again.outcomes == first.outcomes and again.index == first.index


def test_log_time_goes_on_over_a_restart_and_stands_still_meanwhile(world):
    user = world.user()
    user.perform(("add_time",))
    world.clock.now_s += 10_000.0
    world.restart("a")
    user.node = world.leader()
    user.perform(("add_time",))
    first, second = user.node.machine.state
    assert 0 <= first <= second < first + 10


def test_an_idle_node_writes_down_how_far_it_has_committed(world):
    world.user().perform(("add", "x"))
    node = world.leader()
    world.run(0.2)
    assert node.replica.commit_on_disk == node.replica.raft.commit_index
    syncs = world.disk("a").syncs
    world.run(1.0)
    assert world.disk("a").syncs == syncs  # and then leaves the disk alone


def test_after_a_restart_a_node_serves_local_reads_of_what_it_knows_to_be_committed(world):
    world.user().perform(("add", "x"))
    world.run(0.2)
    node = world.restart("a")
    world.step()
    assert list(node.machine.state) == ["x"] and not node.is_leading


# ---- The disk ----


def test_a11_nothing_is_answered_before_it_is_on_the_nodes_own_disk(world):
    user = world.user()
    user.open()
    world.disk("a").is_full = True
    user.send(user.request(("add", "x")))
    world.run(1.0)
    assert user.got(Answers) == [] and world.leader().machine.revision == 0


def test_a_full_disk_is_tried_again_and_the_node_goes_on_alone(world):
    user, node = world.user(), world.leader()
    user.open()
    world.disk("a").is_full = True
    user.send(user.request(("add", "x")))
    world.run(2.0)
    assert node.problem() == "disk full: no space left on device"
    world.disk("a").is_full = False
    world.until(lambda: node.problem() is None and node.is_leading)
    assert list(node.machine.state) == ["x"]  # the same bytes went down
    assert user.perform(("add", "x"), first=0).outcomes == [added("x")]


def test_a_node_with_a_full_disk_still_answers_local_reads_and_status(world):
    user = world.user()
    user.perform(("add", "x"))
    world.disk("a").is_full = True
    user.send(user.request(("add", "y")))
    world.run(0.2)
    part = user.ask(Read(5, Consistency.LOCAL), StatePart)
    assert list(decode_state(part.part)) == ["x"]
    report = msgspec.json.decode(user.ask(AskStatus(6), Status).report)
    assert report["node"]["healthy"] is False and "disk full" in report["node"]["problem"]
    assert user.ask(TransferLeadership(7, ""), Refused).code is Code.NO_LEADER


def test_b7_a_leader_whose_disk_is_slow_leads_no_more(world):
    user, node = world.user(), world.leader()
    user.open()
    roles: list[Any] = []
    node.on_role_changed = roles.append
    world.disk("a").slow_s = 0.6
    user.send(user.request(("add", "x")))
    world.step()
    assert [change.role for change in roles] == [RoleName.FOLLOWER]
    world.disk("a").slow_s = 0.0
    world.leader()
    assert user.perform(("add", "x"), first=0).outcomes == [added("x")]


def test_a_disk_that_fails_ends_the_loop_and_nothing_is_tried_again(world):
    user, node = world.user(), world.leader()
    user.open()
    loop = Loop(node)
    world.disk("a").is_broken = True
    user.send(user.request(("add", "x")))
    loop.run()
    assert isinstance(loop.error, StorageFailed) and loop.ended.is_set()
    assert node.channel.closed and user.got(Answers) == []


def test_a_loop_that_is_told_to_stop_gives_everything_back(world):
    node = world.leader()
    loop = Loop(node)
    node.channel.on_poll = loop.stop
    loop.run()
    assert loop.error is None and node.channel.closed and node.channel.woken


# ---- Divergence ----


def test_a14_a_reducer_that_raises_at_a_committed_action_stops_the_node_and_names_the_revision(world):
    world.user().perform(("add", "x"))
    world.user().perform(("add", "y"))

    def picky(state: Any, action: Any) -> Any:
        if action and action["thing"] == "y":
            raise OSError("not here")
        return world.app.reduce(state, action)

    world.run(0.2)
    node = world.restart("a", App(world.app.methods, picky, name="things"))
    world.run(1.0)
    assert isinstance(node.replica.failure, Diverged) and "revision 2" in node.problem()
    assert list(node.machine.state) == ["x"] and not node.is_leading


def diverged(world: World) -> Any:
    """The node, started anew with a reducer that can't fold its log."""
    world.user().perform(("add", "x"))
    world.run(0.2)

    def broken(state: Any, action: Any) -> Any:
        if action:
            raise OSError("not here")
        return pvector()

    node = world.restart("a", App(world.app.methods, broken, name="things"))
    world.run(1.0)
    return node


@pytest.mark.parametrize("consistency", list(Consistency))
def test_a_node_that_diverged_refuses_reads(world, consistency):
    refused = world.user(diverged(world)).ask(Read(5, consistency), Refused)
    assert refused.code in (Code.NOT_READY, Code.NO_LEADER)


def test_d12_a_node_that_diverged_does_not_lead_and_keeps_nobody_waiting(world):
    node = diverged(world)
    assert node.replica.raft.leader is None
    assert world.user(node).ask(OpenSession(1), Refused).code is Code.NO_LEADER


# ---- Status ----


def test_status_tells_of_node_and_cluster(world):
    user = world.user()
    user.perform(("add", "x"))
    world.run(0.2)
    report = msgspec.json.decode(user.ask(AskStatus(5), Status).report)
    node, row = world.leader(), report["node"]
    assert (report["cluster"], report["size"], report["leader"]) == ("test", 1, node.directory.self.identity)
    assert report["members"] == [
        {"id": report["leader"], "label": "a", "endpoint": "at-a", "standing": "voter", "match_index": 3}
    ]
    assert (row["role"], row["applied_revision"], row["healthy"], row["sessions"]) == ("leader", 1, True, 1)
    assert row["state_hash_revision"] == 1 and len(row["state_hash"]) == 32 == len(row["log_hash"])


def test_status_of_a_node_that_forms_says_what_it_waits_for():
    world = World(2)
    world.stop("b")
    report = msgspec.json.decode(world.user(world.nodes["a"]).ask(AskStatus(5), Status).report)
    assert (report["node"]["role"], report["leader"], report["cluster_id"]) == ("forming", None, None)
    assert report["waiting_for"] == "waiting for 1 of 2 nodes; here are a"


def test_a_large_state_is_hashed_between_turns(world):
    user = world.user()
    large = "x" * (limits.ACTION_BYTES_MAX - 100)
    for _ in range(3):
        user.perform(("add", large))
    world.until(lambda: world.leader().wait_s() != 0.0)
    user.ask(AskStatus(5), Status)
    world.run(IDLE_HASH_SECONDS + 0.1)
    row = msgspec.json.decode(user.ask(AskStatus(6), Status).report)["node"]
    assert row["state_hash_revision"] == row["applied_revision"] == 3 and row["state_hash"]


# ---- Who listens ----


def test_applied_entries_are_told_once_each_in_order(world):
    told: list[tuple[int, int]] = []

    def applied(entry: Entry, machine: Machine) -> None:
        assert entry.index == machine.index
        told.append((entry.index, machine.revision))

    world.leader().on_applied = applied
    world.user().perform(("add", 1), ("add", 2))
    world.user().perform(("add", 3))
    assert [index for index, _ in told] == list(range(told[0][0], told[0][0] + len(told)))
    assert told[-1][1] == 3


def test_sessions_of_many_clients_are_apart(world):
    users = [world.user() for _ in range(20)]
    sessions = {user.open() for user in users}
    assert len(sessions) == 20
    assert all(user.perform(("add", number)).first_sequence == 0 for number, user in enumerate(users))
    assert users[0].got(SessionOpened) == []


def test_a_revision_is_told_without_its_state(world):
    user = world.user()
    user.perform(("add", "x"))
    for consistency in Consistency:
        part = user.ask(Read(5, consistency, revision_only=True), StatePart)
        assert (part.revision, part.bytes_total, part.part) == (1, 0, b"")


def test_who_waits_for_a_large_state_is_told_that_it_is_being_encoded(world, monkeypatch):
    monkeypatch.setattr(reading, "SLICE_SECONDS", 0.0)
    user = world.user()
    for _ in range(42):
        user.perform(*[("add", str(number) * 100) for number in range(500)])
    user.ask(Read(5, Consistency.LOCAL), Working)
    assert user.wait_for(StatePart).revision == 21_000
