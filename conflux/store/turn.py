"""`Turn`: the leader judges a batch of requests against the provisional state. It ends as one entry's payload.

Every request whose outcome depends on state becomes a record, rejections and None too: a rejection that was judged on
a provisional state which is then lost would report what never happened.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from msgspec import Struct

from conflux import limits
from conflux.app import App
from conflux.errors import MalformedValue
from conflux.store import development
from conflux.store.machine import Machine, Step
from conflux.store.membership import Membership
from conflux.store.records import (
    Calls,
    Header,
    Record,
    SessionClosed,
    SessionOpened,
    StateHash,
    encode_payload,
    members_changed,
)
from conflux.store.session import Segment, Session
from conflux.usercode import let_ctrl_c_through, user_code
from conflux.wire import values
from conflux.wire.clients import Code, Outcome, Perform, Rejection
from conflux.wire.peers import HashedPoint

INTERNAL_TYPE_PREFIX = "@@conflux/"
_AT_SIGN = ord("@")
NO_REQUEST = 0  # clients count theirs from 1

_Planned: TypeAlias = tuple[str, Callable[..., Any] | None, list[Any]]  # name, method (None: a void), arguments


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that never reaches the log, and why."""

    code: Code
    message: str
    sequence: int = 0


class Judged(Struct, frozen=True):
    """What became of a Perform: segments to answer with, each once its entry is committed."""

    segments: list[Segment]
    rest: Perform | None = None  # calls that this turn had no room for


class Turn:
    """One batch on the leader, from the provisional machine on.

    Args:
        index, term: of the entry that this turn will become.
        clock: seconds, for the bound on a turn's time.
        agreed: the newest hash point whose hash a majority has.
        log_time_us, wall_time_us: now, by the log's clock and by the wall's.
    """

    def __init__(
        self,
        app: App[Any, Any],
        machine: Machine,
        *,
        index: int,
        term: int,
        log_time_us: int,
        wall_time_us: int,
        clock: Callable[[], float],
        agreed: HashedPoint | None = None,
    ) -> None:
        assert app.reduce is not None
        self._app = app
        self._step = Step(machine, app, index=index, term=term, log_time_us=log_time_us, wall_time_us=wall_time_us)
        self._log_time_s = self._step.log_time_us / 1e6
        self._first_revision = machine.revision + 1
        self._wall_time_us = wall_time_us
        self._records: list[Record] = []
        self._bytes = 0
        self._clock = clock
        self._checks = development.is_on()
        self._calls = 0
        self.slowest = ("", 0.0)  # the method that took longest here, and its seconds
        self._deadline_s = clock() + limits.TURN_JUDGE_SECONDS_MAX
        self._agreed = agreed

    @property
    def is_empty(self) -> bool:
        return not self._records

    @property
    def calls(self) -> int:
        """How many calls were judged, and sessions opened or closed."""
        return self._calls

    @property
    def is_full(self) -> bool:
        """True once a bound of the turn is reached: what is left waits for the next one."""
        return (
            self._calls >= limits.TURN_RECORDS_MAX
            or self._bytes >= limits.TURN_BYTES_MAX
            or self._clock() >= self._deadline_s
        )

    def open_session(self, seconds: int = limits.SESSION_SECONDS) -> int | Refusal:
        """Open a session. A full table takes no new one and drops no live one."""
        if len(self._step.sessions) >= limits.SESSIONS_MAX:
            return Refusal(Code.BUSY, f"{limits.SESSIONS_MAX:,} sessions are open")
        self._records.append(SessionOpened(seconds))
        self._calls += 1
        return self._step.open_session(seconds)

    def close_session(self, session: int) -> None:
        """Close a session, if it is still there."""
        if session in self._step.sessions:
            self._records.append(SessionClosed(session))
            self._calls += 1
            self._step.close_session(session)

    def change_members(self, membership: Membership) -> None:
        """Put other members in force; an entry that does so holds nothing else."""
        self._records.append(members_changed(membership))
        self._step.membership = membership

    def perform(self, request: Perform) -> Judged | Refusal:
        """Judge a session's calls: those that are new run, those that were judged before get their old outcome."""
        session = self._step.sessions.find(request.session)
        if session is None:
            return Refusal(Code.SESSION_EXPIRED, "the session has expired or was closed")
        end = request.first_sequence + len(request.calls)
        known = session.answers(request.first_sequence, end) if request.first_sequence < session.next_sequence else []
        if end <= session.next_sequence:
            return Judged(known)
        if request.first_sequence > session.next_sequence:
            return Refusal(Code.RESEND, f"send again from {session.next_sequence} on", session.next_sequence)
        if end - request.first_unanswered > limits.UNANSWERED_MAX:
            return Refusal(Code.BUSY, f"more than {limits.UNANSWERED_MAX:,} calls of the session are unanswered")
        calls = request.calls[session.next_sequence - request.first_sequence :]
        # What is left of a request was looked at as a whole before its beginning was judged: it is not looked at as
        # a whole again in every turn that takes some of it.
        to_plan = calls if request.request != NO_REQUEST else calls[: max(1, limits.TURN_RECORDS_MAX - self._calls)]
        began_s = self._clock()
        plan = self._plan(to_plan, session.next_sequence)
        if isinstance(plan, Refusal):
            return plan
        # The bound on a turn's time is there for methods. Would reading arguments use it up, a turn would run one.
        self._deadline_s += self._clock() - began_s
        segment = self._run(session, request, plan)
        if segment is None:
            return Judged(known, request)
        left = calls[len(segment.outcomes) :]
        if not left:
            return Judged([*known, segment])
        # Under no number: a refusal of the rest must not pass for one of the whole, whose beginning is in the log.
        rest = Perform(NO_REQUEST, session.id, request.first_unanswered, segment.end, left, request.when_appended)
        return Judged([*known, segment], rest)

    def finish(self) -> tuple[bytes, Machine]:
        """The entry's payload, and the machine once it is applied."""
        self._log_state_hash()
        header = Header(
            app_version=self._app.version,
            actions=self._step.revision + 1 - self._first_revision,
            first_revision=self._first_revision,
            log_time_us=self._step.log_time_us,
            wall_time_us=self._wall_time_us,
        )
        payload = encode_payload(header, self._records)
        return payload, self._step.end(payload)

    def _log_state_hash(self) -> None:
        """A hash that a majority has goes into the log, with whatever entry comes next."""
        agreed, step = self._agreed, self._step
        if agreed is None or agreed.revision <= step.hash_logged or not (self._records and agreed.state_hash):
            return
        if step.knows_point_at(agreed.revision):
            self._records.append(StateHash(agreed.revision, agreed.state_hash))
            step.hash_logged = agreed.revision

    def _plan(self, calls: list[tuple[str, bytes]], first_sequence: int) -> list[_Planned] | Refusal:
        """What is to be run; refused as a whole where a call could not run in any state."""
        plan: list[_Planned] = []
        methods = self._app.methods
        function, before, fitting = None, "", 0  # the method that was looked at last, and how many arguments fitted
        for sequence, (name, packed) in enumerate(calls, first_sequence):
            if not name:
                plan.append(("", None, []))
                continue
            if name != before:  # as a rule all are the same
                function, before, fitting = methods.get(name), name, -1
            if function is None:
                known = ", ".join(sorted(methods))
                return Refusal(Code.UNKNOWN_METHOD, f"there is no method {name!r}: the app has {known}", sequence)
            try:
                arguments = values.decode(packed)
            except MalformedValue as error:
                return Refusal(Code.BAD_ARGUMENTS, str(error), sequence)
            if type(arguments) is not list:
                return Refusal(Code.BAD_ARGUMENTS, f"{name}: arguments are a list", sequence)
            if len(arguments) != fitting:
                problem = arguments_problem(function, len(arguments))
                if problem:
                    return Refusal(Code.BAD_ARGUMENTS, f"{name}: {problem}", sequence)
                fitting = len(arguments)
            plan.append((name, function, arguments))
        return plan

    def _run(self, session: Session, request: Perform, plan: list[_Planned]) -> Segment | None:
        """Judge as many of a session's calls as this turn has room for."""
        if self._calls and self.is_full:
            return None
        step = self._step
        first_sequence, first_revision = session.next_sequence, step.revision + 1
        outcomes = self._judge(plan[: limits.TURN_RECORDS_MAX - self._calls])
        self._calls += len(outcomes)
        names = [name for name, _, _ in plan[: len(outcomes)]]
        methods = names[:1] if names.count(names[0]) == len(names) else names
        self._bytes += sum(len(name.encode()) for name in methods)
        first_unanswered = min(request.first_unanswered, first_sequence)
        self._records.append(Calls(session.id, first_unanswered, first_sequence, methods, outcomes))
        return step.settle(
            session,
            first_unanswered=first_unanswered,
            first_sequence=first_sequence,
            outcomes=outcomes,
            first_revision=first_revision,
        )

    def _judge(self, plan: list[_Planned]) -> list[Outcome]:
        """Run one method after the other, and the reducer on what it returns: the state moves, or the call is rejected.

        It ends early, though not before the first, where the turn's time or bytes are used up: the rest waits. All is
        in one loop and in local names, since this is what a leader does most.
        """
        app, step, checks, clock, bytes_max = self._app, self._step, self._checks, self._clock, limits.TURN_BYTES_MAX
        encode, reduce, state, reduced = values.encode_with_copy, step.reducer, step.state, 0
        log_time_s, deadline_s, (slowest, slowest_s) = self._log_time_s, self._deadline_s, self.slowest
        outcomes: list[Outcome] = []
        looked_s = clock()
        with user_code() as inside:
            for name, function, arguments in plan:
                outcome: Outcome = None
                if function is not None:
                    inside.log_time_s, in_reducer = log_time_s, False
                    try:
                        if checks:
                            development.check_method(app, function, state, arguments)
                        action = function(state, *arguments)
                        inside.log_time_s = None  # a reducer has no clock
                        if type(action) is not dict and isinstance(action, BaseException):
                            outcome = self._rejected(action)
                        elif action is not None:
                            packed, action = encode(action)
                            if _AT_SIGN in packed:  # few have one, and to look for a byte takes next to no time
                                _refuse_internal_type(action)
                            in_reducer = True
                            if checks:
                                development.check_reducer(app, state, packed)
                            state = reduce(state, action)
                            reduced += 1
                            outcome = packed
                            self._bytes += len(packed)
                    except BaseException as error:  # whatever a user's method or reducer raises is the call's answer
                        inside.log_time_s = None
                        let_ctrl_c_through(error)
                        outcome = self._rejected(error, by_reducer=in_reducer)
                outcomes.append(outcome)
                now_s = clock()
                if now_s - looked_s > slowest_s:
                    slowest, slowest_s = name, now_s - looked_s
                looked_s = now_s
                if now_s >= deadline_s or self._bytes >= bytes_max:
                    break
        step.state, step.revision = state, step.revision + reduced
        self.slowest = (slowest, slowest_s)
        return outcomes

    def _rejected(self, error: BaseException, *, by_reducer: bool = False) -> Rejection:
        try:
            text = str(error)
        except BaseException as another:  # an exception of the user's whose text can't be had
            let_ctrl_c_through(another)
            text = ""
        message = text.encode("utf-8", "replace")[: limits.ERROR_TEXT_BYTES_MAX].decode("utf-8", "ignore")
        self._bytes += len(message)
        return Rejection(type(error).__name__[: limits.METHOD_NAME_BYTES_MAX], message, by_reducer)


def _refuse_internal_type(action: Any) -> None:
    kind = action.get("type") if type(action) is dict else None
    if type(kind) is str and kind.startswith(INTERNAL_TYPE_PREFIX):
        raise MalformedValue(f"an action's type must not begin with {INTERNAL_TYPE_PREFIX}")


@lru_cache(maxsize=1024)
def arguments_problem(function: Callable[..., Any], count: int) -> str | None:
    """Why a method can't be called with `count` arguments; None where it can."""
    try:
        inspect.signature(function).bind(None, *range(count))
    except TypeError as error:
        return str(error)
    except ValueError:
        return None  # a builtin without a signature: the call itself will tell
    return None
