"""`Machine`: all that the log folds into, as one immutable value. One is kept per uncommitted entry.

The leader's turn (`store.turn`) and the fold of a committed entry (`fold`) both work through `Step`, so that a leader's
provisional machine after an entry *is* the committed machine once that entry commits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from msgspec import Struct, field

from conflux import limits
from conflux.app import App
from conflux.errors import ConfluxError, Diverged, MalformedValue
from conflux.raft.entry import Entry
from conflux.store import development, records
from conflux.store.dumps import copied, encoder_of
from conflux.store.hash_points import HashPoint
from conflux.store.membership import NOBODY, Membership
from conflux.store.records import Calls, Header, MembersChanged, SessionClosed, SessionOpened, StateHash
from conflux.store.session import Segment, Session, session_id
from conflux.store.session_table import SessionTable
from conflux.usercode import let_ctrl_c_through, user_code
from conflux.wire import values
from conflux.wire.clients import Outcome
from conflux.wire.states import DIGEST_BYTES

NEVER_US = 2**62


class Machine(Struct, frozen=True, kw_only=True):
    """What entries 1..index fold into."""

    index: int
    term: int
    revision: int  # of the last action
    state: Any
    sessions: SessionTable = field(default_factory=SessionTable)
    membership: Membership = NOBODY
    log_time_us: int = 0
    log_hash: bytes = bytes(DIGEST_BYTES)  # rolls over every entry's payload
    sweep_us: int = NEVER_US  # log time at which a session may first have expired
    hash_point: HashPoint  # the newest
    earlier_points: tuple[HashPoint, ...] = ()  # some before it, all of them done
    bytes_since_hash_point: int = 0
    hash_logged: int = 0  # the last hash point's revision whose hash stands in the log

    @classmethod
    def initial(cls, app: App[Any, Any]) -> Machine:
        """The machine before the first entry.

        Raises:
            ConfluxError: the reducer has no initial state that a node can keep.
        """
        if app.reduce is None:
            raise ConfluxError("the app has no reducer")
        try:
            with user_code():
                state = app.reduce(None, None)
        except BaseException as error:
            let_ctrl_c_through(error)
            reason = f"{type(error).__name__}: {error}"
            raise ConfluxError(f"the reducer fails at the initial state: {reason}") from error
        point = HashPoint(0, state, encoder_of(app)).finish()
        problem = point.problem
        if problem is None and app.load is not None:
            try:
                copied(app, state)
            except MalformedValue as error:
                problem = str(error)
        if problem:
            raise ConfluxError(f"the reducer's initial state can't be kept: {problem}")
        return cls(index=0, term=0, revision=0, state=state, hash_point=point)

    @property
    def oldest_point(self) -> HashPoint:
        """The oldest hash point that is known."""
        return self.earlier_points[0] if self.earlier_points else self.hash_point

    def point_at(self, revision: int) -> HashPoint | None:
        """The hash point at a revision, if it is one of the last few."""
        points = (*self.earlier_points, self.hash_point)
        return next((point for point in reversed(points) if point.revision == revision), None)


class Step:
    """One entry's work on a machine, record by record; `end` gives the machine after it."""

    def __init__(
        self, machine: Machine, app: App[Any, Any], *, index: int, term: int, log_time_us: int, wall_time_us: int
    ) -> None:
        assert app.reduce is not None
        self.index = index
        self.term = term
        self.log_time_us = max(log_time_us, machine.log_time_us)
        self._wall_time_us = wall_time_us
        self.revision = machine.revision
        self.state = machine.state
        self.sessions = machine.sessions
        self.membership = machine.membership
        self._machine = machine
        self._app = app
        self.reducer: Callable[[Any, Any], Any] = app.reduce
        self._checks = development.is_on()
        self._opened = 0
        self.hash_logged = machine.hash_logged
        self._sweep_us = machine.sweep_us
        if self.log_time_us >= self._sweep_us:
            self._sweep()

    def knows_point_at(self, revision: int) -> bool:
        """True where the machine that this begins with knows a hash point at a revision."""
        return self._machine.point_at(revision) is not None

    def open_session(self, seconds: int) -> int:
        """Open a session and give its id."""
        new = session_id(self.index, self._opened)
        self._opened += 1
        session = Session(id=new, seconds=seconds, last_used_us=self.log_time_us)
        self.sessions = self.sessions.set(session)
        self._sweep_us = min(self._sweep_us, session.expires_us)
        return new

    def close_session(self, session: int) -> None:
        """Close a session, if it is still there."""
        self.sessions = self.sessions.discard(session)

    def reduce_all(self, outcomes: list[Outcome]) -> None:
        """Fold the actions among these, decoded from their bytes as every node decodes them.

        Where the reducer raises, `revision` is that of the last one that it folded.
        """
        reduce, decode, checks, state, folded = self.reducer, values.decode_trusted, self._checks, self.state, 0
        try:
            for outcome in outcomes:
                if type(outcome) is bytes:
                    if checks:
                        development.check_reducer(self._app, state, outcome)
                    state = reduce(state, decode(outcome))
                    folded += 1
        finally:
            self.state = state
            self.revision += folded

    def settle(
        self,
        session: Session,
        *,
        first_unanswered: int,
        first_sequence: int,
        outcomes: list[Outcome],
        first_revision: int,
    ) -> Segment:
        """Keep the outcomes of calls whose actions are reduced."""
        segment = Segment(
            first_sequence=first_sequence,
            outcomes=outcomes,
            index=self.index,
            first_revision=first_revision,
            term=self.term,
            wall_time_us=self._wall_time_us,
        )
        after = session.with_outcomes(segment, first_unanswered=first_unanswered, log_time_us=self.log_time_us)
        self.sessions = self.sessions.set(after)
        return segment

    def end(self, payload: bytes) -> Machine:
        """The machine after this entry, whose payload is now known."""
        before = self._machine
        since = before.bytes_since_hash_point + len(payload)
        log_hash = hashlib.blake2b(before.log_hash + payload, digest_size=DIGEST_BYTES).digest()
        point, earlier = before.hash_point, before.earlier_points
        if since > limits.HASH_POINT_BYTES_MIN and point.is_shorter_than(since):
            earlier = (*earlier, point)[-limits.HASH_POINTS_KEPT + 1 :]
            encode = encoder_of(self._app)
            point, since = HashPoint(self.revision, self.state, encode, index=self.index, log_hash=log_hash), 0
        return Machine(
            index=self.index,
            term=self.term,
            revision=self.revision,
            state=self.state,
            sessions=self.sessions,
            membership=self.membership,
            log_time_us=self.log_time_us,
            log_hash=log_hash,
            sweep_us=self._sweep_us,
            hash_point=point,
            earlier_points=earlier,
            bytes_since_hash_point=since,
            hash_logged=self.hash_logged,
        )

    def _sweep(self) -> None:
        """Drop the sessions that have expired: by log time, so that all nodes drop the same ones at the same entry."""
        gone = [session.id for session in self.sessions.values() if session.expires_us <= self.log_time_us]
        for session in gone:
            self.sessions = self.sessions.discard(session)
        self._sweep_us = min((session.expires_us for session in self.sessions.values()), default=NEVER_US)


def fold(machine: Machine, entry: Entry, app: App[Any, Any]) -> Machine:
    """The machine after one more committed entry.

    Raises:
        Diverged: the reducer raised, though it did not on the leader, or the log's hash of the state is not ours.
        Damaged: the entry doesn't decode.
    """
    header = records.header_of(entry.payload)
    _check(header, machine, app)
    step = Step(
        machine,
        app,
        index=entry.index,
        term=entry.term,
        log_time_us=header.log_time_us,
        wall_time_us=header.wall_time_us,
    )
    for record in records.records_of(entry.payload):
        match record:
            case Calls():
                _fold_calls(step, record)
            case SessionOpened():
                step.open_session(record.seconds)
            case SessionClosed():
                step.close_session(record.session)
            case StateHash():
                _compare(machine, record)
                step.hash_logged = record.revision
            case MembersChanged():
                step.membership = record.membership()
    return step.end(entry.payload)


def _check(header: Header, machine: Machine, app: App[Any, Any]) -> None:
    if header.app_version != app.version:
        raise Diverged(
            f"the entry after revision {machine.revision} was made by version {header.app_version} of the app, "
            f"and this is version {app.version}"
        )
    if header.first_revision != machine.revision + 1:
        raise Diverged(f"the log goes on with revision {header.first_revision}, this state with {machine.revision + 1}")


def _fold_calls(step: Step, calls: Calls) -> None:
    first_revision = step.revision + 1
    try:
        with user_code():
            step.reduce_all(calls.outcomes)
    except BaseException as error:
        let_ctrl_c_through(error)
        raise Diverged(
            f"the reducer raised at revision {step.revision + 1}, which it did not on the leader: "
            f"{type(error).__name__}: {error}",
            since_revision=step.revision,
            revision=step.revision + 1,
            raised=True,
        ) from error
    session = step.sessions.find(calls.session)
    if session is None:
        raise Diverged(f"the log uses session {calls.session}, which this node does not have")
    step.settle(
        session,
        first_unanswered=calls.first_unanswered,
        first_sequence=calls.first_sequence,
        outcomes=calls.outcomes,
        first_revision=first_revision,
    )


def _compare(machine: Machine, record: StateHash) -> None:
    """Hold our own hash against the one in the log: that a majority had, when it was logged.

    Where ours is still being worked out, whoever does that looks at it in the end: a large state must not stop us.
    """
    mine = machine.point_at(record.revision)
    if mine is None and record.revision < machine.oldest_point.revision:
        return  # a machine out of a snapshot knows no hash before its own
    if mine is not None:
        mine.expected = record.digest
    if mine is None or mine.is_contradicted:
        raise contradicted(record.revision, since_revision=machine.hash_logged)


def contradicted(revision: int, *, since_revision: int) -> Diverged:
    """The error where the log holds another hash of the state at a revision."""
    text = f"the state at revision {revision} is not the one that the cluster agreed on"
    return Diverged(text, since_revision=since_revision, revision=revision)
