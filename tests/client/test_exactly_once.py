"""A requester through bad weather: what its callers are told is what happened.

Random schedules of loss, delay, refusals and changes of leader, against the real turn and the real leadership. A
frame arrives once or not at all, as a channel promises; answers may come twice. Things are numbered, so the
committed state itself says what was applied, how often and in which order.
"""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from msgspec import structs

from conflux import limits
from conflux.client.call import Call
from conflux.client.committed import Committed
from conflux.client.requester import Requester
from conflux.errors import MethodRejected, NotApplied, OutcomeUnknown, SessionExpired
from conflux.wire import values
from conflux.wire.clients import Code, LeaderIs, OpenSession, Refused
from tests.client.cluster import Cluster
from tests.client.told import Told

REFUSALS = [Code.NO_LEADER, Code.BUSY, Code.NOT_READY]


class Weather:
    """One requester, one cluster, and two lines between them that do as the seed says."""

    def __init__(self, seed: int, *, hostile: bool = True) -> None:
        self.random = Random(seed)
        self.cluster = Cluster()
        self.requester = Requester(self.give_up)
        self.now_s = 1.0
        self.there: list[Any] = []
        self.back: list[Any] = []
        self.results: dict[int, list[Any]] = {}
        self.hostile = hostile
        self.loss = self.random.choice([0.0, 0.1, 0.4])
        self.trouble = self.random.choice([0.0, 0.05, 0.2])
        self.deadlines = self.random.choice([None, 0.3, 2.0])

    def give_up(self) -> None:
        if self.random.random() < 0.5:
            self.there.clear()  # another node: what was on its way to the old one is lost

    def submit(self) -> None:
        number = len(self.results)
        told: list[Any] = []
        self.results[number] = told
        kind = self.random.choice(["add", "add", "add", "fail", "add_once"])
        deadline_s = None if self.deadlines is None else self.now_s + self.deadlines * self.random.random()
        self.requester.submit(Call(kind, values.encode([number]), deadline_s, Told(told.append)))

    def step(self) -> None:
        """A little of everything."""
        random = self.random
        self.now_s += random.choice([0.0, 0.001, 0.01, 0.1])
        self.cluster.clock.now_s = self.now_s + 100.0
        for message in self.requester.pump(self.now_s):
            if self.hostile and random.random() < self.trouble:
                self.requester.unsent(message, self.now_s)
            else:
                self.there.append(message)
        while self.there and random.random() < 0.7:
            self.arrive(self.there.pop(0))
        if self.hostile and random.random() < self.trouble:
            self.change_leader()
        if not self.hostile or random.random() < 0.6:
            self.cluster.lead()
            self.cluster.turn()
        if not self.hostile or random.random() < 0.5:
            self.cluster.commit(random.choice([1, 4]))
        self.back += self.cluster.out
        self.cluster.out.clear()
        while self.back and random.random() < 0.7:
            self.answer(self.back.pop(0))

    def arrive(self, message: Any) -> None:
        if self.hostile and self.random.random() < self.loss:
            return
        if self.hostile and self.random.random() < self.trouble:
            self.back.append(Refused(message.request, self.random.choice(REFUSALS), "not now"))
            return
        self.cluster.hear(message)

    def change_leader(self) -> None:
        self.cluster.depose(self.random.choice([0, 1, 4]))

    def answer(self, message: Any) -> None:
        if self.hostile and self.random.random() < self.loss:
            return
        for _ in range(2 if self.hostile and self.random.random() < self.trouble else 1):
            if isinstance(message, LeaderIs):
                self.requester.restart(self.now_s)
            else:
                self.requester.receive(message, self.now_s)

    def calm_down(self) -> None:
        """All is well from now on: whoever waits must be told."""
        self.hostile = False
        for _ in range(4000):
            if self.requester.idle:
                return
            self.step()
        raise AssertionError(f"{self.requester.unfinished} calls were never answered")


def check(weather: Weather) -> None:
    things = weather.cluster.things
    numbers = [thing for thing in things if type(thing) is int]
    assert len(numbers) == len(set(numbers)), "applied twice"
    assert numbers == sorted(numbers), "the calls of one client out of order"
    for number, told in weather.results.items():
        assert len(told) == 1, f"call {number} was told {told}"
        check_one(number, told[0], number in numbers)


def check_one(number: int, result: Any, applied: bool) -> None:
    match result:
        case Committed(action={"thing": thing}, revision=revision):
            assert applied and thing == number and revision is not None
        case MethodRejected():
            assert not applied
        case NotApplied():
            assert not applied, f"call {number} was applied, and its caller told {result!r}"
        case OutcomeUnknown() | SessionExpired():
            pass
        case _:
            raise AssertionError(f"call {number} was told {result!r}")


def run(seed: int) -> Weather:
    weather = Weather(seed)
    for _ in range(weather.random.choice([20, 120])):
        for _ in range(weather.random.choice([0, 0, 1, 3, 8])):
            weather.submit()
        weather.step()
    weather.calm_down()
    return weather


@pytest.mark.parametrize("seed", range(150))
def test_what_callers_are_told_is_what_happened(seed):
    check(run(seed))


def test_what_callers_are_told_is_what_happened_though_turns_are_too_short_for_a_request(monkeypatch):
    monkeypatch.setattr(limits, "TURN_RECORDS_MAX", 3)
    for seed in range(300):
        check(run(seed))


def test_the_weather_is_bad_enough():
    kinds: set[type] = set()
    terms = 0
    for seed in range(60):
        weather = run(seed)
        kinds |= {type(told[0]) for told in weather.results.values()}
        terms = max(terms, weather.cluster.replica.raft.term)
    assert {Committed, MethodRejected, OutcomeUnknown} < kinds
    assert any(issubclass(kind, NotApplied) for kind in kinds) and terms > 10


def test_a_session_that_expires_tells_those_who_may_be_applied_and_carries_the_others_over():
    for seed in range(40):
        weather = Weather(seed)
        for _ in range(30):
            weather.submit()
            weather.step()
        session = weather.requester.session
        if session is not None and weather.cluster.leadership is not None:
            closing = weather.cluster.replica.machine.sessions
            weather.cluster.depose(0)
            replica = weather.cluster.replica
            replica.machine = structs.replace(replica.machine, sessions=closing.discard(session))
        weather.calm_down()
        check(weather)


def test_opening_messages_are_not_mistaken_for_calls():
    weather = Weather(1, hostile=False)
    weather.submit()
    (message,) = weather.requester.pump(1.0)
    assert isinstance(message, OpenSession) and weather.requester.session is None
