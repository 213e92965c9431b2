"""The embedding program's calls: handed to the node by its loop, and all of them told when it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from conflux.client.call import Call
from conflux.errors import Closed, ConfluxError, MalformedValue, OutcomeUnknown
from conflux.node import local
from conflux.node.local import LocalCaller
from conflux.wire import values
from tests.client.told import Told
from tests.node.harness import NotSo, World


class Program:
    """A program that embeds the node of a world, and what it is told."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.node = next(iter(world.nodes.values()))
        self.caller = LocalCaller(self.node, world.clock)
        self.told: list[Any] = []

    def submit(self, method: str, *args: Any) -> None:
        self.caller.submit(Call(method, values.encode(list(args)), None, Told(self.told.append)))

    def read(self) -> None:
        self.caller.run_soon(lambda: self.caller.read(self.told.append))

    def run(self, count: int) -> list[Any]:
        """Let time pass until so much is told."""

        def step() -> bool:
            self.caller.turn()
            return len(self.told) >= count

        self.world.until(step)
        return self.told


@pytest.fixture
def program() -> Program:
    world = World(1)
    world.leader()
    return Program(world)


def test_calls_and_reads_are_answered_in_the_loops_turns(program):
    program.submit("add", "x")
    assert program.run(1)[0].action == {"type": "add", "thing": "x"}
    program.read()
    assert list(program.run(2)[1]) == ["x"]


def in_another_thread(job: Callable[[], object]) -> None:
    thread = threading.Thread(target=job)
    thread.start()
    thread.join()


def test_the_loop_is_woken_once_for_many_calls_of_other_threads(program):
    def submit_five() -> None:
        for number in range(5):
            program.submit("add", number)

    in_another_thread(submit_five)
    assert program.node.channel.woken == 1
    program.run(5)
    in_another_thread(lambda: program.submit("add", 5))
    assert program.node.channel.woken == 2


def test_what_the_loops_own_thread_hands_in_needs_no_wake_but_the_loop_does_not_wait(program):
    program.caller.turn()
    program.submit("add", "x")
    assert program.node.channel.woken == 0
    assert program.caller.wait_s() == 0.0


def test_an_idle_program_lets_the_loop_wait(program):
    assert program.caller.wait_s() > 1.0
    program.submit("add", "x")
    program.caller.turn()
    assert program.caller.wait_s() < 1.0


def test_a_read_that_no_leader_confirms_is_asked_again_until_one_does():
    world = World(3)
    world.stop("b"), world.stop("c")
    program = Program(world)
    answers = program.read()
    with pytest.raises(NotSo):
        program.run(1)
    assert not answers


def test_a_state_that_changes_while_it_is_read_is_read_as_it_was(program):
    large = "x" * 200_000
    for _ in range(5):
        program.submit("add", large)
    program.run(5)
    program.read()
    program.submit("add", "later")
    states = [told for told in program.run(7) if not hasattr(told, "action")]
    assert list(states[0])[:5] == [large] * 5


def test_f12_the_end_tells_everyone(program):
    program.submit("add", "sent")
    program.caller.turn()
    program.submit("add", "waiting")
    program.caller.close(Closed("over"))
    assert [type(told) for told in program.told] == [Closed, Closed]


def test_f12_the_end_tells_who_was_on_the_way_that_it_is_unknown(program):
    program.submit("add", "first")
    program.run(1)
    program.world.disk("a").is_full = True
    program.submit("add", "sent")
    program.caller.turn()
    program.world.step()
    program.caller.close(Closed("over"))
    assert isinstance(program.told[1], OutcomeUnknown)


def test_the_end_tells_readers(program):
    program.world.disk("a").is_full = True
    program.submit("add", "x")
    program.read()
    program.caller.turn()
    program.caller.close(Closed("over"))
    assert all(isinstance(told, ConfluxError) for told in program.told) and len(program.told) == 2


def test_d12_a_read_that_comes_in_at_the_very_end_is_told_too(program):
    program.read()
    program.caller.close(Closed("over"))
    assert len(program.told) == 1


def test_whoever_comes_after_the_end_is_told_at_once(program):
    over = Closed("over")
    program.caller.close(over)
    program.submit("add", "late")
    program.read()
    feed = program.caller.watch(0)
    assert program.told == [over, over] and feed.committed.get_nowait() is over


def test_a_read_that_is_given_up_asks_for_nothing(program):
    program.caller.run_soon(lambda: program.caller.read(program.told.append, lambda: True))
    program.caller.turn()
    assert not program.told and not program.caller._reads


def test_a_state_that_does_not_decode_is_told_as_an_error(program, monkeypatch):
    def malformed(_: bytes) -> None:
        raise MalformedValue("it is no state")

    monkeypatch.setattr(local, "decode_state", malformed)
    program.read()
    assert isinstance(program.run(1)[0], MalformedValue)
