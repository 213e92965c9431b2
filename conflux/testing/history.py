"""What clients did and what came of it: the history that checkers judge."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from math import inf
from typing import Any

from conflux.client.call import Result
from conflux.client.committed import Committed
from conflux.testing.violation import require
from conflux.wire import values
from conflux.wire.clients import Perform


@dataclass(slots=True)
class Call:
    """One call of one client.

    `result` is None while its caller waits, and where its caller died.
    """

    number: int  # of all calls of the run, in the order in which they were submitted
    client: str  # one Requester: its calls take effect in the order of their numbers
    method: str
    args: list[Any]
    appended: bool  # content once the leader has it on its disk: what it is told may still be undone
    invoked_s: float
    arguments: bytes = field(default=b"", repr=False)
    returned_s: float = inf
    result: Result | None = None
    session: int | None = None  # the last one in which it was sent


@dataclass(slots=True)
class Read:
    """One read that was answered."""

    client: str
    linearizable: bool
    node: str
    invoked_s: float
    returned_s: float
    revision: int
    index: int
    state: Any


@dataclass(slots=True)
class Watched:
    """What one watch was told."""

    client: str
    first_revision: int = 0
    events: list[Committed] = field(default_factory=list)
    is_over: bool = False  # it ended at a gap


class History:
    """Takes note of all that clients do.

    Attributes:
        inherited: calls of the cluster that this one was made of, as far as they were made before that.
    """

    def __init__(self, now_s: Callable[[], float], answered: Callable[[Call], None]) -> None:
        self.calls: list[Call] = []
        self.inherited: list[Call] = []
        self.reads: list[Read] = []
        self.watches: list[Watched] = []
        self.sent: dict[tuple[int, int], Call] = {}  # (session, sequence) → the call that has this number
        self._now_s = now_s
        self._answered = answered
        self._by_arguments: dict[int, Call] = {}  # by identity of the bytes, which a Requester hands on as they are

    def inherit(self, other: History, sessions: Collection[int]) -> None:
        """Go on where another cluster's log ends in which these sessions were opened. Its calls keep their numbers."""
        self.inherited = [*other.inherited, *other.calls]
        self.sent = {at: call for at, call in other.sent.items() if at[0] in sessions}

    def begin(self, client: str, method: str, args: list[Any], *, appended: bool = False) -> Call:
        """A client submits a call."""
        call = Call(len(self.inherited) + len(self.calls), client, method, args, appended, self._now_s())
        # Small bytes objects are shared in CPython: this longer form of a list's header never is.
        call.arguments = b"\xdc" + len(args).to_bytes(2, "big") + b"".join(values.encode(value) for value in args)
        self.calls.append(call)
        self._by_arguments[id(call.arguments)] = call
        return call

    def end(self, call: Call, result: Result) -> None:
        """A call's caller is told."""
        require(call.result is None, "a caller is told once: {}", call)
        call.result = result
        call.returned_s = self._now_s()
        self._answered(call)

    def was_sent(self, request: Perform) -> None:
        """A Perform is about to leave a client."""
        for sequence, (_, arguments) in enumerate(request.calls, request.first_sequence):
            call = self._by_arguments.get(id(arguments))
            if call is not None:
                call.session = request.session
                first = self.sent.setdefault((request.session, sequence), call)
                require(first is call, "a number stays with its call: {} is of {} and of {}", sequence, first, call)
