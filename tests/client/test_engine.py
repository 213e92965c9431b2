"""The thread behind a client: over a gap by the state that stands for it, and on to nodes that it was not told of."""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from msgspec import structs

from conflux.client import engine as engines
from conflux.client.answer import Answer
from conflux.client.call import Call, halves
from conflux.client.committed import Committed
from conflux.client.engine import Engine
from conflux.errors import Closed
from conflux.wire import values
from conflux.wire.clients import (
    CLIENTS,
    Answers,
    AskMembers,
    Code,
    Consistency,
    Event,
    Events,
    Gap,
    Members,
    OpenSession,
    Perform,
    Read,
    Refused,
    Rejection,
    SessionOpened,
    StatePart,
    Watch,
)
from conflux.wire.states import encode_state

SECONDS_MAX = 10.0


class Channel:
    """Nodes that a test plays: `answer` says what comes of each message."""

    def __init__(self, answer: Callable[[str, Any], list[Any]]) -> None:
        self.sent: list[tuple[str, Any]] = []
        self._answer = answer
        self._inbox: list[tuple[str, bytes]] = []
        self.woken = 0
        self._wakes = threading.Event()

    def dial(self, address: str) -> None:
        pass

    def send(self, address: str, frame: bytes) -> bool:
        message = CLIENTS.decode_from_client(frame)
        self.sent.append((address, message))
        self._inbox += [(address, CLIENTS.encode_for_client(each)) for each in self._answer(address, message)]
        return True

    def receive(self, frames_max: int) -> list[tuple[str, bytes]]:
        frames, self._inbox = self._inbox, []
        return frames

    def poll(self, timeout_s: float) -> None:
        if not self._inbox:
            self._wakes.wait(timeout_s)
        self._wakes.clear()

    def wake(self) -> None:
        self.woken += 1
        self._wakes.set()

    def close(self) -> None:
        pass


@pytest.fixture
def watch() -> Iterator[Callable[..., tuple[Channel, Any]]]:
    """Begins a watch from a revision at nodes of the test's; gives the channel and the feed."""
    made: list[Engine] = []

    def begin(answer: Callable[[str, Any], list[Any]], *endpoints: str) -> tuple[Channel, Any]:
        channel = Channel(answer)
        engine = Engine(channel, endpoints or ("a", "b"))
        made.append(engine)
        return channel, engine.watch(3)

    yield begin
    for engine in made:
        engine.close(Closed("the test is over"))


def event(revision: int) -> Event:
    return Event(revision, revision, 1, 0, "add", values.encode(revision))


def state_of(read: Read, state: Any, revision: int) -> StatePart:
    part = encode_state(state)
    return StatePart(read.request, revision, revision, 0, len(part), part)


def node_with_a_cut_log(_address: str, message: Any) -> list[Any]:
    """It holds revisions from 8 on, and its state is at 9."""
    match message:
        case Watch(watch=watch, from_revision=revision) if revision < 8:
            return [Gap(watch, 8)]
        case Watch(watch=watch, from_revision=10):
            return [Events(watch, [event(10)], 10, "n1")]
        case Read(consistency=Consistency.LOCAL):
            return [state_of(message, ["state"], 9)]
        case _:
            return []


def test_the_state_stands_for_what_is_cut_and_the_watch_goes_on_behind_it(watch):
    channel, feed = watch(node_with_a_cut_log)
    first, gap, committed = (feed.committed.get(timeout=SECONDS_MAX) for _ in range(3))
    assert first == 10
    assert (gap.gap, gap.revision, gap.state, gap.action) == (True, 9, ["state"], None)
    assert isinstance(committed, Committed) and (committed.gap, committed.revision) == (False, 10)
    assert {address for address, _ in channel.sent} == {"a"}


def test_a_node_that_dies_over_the_read_is_left_for_another(watch, monkeypatch):
    monkeypatch.setattr(engines, "WATCH_SILENT_SECONDS", 0.5)

    def answer(address: str, message: Any) -> list[Any]:
        if address == "a":
            return [] if isinstance(message, Read) else node_with_a_cut_log(address, message)
        return [Events(message.watch, [event(3)], 9, "n2")] if isinstance(message, Watch) else []

    _, feed = watch(answer)
    assert feed.committed.get(timeout=SECONDS_MAX) == 3
    assert feed.committed.get(timeout=SECONDS_MAX).revision == 3  # it holds what the first one had cut


@pytest.mark.parametrize(("asked_alone", "silent_s"), [(0, 0.5), (1, 2.5)])
def test_a_client_that_was_told_of_one_node_goes_on_without_it(watch, monkeypatch, asked_alone, silent_s):
    """There may be no other when it asks first: a cluster grew from one member to five, and its first one died."""
    monkeypatch.setattr(engines, "WATCH_SILENT_SECONDS", silent_s)
    monkeypatch.setattr(engines, "MEMBERS_FIRST_SECONDS", 0.0)
    asked = []

    def answer(address: str, message: Any) -> list[Any]:
        match message:
            case AskMembers(request=request) if address == "a":
                asked.append(request)
                return [Members(request, ["a", "b"] if len(asked) > asked_alone else ["a"])]
            case Watch(watch=watch) if address == "b":
                return [Events(watch, [event(3)], 9, "n2")]
            case _:
                return []

    _, feed = watch(answer, "a")
    assert feed.committed.get(timeout=SECONDS_MAX) == 3
    assert feed.committed.get(timeout=SECONDS_MAX).revision == 3
    assert len(asked) > asked_alone


def test_a_call_that_hears_nothing_goes_to_whom_a_watch_has_found_and_not_past_it():
    """Found by `conflux simulate --weather recover`: two timers in step led a client past the leader, for ever."""

    def answer(address: str, message: Any) -> list[Any]:
        match message:
            case Watch(watch=watch):
                told = Events(watch, [], 2, address)
                return [Refused(watch, Code.NOT_READY, "not yet") if address == "a" else told]
            case _:
                return []

    channel = Channel(answer)
    engine = Engine(channel, ("a", "b", "c"))
    try:
        engine.submit(Call("add", values.encode([1]), None, Answer()))
        engine.watch(3)
        deadline_s = time.monotonic() + SECONDS_MAX
        while len(asked := [at for at, sent in channel.sent if isinstance(sent, OpenSession)]) < 2:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)
        assert asked[:2] == ["a", "b"]
    finally:
        engine.close(Closed("the test is over"))


# ---- Large answers ----


class Leader:
    """Answers each request with one action a call, revisions counting on, and notes what it was sent."""

    def __init__(self) -> None:
        self.performs: list[Perform] = []
        self.revision = 0

    def answer(self, _address: str, message: Any) -> list[Any]:
        match message:
            case OpenSession(request=request):
                return [SessionOpened(request, 7)]
            case Perform():
                self.performs.append(message)
                outcomes = [arguments or None for _, arguments in message.calls]
                first, self.revision = self.revision + 1, self.revision + sum(each is not None for each in outcomes)
                return [Answers(7, message.first_sequence, outcomes, first, len(self.performs), 1, 0)]
            case _:
                return []


def told_of_twice_as_many(leader: Leader, count: int) -> list[tuple[int, int | None, int]]:
    """Make so many calls, and one more in the callback of each; what was told, in turn.

    Returns:
        The call's number, its revision, and how many requests had been sent by then.
    """
    told: list[tuple[int, int | None, int]] = []
    over = threading.Event()
    engine = Engine(Channel(leader.answer), ("a",))

    def again(number: int, answer: Any) -> None:
        told.append((number, answer.result().revision, len(leader.performs)))
        if number >= 2 * count - 1:
            over.set()
        elif number < count:
            submit(count + number)

    def submit(number: int) -> None:
        answer = Answer()
        answer.add_done_callback(lambda done: again(number, done))
        engine.submit(Call("add", values.encode([number]), None, answer))

    def begin(_now_s: float) -> None:
        for number in range(count):
            submit(number)

    try:
        engine.run_soon(begin)
        assert over.wait(SECONDS_MAX)
    finally:
        engine.close(Closed("the test is over"))
    assert [number for number, _, _ in told] == list(range(2 * count))
    assert [revision for _, revision, _ in told] == list(range(1, 2 * count + 1))
    return told


@pytest.mark.parametrize("count", [engines.HALVED_OUTCOMES - 1, engines.HALVED_OUTCOMES, 501])
def test_what_the_first_half_of_a_large_answer_begins_leaves_before_the_other_half_is_told(count):
    sent_when_told = [sent for _, _, sent in told_of_twice_as_many(Leader(), count)[:count]]
    halved = count >= engines.HALVED_OUTCOMES
    middle = count // 2 if halved else count
    assert sent_when_told == [1] * middle + [2] * (count - middle)


def test_a_large_answer_is_told_at_once_where_another_call_is_still_on_its_way():
    """The leader has something to do: a half that leaves early would be an entry more, and nothing sooner."""
    count = 2 * engines.HALVED_OUTCOMES

    class Behind(Leader):
        """Answers all but the last call of the first request, and that one with the next."""

        def answer(self, address: str, message: Any) -> list[Any]:
            answers = super().answer(address, message)
            if not isinstance(message, Perform) or len(self.performs) > 2:
                return answers
            if len(self.performs) == 2:
                return [self.rest, *answers]
            (whole,) = answers
            end = {
                "first_sequence": whole.first_sequence + count - 1,
                "first_revision": whole.first_revision + count - 1,
            }
            self.rest = structs.replace(whole, outcomes=whole.outcomes[-1:], **end)
            return [structs.replace(whole, outcomes=whole.outcomes[:-1])]

    told = told_of_twice_as_many(Behind(), count)
    assert [sent for _, _, sent in told[: count - 1]] == [1] * (count - 1)


def test_a_callback_that_wants_to_exit_ends_neither_the_thread_nor_what_others_are_told():
    leader, told = Leader(), threading.Event()
    engine = Engine(Channel(leader.answer), ("a",))

    def leaves(_done: Any) -> None:
        sys.exit("not with me")

    def begin(_now_s: float) -> None:
        for callback in (leaves, lambda done: told.set()):
            answer = Answer()
            answer.add_done_callback(callback)
            engine.submit(Call("add", values.encode([1]), None, answer))

    try:
        engine.run_soon(begin)
        assert told.wait(SECONDS_MAX)
        again = Answer()
        engine.submit(Call("add", values.encode([2]), None, again))
        assert again.result(SECONDS_MAX).revision == 3
    finally:
        engine.close(Closed("the test is over"))


def test_the_halves_of_an_answer_count_its_actions():
    rejected = Rejection("ValueError", "no", False)
    answers = Answers(7, 10, [b"\x01", None, rejected, b"\x02", b"\x03"], 40, 5, 2, 99)
    first, second = halves(answers)
    assert first == Answers(7, 10, [b"\x01", None], 40, 5, 2, 99)
    assert second == Answers(7, 12, [rejected, b"\x02", b"\x03"], 41, 5, 2, 99)


# ---- Handing over ----


class Turning:
    """An engine whose nodes say nothing, with what its thread may be waiting for."""

    def __init__(self) -> None:
        self.waits = threading.Event()
        self.channel = Channel(lambda address, message: [])
        poll = self.channel.poll

        def noted(timeout_s: float) -> None:
            self.waits.set()
            poll(timeout_s)
            self.waits.clear()

        self.channel.poll = noted  # type: ignore[method-assign]
        self.engine = Engine(self.channel, ("a",))

    def in_its_thread(self, job: Callable[[], object]) -> None:
        """Run a job there, and wait until it has been run."""
        done = threading.Event()
        self.engine.run_soon(lambda now_s: (job(), done.set()))
        assert done.wait(SECONDS_MAX)

    def wait_for(self, kind: type) -> None:
        """Wait until a message of this kind is sent."""
        deadline_s = time.monotonic() + SECONDS_MAX
        while not any(isinstance(sent, kind) for _, sent in self.channel.sent):
            assert time.monotonic() < deadline_s
            time.sleep(0.001)


@pytest.fixture
def turning() -> Iterator[Turning]:
    found = Turning()
    yield found
    found.engine.close(Closed("the test is over"))


def a_call() -> Call:
    return Call("add", values.encode([1]), None, Answer())


def test_a_thread_that_waits_is_woken(turning):
    assert turning.waits.wait(SECONDS_MAX)
    before = turning.channel.woken
    turning.in_its_thread(lambda: None)  # which waits for it
    assert turning.channel.woken == before + 1


def test_what_is_handed_over_while_the_thread_turns_wakes_nobody_and_is_sent(turning):
    def from_here_and_from_another_thread() -> None:
        before = turning.channel.woken
        other = threading.Thread(target=lambda: turning.engine.submit(a_call()))
        other.start()
        other.join()
        turning.engine.submit(a_call())
        woken.append(turning.channel.woken - before)

    woken: list[int] = []
    turning.in_its_thread(from_here_and_from_another_thread)
    turning.wait_for(OpenSession)
    assert woken == [0]


def test_what_is_handed_over_right_after_the_last_look_ends_the_wait(turning, monkeypatch):
    monkeypatch.setattr(engines, "WAIT_SECONDS_MAX", 10 * SECONDS_MAX)  # a wake that is lost is not made up for
    late = [a_call()]

    class LookedInto(deque[Call]):
        def __bool__(self) -> bool:
            found = len(self) > 0
            if late:
                turning.engine.submit(late.pop())
            return found

    turning.in_its_thread(lambda: setattr(turning.engine, "_submitted", LookedInto()))
    turning.wait_for(OpenSession)


def test_a_call_that_comes_as_the_client_ends_is_told_and_not_left_behind(turning):
    """Its thread had told all, and took the call in all the same."""
    engine, before, late = turning.engine, Answer(), Answer()

    def end(now_s: float) -> None:
        engine._end(Closed("the client is closed"))
        engine._submitted.append(Call("add", b"", None, late))  # by a thread that has not seen the end yet

    assert turning.waits.wait(SECONDS_MAX)
    engine._submitted.append(Call("add", b"", None, before))
    engine._jobs.append(end)
    turning.channel.wake()
    engine._thread.join(SECONDS_MAX)
    engine._tell_the_late(Closed("the client is closed"))  # as that thread does then
    assert isinstance(before.exception(0), Closed) and isinstance(late.exception(0), Closed)
