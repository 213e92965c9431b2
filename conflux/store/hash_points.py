"""Hash points: the revisions at which all nodes hash their state, to hold the hashes against each other.

Where they lie is a function of the log and of the state: the first entry end at which the log since the last one
exceeds 64 KiB and the state's own size. So the work of hashing is never more than in proportion to the log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from conflux.errors import MalformedValue
from conflux.store.dumps import Encode
from conflux.wire.peers import HashedPoint, Hashes
from conflux.wire.states import DIGEST_BYTES, encode_slices

NO_ENCODING = b""  # what stands for the hash of a state that has none


class HashPoint:
    """A state that is being hashed, in slices between turns.

    Args:
        encode: of the app whose state it is.
    """

    def __init__(
        self,
        revision: int,
        state: Any,
        encode: Encode = encode_slices,
        *,
        index: int = 0,
        log_hash: bytes = bytes(DIGEST_BYTES),
    ) -> None:
        self.revision = revision
        self.index = index
        self.log_hash = log_hash
        self.digest: bytes | None = None
        self.expected: bytes | None = None  # the hash in the log, once that is folded
        self.problem: str | None = None  # why the state has no encoding
        self.is_frozen = False  # it was hashed, and there is nothing in it that could be changed
        self.bytes_total = 0
        self._hasher = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._slices: Generator[bytes, None, bool] | None = encode(state)

    @classmethod
    def known(cls, revision: int, digest: bytes, bytes_total: int, *, index: int, log_hash: bytes) -> HashPoint:
        """One whose hash was worked out before: by another node, or before a restart."""
        point = cls(revision, None, index=index, log_hash=log_hash)
        point.digest, point.bytes_total, point._slices = digest, bytes_total, None
        return point

    @property
    def done(self) -> bool:
        return self._slices is None

    @property
    def is_contradicted(self) -> bool:
        """True where the log holds another hash."""
        return self.done and self.expected is not None and self.expected != self.digest

    def work(self) -> bool:
        """Hash one slice. True while there is more."""
        if self._slices is None:
            return False
        try:
            part = next(self._slices)
        except StopIteration as end:
            self.is_frozen = end.value
        except MalformedValue as error:
            self.problem = str(error)
        except RuntimeError as error:  # a dict or a vector says so when it changes under an iterator
            self.problem = f"the state changed while it was hashed: {error}"
        else:
            self._hasher.update(part)
            self.bytes_total += len(part)
            return True
        self.digest = None if self.problem else self._hasher.digest()
        self._slices = None
        return False

    def finish(self) -> HashPoint:
        """Hash the rest now."""
        while self.work():
            pass
        return self

    def is_shorter_than(self, size: int) -> bool:
        """True where the state's encoding has fewer bytes. Hashes no further than it takes to know."""
        while self.bytes_total < size and self.work():
            pass
        return self.done and self.bytes_total < size

    def hashed(self) -> HashedPoint:
        """What is told of this point, once it is done."""
        return HashedPoint(self.index, self.revision, self.log_hash, self.digest or NO_ENCODING)


class Verdict(Enum):
    """What the members' hashes say of one's own at a hash point."""

    OPEN = "open"  # not enough is known, and nothing contradicts
    AGREED = "agreed"  # a majority has the same hash
    OUTVOTED = "outvoted"  # a majority has another one, or could not fold the log so far
    SPLIT = "split"  # hashes differ, and none is known to be a majority's


class Vote(Enum):
    """What a member says of a hash point where it gives no hash."""

    UNKNOWN = "unknown"  # it has not come so far, or was there long ago
    OTHER_POINTS = "other points"  # it folded past it and hashed elsewhere: its state is of another size
    RAISED = "raised"  # its reducer raised at or before it


def vote_of(hashes: Hashes | None, index: int) -> HashedPoint | Vote:
    """What a member's report says of the hash point at an index."""
    if hashes is None:
        return Vote.UNKNOWN
    for point in hashes.points:
        if point.index == index:
            return point
    if 0 < hashes.raised_index <= index:
        return Vote.RAISED
    if hashes.points and hashes.points[0].index < index <= hashes.covered_index:
        return Vote.OTHER_POINTS
    return Vote.UNKNOWN


@dataclass(frozen=True, slots=True)
class Ballot:
    """What the members say of one hash point."""

    index: int
    revision: int
    mine: HashedPoint | Vote
    votes: dict[str, HashedPoint | Vote]  # of the other members

    def verdict(self, majority: int) -> Verdict:
        """What that says of one's own state."""
        if 1 + len(self._those_who_say(self.mine)) >= majority:
            return Verdict.AGREED
        if len(self.majority_of_others()) >= majority:
            return Verdict.OUTVOTED
        # Whose reducer raised has said so and serves no longer: it contradicts nobody, until a majority says the same.
        contradicts = any(self.votes[member] is not Vote.RAISED for member in self.those_who_differ())
        return Verdict.SPLIT if contradicts else Verdict.OPEN

    def those_who_differ(self) -> list[str]:
        """Members that say something else."""
        return [member for member, vote in self.votes.items() if vote not in (self.mine, Vote.UNKNOWN)]

    def majority_of_others(self) -> list[str]:
        """Of those who differ, the largest group of one opinion."""
        groups = [self._those_who_say(self.votes[member]) for member in self.those_who_differ()]
        return max(groups, key=len, default=[])

    def _those_who_say(self, vote: HashedPoint | Vote) -> list[str]:
        return [member for member, other in self.votes.items() if other == vote]
