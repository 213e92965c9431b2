"""Leaders without a cluster, for a requester to talk to: the real `Leadership` and `Turn` over a log of the test's.

What a change of leader does is decided by the test: how many of the uncommitted entries survive it.
"""

from __future__ import annotations

from typing import Any

from conflux.node.leadership import Leadership
from conflux.node.slowness import Slowness
from conflux.raft.entry import Entry, Kind
from conflux.store.machine import Machine, fold
from conflux.store.records import noop_payload
from conflux.wire.clients import CLIENTS, Code, LeaderIs, OpenSession, Perform, Refused
from tests.store.harness import facts, make_app

UNCOMMITTED_MAX = 4


class Clock:
    """Time stands still unless it is told otherwise."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_us(self) -> int:
        return int(self.now_s * 1e6)


class FakeLog:
    first_index = 1

    def __init__(self) -> None:
        self.held: list[Entry] = []

    @property
    def last_index(self) -> int:
        return len(self.held)

    stable_index = last_index

    def entries(self, first: int, last: int, bytes_max: int) -> tuple[Entry, ...]:
        return tuple(self.held[first - 1 : last])


class FakeRaft:
    def __init__(self) -> None:
        self.term = 0
        self.log = FakeLog()
        self.commit_index = 0

    @property
    def may_propose(self) -> bool:
        return self.log.last_index - self.commit_index < UNCOMMITTED_MAX

    def propose(self, payload: bytes, kind: Kind = Kind.RECORDS) -> None:
        self.log.held.append(Entry(self.log.last_index + 1, self.term, kind, payload))


class FakeReplica:
    def __init__(self, machine: Machine) -> None:
        self.raft = FakeRaft()
        self.machine = machine
        self.agreed = None
        self.slowness = Slowness(1.0)


class Cluster:
    """One log, led by one leader after another; `out` is what was said to the client."""

    def __init__(self) -> None:
        self.app = make_app()
        self.clock = Clock()
        self.replica: Any = FakeReplica(Machine.initial(self.app))
        self.out: list[Any] = []
        self.leadership: Leadership | None = None
        self.lead()

    @property
    def things(self) -> list[Any]:
        """The committed state."""
        return list(self.replica.machine.state)

    def say(self, _origin: Any, message: Any) -> None:
        self.out.append(CLIENTS.decode_from_client(CLIENTS.encode_for_client(message)))

    def hear(self, message: OpenSession | Perform) -> None:
        """A request arrives at the leader; without one it is refused."""
        message = CLIENTS.decode_from_client(CLIENTS.encode_for_client(message))
        if self.leadership is None:
            self.say(None, Refused(message.request, Code.NO_LEADER, "nobody leads"))
        else:
            self.leadership.take("client", message)

    def turn(self) -> None:
        if self.leadership is not None:
            self.leadership.turn()
            self.leadership.persisted()

    def commit(self, entries: int = UNCOMMITTED_MAX) -> None:
        """A majority holds some more of the log."""
        raft, app = self.replica.raft, self.app
        for entry in raft.log.held[raft.commit_index : raft.commit_index + entries]:
            machine = fold(self.replica.machine, entry, app)
            made = self.leadership.folded_already(entry.index) if self.leadership else None
            assert made is None or facts(made) == facts(machine)
            self.replica.machine = machine
            raft.commit_index = entry.index
            if self.leadership is not None:
                self.leadership.committed(entry.index)

    def depose(self, survive: int = UNCOMMITTED_MAX) -> None:
        """The leader is gone, and with it all uncommitted entries but the first few."""
        raft = self.replica.raft
        if self.leadership is not None:
            ended, self.leadership = self.leadership, None
            for _ in ended.end():
                self.say(None, LeaderIs(""))
        del raft.log.held[raft.commit_index + survive :]

    def lead(self) -> None:
        """Somebody leads: what was left uncommitted commits with the no-op."""
        if self.leadership is None:
            raft = self.replica.raft
            raft.term += 1
            last = raft.log.held[-1].payload if raft.log.held else None
            raft.propose(noop_payload(last, app_version=1, wall_time_us=0), Kind.NOOP)
            self.commit(raft.log.last_index)
            self.leadership = Leadership(self.replica, self.app, self.clock, self.say)
