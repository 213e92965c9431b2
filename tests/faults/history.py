"""What clients did and what they were told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf


class Outcome(StrEnum):
    """What a client was told of one operation."""

    APPENDED = "appended"
    NOTHING = "nothing"
    REJECTED = "rejected"
    READ = "read"
    NOT_APPLIED = "not applied"  # never: it must not be in the log
    UNKNOWN = "unknown"  # maybe
    FAILED = "failed"  # a read without an answer: says nothing
    BROKEN = "broken"  # an error that no client should ever see


LINEARIZABLE, LOCAL = "read", "read_local"  # the operations that aren't methods of the app


@dataclass(slots=True)
class Operation:
    """One call or read of one client."""

    client: str  # whose operations follow one another: it waits for each
    number: int
    what: str  # a method, LINEARIZABLE or LOCAL
    value: str  # unique in the history; empty for a read
    invoked_s: float
    returned_s: float = inf  # never, for one whose outcome is unknown
    outcome: Outcome = Outcome.UNKNOWN
    text: str = ""  # of the rejection or the error
    length: int = -1  # of the list that was read
    chain: str = ""  # its hash
