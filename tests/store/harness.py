"""A leader and its log without a cluster: turns become entries, and the entries fold again into what they stood for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyrsistent import pvector

from conflux.app import App, now
from conflux.raft.entry import Entry, Kind
from conflux.store.machine import Machine, fold
from conflux.store.records import noop_payload
from conflux.store.turn import Judged, Turn
from conflux.wire import values
from conflux.wire.clients import Outcome, Perform

SECOND_US = 1_000_000


class FakeClock:
    """Seconds that pass when they are told to, and `step_s` at every look."""

    def __init__(self, step_s: float = 0.0) -> None:
        self.now_s = 0.0
        self.step_s = step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


def make_app() -> App[Any, Any]:
    """A vector of things, with a method for everything that may become of a call."""
    app: App[Any, Any] = App(name="things")

    @app.method
    def add(state: Any, thing: Any) -> Any:
        return {"type": "add", "thing": thing}

    @app.method
    def add_once(state: Any, thing: Any) -> Any:
        return None if thing in state else {"type": "add", "thing": thing}

    @app.method
    def add_time(state: Any) -> Any:
        return {"type": "add", "thing": now()}

    @app.method
    def fail(state: Any, text: str = "no") -> Any:
        raise ValueError(text)

    @app.method
    def give_error(state: Any) -> Any:
        return KeyError("given")

    @app.method
    def explode(state: Any) -> Any:
        return {"type": "explode"}

    @app.method
    def give(state: Any, name: str) -> Any:
        return GIVEN[name]

    @app.reducer
    def reduce(state: Any, action: Any) -> Any:
        if state is None:
            return pvector()
        match action:
            case {"type": "add", "thing": thing}:
                return state.append(thing)
            case {"type": "explode"}:
                raise RuntimeError("the reducer can't")
            case _:
                return state

    return app


GIVEN: dict[str, Any] = {}  # what the method `give` returns, whatever it is


def perform(session: int, first: int, *calls: tuple[Any, ...], unanswered: int = 0, request: int = 1) -> Perform:
    """A Perform of calls `first`, + 1 …: each a method's name and its arguments; an empty tuple is a void."""
    packed = [(call[0], values.encode(list(call[1:]))) if call else ("", b"") for call in calls]
    return Perform(request, session, unanswered, first, packed)


class Leader:
    """A leader that commits whatever it logs: `machine` is provisional and committed in one."""

    def __init__(self, app: App[Any, Any] | None = None) -> None:
        self.app = app or make_app()
        self.machine = Machine.initial(self.app)
        self.entries: list[Entry] = []
        self.time_us = 0
        self.clock = FakeClock()
        self.term = 1

    def turn(self) -> Turn:
        return Turn(
            self.app,
            self.machine,
            index=self.machine.index + 1,
            term=self.term,
            log_time_us=self.time_us,
            wall_time_us=1_700_000_000_000_000,
            clock=self.clock,
            agreed=self.machine.hash_point.hashed() if self.machine.hash_point.done else None,
        )

    def log(self, turn: Turn) -> Machine:
        """End a turn, whatever it holds."""
        payload, self.machine = turn.finish()
        self.entries.append(Entry(self.machine.index, self.term, Kind.RECORDS, payload))
        return self.machine

    def noop(self) -> None:
        """A new term begins."""
        self.term += 1
        last = self.entries[-1].payload if self.entries else None
        payload = noop_payload(last, app_version=self.app.version, wall_time_us=5)
        entry = Entry(self.machine.index + 1, self.term, Kind.NOOP, payload)
        self.machine = fold(self.machine, entry, self.app)
        self.entries.append(entry)

    def open_session(self) -> int:
        turn = self.turn()
        session = turn.open_session()
        assert isinstance(session, int)
        self.log(turn)
        return session

    def perform(self, session: int, first: int, *calls: tuple[Any, ...], unanswered: int = 0) -> list[Outcome]:
        """Perform in a turn of its own; gives the outcomes, old and new."""
        turn = self.turn()
        judged = turn.perform(perform(session, first, *calls, unanswered=unanswered))
        assert isinstance(judged, Judged), judged
        self.log(turn)
        return outcomes_of(judged)


def outcomes_of(judged: Judged) -> list[Outcome]:
    return [outcome for segment in judged.segments for outcome in segment.outcomes]


def folded(entries: Iterable[Entry], app: App[Any, Any]) -> Machine:
    """What a follower makes of a log."""
    machine = Machine.initial(app)
    for entry in entries:
        machine = fold(machine, entry, app)
    return machine


FIELDS = (
    *("index", "term", "revision", "state", "sessions", "log_time_us", "log_hash"),
    *("sweep_us", "bytes_since_hash_point", "hash_logged"),
)


def facts(machine: Machine) -> dict[str, Any]:
    """Everything that must be equal on all nodes; the hash point by what it comes to."""
    point = machine.hash_point.finish()
    found = {name: getattr(machine, name) for name in FIELDS}
    return found | {"hash_point": (point.revision, point.digest, point.bytes_total, point.problem)}
