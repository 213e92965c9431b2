"""The end of a run: every outcome is held against the log's order, worked out once more from the beginning.

The log says in which order calls took effect. Run again in that order, each method must say what its caller was told:
rejections and "nothing" are outcomes like any other, and right only in the state at their place.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from math import inf
from typing import Any

from conflux.app import App
from conflux.client.committed import Committed
from conflux.errors import Closed, MethodRejected, NotApplied, ReducerFailed, UnknownMethod
from conflux.raft.entry import Entry
from conflux.store.dumps import dumped
from conflux.store.records import Calls, Header, SessionOpened, header_of, method_names, records_of
from conflux.store.session import session_id
from conflux.testing.history import Call, History, Read, Watched
from conflux.testing.linearizability import Slotted, check_real_time
from conflux.testing.violation import require
from conflux.usercode import inside, let_ctrl_c_through
from conflux.wire import values
from conflux.wire.clients import Outcome, Rejection

FICKLE_TRIES = 8


@dataclass(frozen=True, slots=True)
class Placed:
    """Where in the log a call took effect, and what its caller must have been told."""

    position: int  # among all calls of the log
    entry: Entry
    header: Header
    revisions_before: int
    revision: int | None  # where it dispatched an action
    outcome: Outcome

    @property
    def slot(self) -> int:
        """Its place where calls that changed nothing, and reads, may stand anywhere between two actions."""
        return 2 * self.revisions_before + (self.revision is not None)


class Judge:
    """Runs a log again.

    Attributes:
        placed: where each call took effect, by the call's number.
        events: (method, action, entry) of revisions 1, 2, 3 …
        terms: of the log's entries, by index.
        states, revisions: after each entry; the first is the initial one.
        states_of_revisions: after each action.
    """

    def __init__(self, app: App[Any, Any], history: History) -> None:
        assert app.reduce is not None
        self.placed: dict[int, Placed] = {}
        self.events: list[tuple[str, Any, Entry]] = []
        self.states: list[Any] = [app.reduce(None, None)]
        self.revisions = [0]
        self.terms: dict[int, int] = {}  # of the log's entries, by index
        self.states_of_revisions: list[Any] = [self.states[0]]
        self.app = app
        self._reduce = app.reduce
        self._history = history
        self._next_sequence: dict[int, int] = {}
        self._position = 0
        self._log_time_us = 0

    def shows(self, revision: int, read: Any) -> bool:
        """True where this is what a reader sees of the state at a revision."""
        return bool(dumped(self.app, self.states_of_revisions[revision]) == read)

    def run_again(self, log: Sequence[Entry]) -> None:
        """Every method and every reduction of the log, in its order."""
        state = self.states[0]
        for entry in log:
            header = header_of(entry.payload)
            self.terms[entry.index] = entry.term
            require(header.first_revision == len(self.events) + 1, "revisions count actions: {}, {}", header, entry)
            require(header.log_time_us >= self._log_time_us, "log time never goes back: {} at {}", header, entry.index)
            self._log_time_us = header.log_time_us
            opened = 0
            for record in records_of(entry.payload):
                if isinstance(record, Calls):
                    state = self._calls(state, record, entry, header)
                elif isinstance(record, SessionOpened):
                    self._next_sequence[session_id(entry.index, opened)] = 0
                    opened += 1
            self.states.append(state)
            self.revisions.append(len(self.events))

    def _calls(self, state: Any, record: Calls, entry: Entry, header: Header) -> Any:
        expected = self._next_sequence.get(record.session)
        sentence = "a session's calls take effect once, in order, without a gap: {} where {} comes next, of session {}"
        require(record.first_sequence == expected, sentence, record.first_sequence, expected, record.session)
        self._next_sequence[record.session] = record.first_sequence + len(record.outcomes)
        pairs = zip(method_names(record), record.outcomes, strict=True)
        for sequence, (method, outcome) in enumerate(pairs, record.first_sequence):
            state = self._call(state, record.session, sequence, method, outcome, entry, header)
        return state

    def _call(
        self, state: Any, session: int, sequence: int, method: str, outcome: Outcome, entry: Entry, header: Header
    ) -> Any:
        self._position += 1
        if not method:
            require(outcome is None, "a void does nothing: {} of session {}", sequence, session)
            return state
        call = self._history.sent.get((session, sequence))
        require(call is not None, "nobody made call {} of session {} at {}", sequence, session, entry.index)
        assert call is not None
        require(call.number not in self.placed, "applied exactly once: {} at {} again", call, entry.index)
        require(call.method == method, "the log says {}: {}", method, call)
        again, after = self._perform(state, call, header)
        if again != outcome and self._is_fickle(state, call, header, again):
            # A method may ask the time or draw lots, since it runs on the leader alone: what it said then counts.
            again, after = self._recall(state, outcome)
        require(again == outcome, "the log says {!r}, but in that state it is {!r}: {}", outcome, again, call)
        before, revision = len(self.events), None
        if type(outcome) is bytes:
            self.events.append((method, values.decode_trusted(outcome), entry))
            self.states_of_revisions.append(after)
            revision = len(self.events)
        self.placed[call.number] = Placed(self._position, entry, header, before, revision, outcome)
        return after

    def _perform(self, state: Any, call: Call, header: Header) -> tuple[Outcome, Any]:
        """What the method says in this state, and the state after it."""
        here = inside()
        here.log_time_s = header.log_time_us / 1e6
        try:
            action = self.app.methods[call.method](state, *call.args)
        except BaseException as error:
            let_ctrl_c_through(error)
            action = error
        finally:
            here.log_time_s = None
        if action is None:
            return None, state
        if isinstance(action, BaseException):
            return Rejection(type(action).__name__, str(action)), state
        packed = values.encode(action)
        try:
            return packed, self._reduce(state, values.decode_trusted(packed))
        except BaseException as error:
            let_ctrl_c_through(error)
            return Rejection(type(error).__name__, str(error), by_reducer=True), state

    def _is_fickle(self, state: Any, call: Call, header: Header, first: Outcome) -> bool:
        """True where the method of an app that is not ours says one thing now and another then."""
        return any(self._perform(state, call, header)[0] != first for _ in range(FICKLE_TRIES))

    def _recall(self, state: Any, outcome: Outcome) -> tuple[Outcome, Any]:
        after = self._reduce(state, values.decode_trusted(outcome)) if type(outcome) is bytes else state
        return outcome, after


def check_calls(judge: Judge, calls: Sequence[Call], *, refusals_are_proof: bool) -> None:
    """Each caller was told what happened, calls of one client took effect in order, and real time was kept."""
    last: dict[str, int] = {}
    for call in calls:
        placed = judge.placed.get(call.number)
        if placed is not None:
            in_order = last.get(call.client, 0) < placed.position
            require(in_order, "calls of one client take effect in their order: {} at {}", call, placed.entry.index)
            last[call.client] = placed.position
        _check_result(judge, call, placed, refusals_are_proof=refusals_are_proof)


def _check_result(judge: Judge, call: Call, placed: Placed | None, *, refusals_are_proof: bool) -> None:
    result = call.result
    match result:
        case UnknownMethod() | NotApplied() | Closed():
            require(placed is None or not refusals_are_proof, "told that it is not applied, and it is: {}", call)
        case MethodRejected() if str(result).startswith(f"{call.method}: ") and placed is None:
            pass  # its arguments don't fit
        case Committed() if call.appended:
            # Its entry may be lost; where it is not, it holds the call.
            if judge.terms.get(result.index) == result.term:
                there = placed is not None and placed.entry.index == result.index
                require(there, "told that it is in an entry, which is committed without it: {}", call)
        case MethodRejected() if call.appended:
            pass  # likewise, and it names no entry
        case Committed():
            require(placed is not None, "acknowledged is never lost: {}", call)
            assert placed is not None
            told = (result.revision, result.index, result.term, result.time_us, result.action)
            action = None if placed.outcome is None else values.decode_trusted(_bytes(placed.outcome, call))
            true = (placed.revision, placed.entry.index, placed.entry.term, placed.header.wall_time_us, action)
            require(told == true, "told {}, and it is {}: {}", told, true, call)
        case MethodRejected():
            require(placed is not None, "a rejection is never lost: {}", call)
            assert placed is not None
            outcome = placed.outcome
            require(isinstance(outcome, Rejection), "told of a rejection, and it was none: {}: {!r}", call, outcome)
            assert isinstance(outcome, Rejection)
            text = f"{outcome.type}: {outcome.message}" if outcome.message else outcome.type
            same = str(result) == text and isinstance(result, ReducerFailed) == outcome.by_reducer
            require(same, "told {!r}, and it is {!r}: {}", result, outcome, call)


def _bytes(outcome: Outcome, call: Call) -> bytes:
    require(type(outcome) is bytes, "told that it is committed, and it is rejected: {}: {!r}", call, outcome)
    assert type(outcome) is bytes
    return outcome


def check_order(judge: Judge, history: History) -> list[tuple[int, Read]]:
    """Calls and linearizable reads took effect between being asked and being answered; all reads show true states.

    Calls among themselves took effect in the order of the log. A read, or a call that changed nothing, may stand
    anywhere between the two actions around it: nobody could tell the difference.

    Returns:
        Each linearizable read, with its slot among those of `Placed`.
    """
    calls, everything = [], []
    for call in history.calls:
        placed = judge.placed.get(call.number)
        if placed is not None:
            told = isinstance(call.result, Committed | MethodRejected) and not call.appended
            returned_s = call.returned_s if told else inf
            calls.append(Slotted(placed.position, call.invoked_s, returned_s, call))
            everything.append(Slotted(placed.slot, call.invoked_s, returned_s, call))
    reads, unnamed = [], []
    for read in history.reads:
        if read.index < 0:
            unnamed.append(read)
            continue
        revision = _revision_of(judge, read)
        if read.linearizable:
            reads.append(Slotted(2 * revision, read.invoked_s, read.returned_s, read))
    reads += _placed_reads(judge, unnamed, [*everything, *reads])
    check_real_time(calls)
    check_real_time([*everything, *reads])
    return [(slotted.slot, slotted.what) for slotted in reads]


def _placed_reads(judge: Judge, reads: Sequence[Read], others: Sequence[Slotted]) -> list[Slotted]:
    """Reads through the node itself, which are told the state alone: it may have been that of several revisions.

    Each gets the first one that real time leaves it. A later one would leave less to the reads behind it, so a history
    in which this goes wrong has no other way to go right.
    """
    over = sorted((other.returned_s, other.slot) for other in others)
    highest = [0, *accumulate((slot for _, slot in over), max)]
    placed: list[Slotted] = []
    for read in sorted(reads, key=lambda read: read.invoked_s):
        earlier = [before.slot for before in placed if before.returned_s < read.invoked_s]
        slot = max([highest[bisect_left(over, (read.invoked_s, 0))], *earlier])
        first = -(-slot // 2)
        behind = chain(range(first, len(judge.states_of_revisions)), reversed(range(first)))
        revision = next((each for each in behind if judge.shows(each, read.state)), None)
        require(revision is not None, "a read shows a state that was: {}", read)
        assert revision is not None
        placed.append(Slotted(2 * revision, read.invoked_s, read.returned_s, read))
    return placed


def _revision_of(judge: Judge, read: Read) -> int:
    """The revision that a read shows."""
    require(read.index < len(judge.states), "a read shows index {}, which was never committed: {}", read.index, read)
    require(read.state == dumped(judge.app, judge.states[read.index]), "a read shows the state at its index: {}", read)
    require(read.revision == judge.revisions[read.index], "a read names the revision at its index: {}", read)
    return read.revision


def check_watch(judge: Judge, watched: Watched) -> None:
    """A watch was told every action from its first one on, once and in order."""
    for revision, told in enumerate(watched.events, watched.first_revision):
        require(told.revision == revision, "a watch has no gap: {} where {} comes next", told, revision)
        require(revision <= len(judge.events), "a watch was told of {}, which was never committed", revision)
        method, action, entry = judge.events[revision - 1]
        true = (entry.index, entry.term, action, method)
        same = (told.index, told.term, told.action, told.method) == true
        require(same, "a watch was told {}, and it is {}", told, true)
