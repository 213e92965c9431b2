"""`Call`: one call on its way, and who is told what becomes of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeAlias

from msgspec import Struct, structs

from conflux.client.committed import Committed, Unread
from conflux.client.rejections import rejected
from conflux.errors import ConfluxError
from conflux.wire.clients import Answers, Appended, Outcome, Rejection

Result: TypeAlias = Committed | ConfluxError


class Caller(Protocol):
    """Who made a call. A method and no plain callable: Python calls a method in half the time of an object."""

    def settle(self, result: Result | Unread) -> None:
        """Hear what became of it."""


class Call(Struct, gc=False):
    """One call on its way. The collector does not look at it: what it is part of ends when its caller is told."""

    method: str
    arguments: bytes
    deadline_s: float | None
    caller: Caller | None  # None: it has been told
    when_appended: bool = False  # its caller is content once the leader has it on its disk

    def tell(self, result: Result) -> None:
        """Tell the caller, once."""
        caller, self.caller = self.caller, None
        if caller is not None:
            caller.settle(result)

    def make_void(self) -> None:
        """Give the call up: its number is filled with nothing."""
        self.method, self.arguments = "", b""


def halves(answers: Answers) -> tuple[Answers, Answers]:
    """The same answers as two messages."""
    outcomes, middle = answers.outcomes, len(answers.outcomes) // 2
    first_half = outcomes[:middle]
    actions = sum(type(outcome) is bytes for outcome in first_half)
    return (
        structs.replace(answers, outcomes=first_half),
        structs.replace(
            answers,
            first_sequence=answers.first_sequence + middle,
            outcomes=outcomes[middle:],
            first_revision=answers.first_revision + actions,
        ),
    )


def tell_outcomes(
    calls: Iterable[Call], outcomes: Iterable[Outcome], told_by: Answers | Appended, revision: int | None
) -> None:
    """Tell callers what became of their calls; the first action has this revision, the others count on from it.

    This is done for every call of a client: one loop, which calls as little as can be.
    """
    index, term = told_by.index, told_by.term
    time_us = told_by.time_us if isinstance(told_by, Answers) else 0
    for call, outcome in zip(calls, outcomes, strict=False):
        result: Result | Unread
        if type(outcome) is bytes:  # asked first: `isinstance` of a struct takes Python long
            result = Unread(revision, index, term, time_us, outcome, call.method)
            if revision is not None:
                revision += 1
        elif isinstance(outcome, Rejection):
            result = rejected(outcome)
        else:
            result = Committed(None, index, term, time_us, None, call.method)
        caller, call.caller = call.caller, None
        if caller is not None:
            caller.settle(result)
