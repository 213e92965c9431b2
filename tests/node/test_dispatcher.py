"""User callbacks: one thread, in order, each on its own, and a bounded queue."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from conflux import limits
from conflux.client.committed import Committed
from conflux.node.dispatcher import Dispatcher
from conflux.raft.entry import Entry, Kind
from conflux.store.records import Calls, Header, encode_payload
from conflux.wire import values

SECONDS_MAX = 10.0


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    made = Dispatcher()
    yield made
    made.close()
    if made._thread is not None:
        made._thread.join(SECONDS_MAX)
        assert not made._thread.is_alive()


class Listener:
    """Takes what it is told; `wait` waits until there is so much of it."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.more = threading.Condition()

    def __call__(self, value: Any) -> None:
        with self.more:
            self.told.append(value)
            self.more.notify_all()

    def wait(self, count: int) -> list[Any]:
        with self.more:
            assert self.more.wait_for(lambda: len(self.told) >= count, SECONDS_MAX)
            return list(self.told)


class Gate:
    """A callback that holds the callbacks' thread until it is opened."""

    def __init__(self) -> None:
        self.reached, self.open = threading.Event(), threading.Event()

    def __call__(self, value: Any) -> None:
        self.reached.set()
        assert self.open.wait(SECONDS_MAX)


def entry(first_revision: int, actions: int = 1) -> Entry:
    header = Header(app_version=1, actions=actions, first_revision=first_revision, log_time_us=0, wall_time_us=0)
    outcomes = [values.encode(first_revision + number) for number in range(actions)]
    return Entry(first_revision, 1, Kind.RECORDS, encode_payload(header, [Calls(1, 0, 0, ["add"], list(outcomes))]))


def test_callbacks_are_told_in_order_on_a_thread_of_their_own(dispatcher):
    listener, threads = Listener(), set()
    dispatcher.on("committed", lambda value: threads.add(threading.current_thread()))
    dispatcher.on("committed", listener)
    for revision in range(1, 10, 3):
        dispatcher.committed(entry(revision, 3), revision + 2, "state")
    assert [committed.revision for committed in listener.wait(9)] == list(range(1, 10))
    assert len(threads) == 1 and threading.current_thread() not in threads


def test_a_callback_that_raises_does_not_keep_the_others_from_theirs(dispatcher, caplog):
    def bad(value: Any) -> None:
        raise KeyError("mine")

    listener = Listener()
    dispatcher.on("e", bad)
    dispatcher.on("e", listener)
    dispatcher.tell("e", 1)
    dispatcher.tell("e", 2)
    assert listener.wait(2) == [1, 2]
    assert "a callback for 'e' raised" in caplog.text


def test_events_have_callbacks_of_their_own(dispatcher):
    one, other = Listener(), Listener()
    dispatcher.on("one", one)
    dispatcher.on("other", other)
    dispatcher.tell("nobody", 0)
    dispatcher.tell("one", 1)
    dispatcher.tell("other", 2)
    assert (one.wait(1), other.wait(1)) == ([1], [2])


class Equal(Listener):
    """Listeners that all say that they are equal, and don't like to be called without a reason."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__


def test_d1_unsubscribing_goes_by_identity_and_calls_nobody(dispatcher):
    first, second = Equal(), Equal()
    off = dispatcher.on("e", first)
    dispatcher.on("e", second)
    off()
    off()
    dispatcher.tell("e", 1)
    assert second.wait(1) == [1] and first.told == []


def test_d1_the_same_callback_may_be_subscribed_twice_and_each_subscription_ends_alone(dispatcher):
    listener, last = Listener(), Listener()
    off = dispatcher.on("e", listener)
    dispatcher.on("e", listener)
    dispatcher.on("e", last)
    off()
    dispatcher.tell("e", 1)
    last.wait(1)
    assert listener.told == [1]


def test_a_callback_that_was_ended_is_not_called_for_what_still_waits(dispatcher):
    gate, listener, last = Gate(), Listener(), Listener()
    dispatcher.on("e", gate)
    off = dispatcher.on("f", listener)
    dispatcher.on("f", last)
    dispatcher.tell("e", 1)
    dispatcher.tell("f", 2)
    assert gate.reached.wait(SECONDS_MAX)
    off()
    gate.open.set()
    assert last.wait(1) == [2] and listener.told == []


def test_a_callback_may_end_its_own_subscription(dispatcher):
    listener, told = Listener(), []

    def once(value: Any) -> None:
        told.append(value)
        off()

    off = dispatcher.on("e", once)
    dispatcher.on("e", listener)
    dispatcher.tell("e", 1)
    dispatcher.tell("e", 2)
    listener.wait(2)
    assert told == [1]


@pytest.fixture
def small_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DISPATCH_QUEUE_EVENTS_MAX", 4)


@pytest.mark.usefixtures("small_queue")
def test_a_subscriber_that_is_too_slow_is_told_of_the_gap_and_then_goes_on():
    dispatcher, gate, listener = Dispatcher(), Gate(), Listener()
    dispatcher.on("committed", gate)
    dispatcher.on("committed", listener)
    for revision in range(1, 11):  # one is with the gate, four wait, the others are missed
        dispatcher.committed(entry(revision), revision, f"at {revision}")
        assert gate.reached.wait(SECONDS_MAX)
    gate.open.set()
    listener.wait(6)  # nothing else has to happen for the gap to be told
    for revision in range(11, 14):
        dispatcher.committed(entry(revision), revision, f"at {revision}")
        listener.wait(revision - 4)
    told = [(committed.revision, committed.gap) for committed in listener.told]
    assert told == [*((each, False) for each in range(1, 6)), (10, True), (11, False), (12, False), (13, False)]
    assert listener.told[5].state == "at 10"
    dispatcher.close()


def test_what_a_snapshot_stands_for_is_told_as_a_gap(dispatcher):
    listener = Listener()
    dispatcher.on("committed", listener)
    dispatcher.committed(entry(1), 1, "at 1")
    dispatcher.missed(7, "at 7")
    listener.wait(2)
    dispatcher.committed(entry(8), 8, "at 8")
    told = [(committed.revision, committed.gap, committed.state) for committed in listener.wait(3)]
    assert told == [(1, False, None), (7, True, "at 7"), (8, False, None)]


@pytest.mark.usefixtures("small_queue")
def test_other_events_are_dropped_where_callbacks_are_far_behind():
    dispatcher, gate, listener = Dispatcher(), Gate(), Listener()
    dispatcher.on("e", gate)
    dispatcher.on("e", listener)
    dispatcher.tell("e", 0)
    assert gate.reached.wait(SECONDS_MAX)
    for number in range(1, 10):
        dispatcher.tell("e", number)
    gate.open.set()
    assert listener.wait(5) == [0, 1, 2, 3, 4]
    dispatcher.close()


@pytest.mark.usefixtures("small_queue")
def test_closing_does_not_wait_for_a_full_queue():
    dispatcher, gate = Dispatcher(), Gate()
    dispatcher.on("e", gate)
    for number in range(10):
        dispatcher.tell("e", number)
    assert gate.reached.wait(SECONDS_MAX)
    dispatcher.close()
    gate.open.set()
    assert dispatcher._thread is not None
    dispatcher._thread.join(SECONDS_MAX)
    assert not dispatcher._thread.is_alive()


def test_nobody_is_told_of_what_was_committed_before_anyone_asked(dispatcher):
    dispatcher.committed(entry(1), 1, "state")
    listener = Listener()
    dispatcher.on("committed", listener)
    dispatcher.committed(entry(2), 2, "state")
    assert [(each.revision, each.action) for each in listener.wait(1)] == [(2, 2)]
    assert isinstance(listener.told[0], Committed)


@pytest.mark.usefixtures("small_queue")
def test_closing_tells_what_waits_as_far_as_time_allows_and_a_full_queue_allows_none():
    dispatcher, listener = Dispatcher(), Listener()
    dispatcher.on("e", listener)
    dispatcher.tell("e", 1)
    dispatcher.close(SECONDS_MAX)
    assert listener.told == [1]
    full, gate = Dispatcher(), Gate()
    full.on("e", gate)
    full.tell("e", 0)
    assert gate.reached.wait(SECONDS_MAX)
    for number in range(9):
        full.tell("e", number)
    full.close(SECONDS_MAX)  # the gate is shut: waiting for it would take that long
    gate.open.set()
    assert full._thread is not None
    full._thread.join(SECONDS_MAX)
    assert not full._thread.is_alive()


def test_a_gap_that_nobody_listens_to_is_not_kept(dispatcher):
    dispatcher.missed(7, "at 7")
    listener = Listener()
    dispatcher.on("committed", listener)
    dispatcher.committed(entry(8), 8, "at 8")
    assert [(each.revision, each.gap) for each in listener.wait(1)] == [(8, False)]
