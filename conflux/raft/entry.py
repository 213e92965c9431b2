"""A log entry. To the core its payload is opaque: one entry carries all records of a turn."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Kind(IntEnum):
    """What the core has to know of an entry; what the payload means is the store's affair."""

    NOOP = 0  # the first entry of each term (section 8 of the paper)
    RECORDS = 1  # requests and other records of the store
    MEMBERSHIP = 2  # a configuration: takes effect when it is appended (thesis, chapter 4)


@dataclass(frozen=True, slots=True)
class Entry:
    """One slot of the replicated log."""

    index: int  # position in the log, from 1
    term: int  # the term of the leader that made it
    kind: Kind
    payload: bytes
