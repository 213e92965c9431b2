"""`Leadership`: what a node does while it leads.

Requests wait here, are judged in batches, and are answered when their entry is committed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from conflux.app import App
from conflux.node.changes import MemberChanges, Planned
from conflux.node.clock import Clock
from conflux.node.origin import Origin
from conflux.node.replica import Replica
from conflux.node.waiting import Request, Waiting
from conflux.store.machine import Machine
from conflux.store.session import Segment
from conflux.store.turn import Judged, Refusal, Turn
from conflux.wire.clients import (
    Answers,
    Appended,
    CloseSession,
    Code,
    OpenSession,
    Perform,
    Refused,
    SessionOpened,
)

Reply = Callable[[Origin, Any], object]

LARGE_CALLS = 32  # an entry with so many took long enough to judge for more to have come in


@dataclass(slots=True)
class _Pending:
    """An entry of this leader that is not committed yet."""

    machine: Machine  # provisional now, committed when the entry is
    change: Planned | None = None
    opened: list[tuple[Origin, SessionOpened]] = field(default_factory=list)
    waiters: list[tuple[Origin, int, Segment]] = field(default_factory=list)  # (who, session, outcomes)
    expired: list[tuple[Origin, int, Refusal]] = field(default_factory=list)  # (who, request, that its session is gone)

    def origins(self) -> list[Origin]:
        """Who waits for this entry."""
        asked = [self.change.origin] if self.change is not None and self.change.origin is not None else []
        waiting = [*self.waiters, *self.expired]
        return [origin for origin, _ in self.opened] + [origin for origin, _, _ in waiting] + asked


class Leadership:
    """One term of leading, from the moment that this term's no-op is committed and folded.

    Args:
        reply: hands an answer to whoever asked.
        changes: what this leader does about the members; None: nothing.
        take_more: has `take` called with what clients have sent since this turn began.
    """

    def __init__(
        self,
        replica: Replica,
        app: App[Any, Any],
        clock: Clock,
        reply: Reply,
        changes: MemberChanges | None = None,
        take_more: Callable[[], object] = lambda: None,
    ) -> None:
        self.changes = changes
        self.term = replica.raft.term
        self.provisional = replica.machine
        self._replica = replica
        self._app = app
        self._clock = clock
        self._reply = reply
        self._take_more = take_more
        self._began_s = clock.monotonic_s()
        self._log_time_began_us = replica.machine.log_time_us
        self._pending: dict[int, _Pending] = {}
        self._waiting = Waiting()
        self._appended: deque[tuple[Origin, Appended]] = deque()  # to be told once their entry is on this disk

    @property
    def log_time_us(self) -> int:
        """Now, by the log's clock: the time of the last entry before this leader, and what it measured since."""
        return self._log_time_began_us + int((self._clock.monotonic_s() - self._began_s) * 1e6)

    @property
    def has_work(self) -> bool:
        """True where a turn would do something now."""
        return (bool(self._waiting) and self._replica.raft.may_propose) or self._wants_change

    def take(self, origin: Origin, request: Request) -> None:
        """Let a request wait for the next turn; busy, if too many wait already."""
        if not self._waiting.add(origin, request) and not isinstance(request, CloseSession):
            self._refuse(origin, request.request, Refusal(Code.BUSY, "too many requests are waiting"))

    def turn(self) -> None:
        """Judge what waits, as far as a turn's bounds allow, and propose it as one entry."""
        self._change_members()
        raft = self._replica.raft
        if not raft.may_propose or not (self._waiting or self._deadline_passed()):
            return
        turn, pending = self._begin_entry()
        while self._waiting and not turn.is_full:
            origin, request = self._waiting.take()
            self._judge(turn, pending, origin, request)
            if not self._waiting and turn.calls >= LARGE_CALLS:
                self._take_more()  # an entry costs much, and the other half of what a client asks may be here by now
        if turn.is_empty and not pending.expired and not self._deadline_passed():
            return
        raft.propose(self._end_entry(turn, pending))

    def persisted(self) -> None:
        """This node's disk holds more of the log: tell those who asked to know."""
        stable_index = self._replica.raft.log.stable_index
        while self._appended and self._appended[0][1].index <= stable_index:
            self._reply(*self._appended.popleft())

    def folded_already(self, index: int) -> Machine | None:
        """The machine after this leader's own entry at `index`."""
        pending = self._pending.get(index)
        return pending.machine if pending else None

    def committed(self, index: int) -> None:
        """The entry at `index` is committed and folded: answer everyone who waits for it."""
        pending = self._pending.pop(index, None)
        if pending is None:
            return
        if pending.change is not None and self.changes is not None:
            self.changes.committed(pending.change, index)
        for origin, opened in pending.opened:
            self._reply(origin, opened)
        for origin, session, segment in pending.waiters:
            self._answer(origin, session, segment)
        for origin, request, refusal in pending.expired:
            self._refuse(origin, request, refusal)

    def end(self) -> list[Origin]:
        """Leadership is over. Requests that were not judged are refused; gives those whose outcome is open."""
        if self.changes is not None:
            self.changes.end()
        refusal = Refusal(Code.NO_LEADER, "the leader has changed")
        while self._waiting:
            origin, request = self._waiting.take()
            if not isinstance(request, CloseSession):
                self._refuse(origin, request.request, refusal)
        origins = [origin for pending in self._pending.values() for origin in pending.origins()]
        self._pending.clear()
        return list(dict.fromkeys(origins))

    @property
    def _wants_change(self) -> bool:
        return self.changes is not None and self.changes.has_work

    def _begin_entry(self) -> tuple[Turn, _Pending]:
        """A turn for the next entry, and what is kept of it until it commits."""
        turn = Turn(
            self._app,
            self.provisional,
            index=self._replica.raft.log.last_index + 1,
            term=self.term,
            log_time_us=self.log_time_us,
            wall_time_us=self._clock.wall_us(),
            clock=self._clock.monotonic_s,
            agreed=self._replica.agreed,
        )
        return turn, _Pending(self.provisional)

    def _end_entry(self, turn: Turn, pending: _Pending) -> bytes:
        """The payload of the entry that is to be proposed now."""
        payload, self.provisional = turn.finish()
        method, took_s = turn.slowest
        if took_s > self._replica.slowness.bearable_s:
            self._replica.slowness.note(f"the method {method!r}", took_s)
        pending.machine = self.provisional
        self._pending[self.provisional.index] = pending
        return payload

    def _change_members(self) -> None:
        """Propose the next change of the members, in an entry of its own."""
        changes = self.changes
        if changes is None or changes.is_settled:
            return
        change = changes.plan(self._clock.monotonic_s(), self.log_time_us)
        if change is None:
            return
        turn, pending = self._begin_entry()
        turn.change_members(change.membership)
        pending.change = change
        self._replica.raft.change_membership(self._end_entry(turn, pending))

    def _judge(self, turn: Turn, pending: _Pending, origin: Origin, request: Request) -> None:
        match request:
            case Perform():
                judged = turn.perform(request)
                if isinstance(judged, Refusal) and judged.code is Code.SESSION_EXPIRED:
                    # What ended the session may be lost with this leader, or another leads since and has opened it.
                    # An entry behind both, be it empty, commits only if neither is so.
                    pending.expired.append((origin, request.request, judged))
                elif isinstance(judged, Refusal):
                    self._refuse(origin, request.request, judged)
                else:
                    self._await(pending, origin, request, judged)
            case OpenSession():
                session = turn.open_session()
                if isinstance(session, Refusal):
                    self._refuse(origin, request.request, session)
                else:
                    pending.opened.append((origin, SessionOpened(request.request, session)))
            case CloseSession():
                turn.close_session(request.session)

    def _await(self, pending: _Pending, origin: Origin, request: Perform, judged: Judged) -> None:
        """Answer what is committed; let the rest wait for its entry: this turn's, or an earlier one's."""
        for segment in judged.segments:
            if segment.index <= self._replica.machine.index:
                self._answer(origin, request.session, segment)
                continue
            entry = self._pending.get(segment.index, pending)
            entry.waiters.append((origin, request.session, segment))
            if request.when_appended:
                outcomes = list(segment.outcomes)
                told = Appended(request.session, segment.first_sequence, outcomes, segment.index, self.term)
                self._appended.append((origin, told))
        if judged.rest is not None:
            self._waiting.put_back(origin, judged.rest)

    def _answer(self, origin: Origin, session: int, segment: Segment) -> None:
        answers = Answers(
            session,
            segment.first_sequence,
            list(segment.outcomes),
            segment.first_revision,
            segment.index,
            segment.term,
            segment.wall_time_us,
        )
        self._reply(origin, answers)

    def _refuse(self, origin: Origin, request: int, refusal: Refusal) -> None:
        self._reply(origin, Refused(request, refusal.code, refusal.message, refusal.sequence))

    def _deadline_passed(self) -> bool:
        """True once a session expires: an idle leader then writes an entry, so that all nodes see it."""
        return self.log_time_us >= self.provisional.sweep_us
