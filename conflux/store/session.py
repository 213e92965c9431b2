"""Sessions: what makes a repeat harmless. Immutable, because the table is part of the state that entries fold.

A session is opened by a log entry, never by use. Its client numbers its calls 0, 1, 2 …; the table keeps the outcome of
every call that the client may still repeat, and takes a call only if all before it are there.
"""

from __future__ import annotations

from msgspec import Struct

from conflux.wire.clients import Outcome


class Segment(Struct, frozen=True, kw_only=True):
    """Outcomes of consecutive calls of one session, all in one entry."""

    first_sequence: int
    outcomes: tuple[Outcome, ...] | list[Outcome]  # never changed once it is here
    index: int  # of the entry
    first_revision: int  # of the first action among the outcomes
    term: int  # of the entry; with its time, since a repeat is answered like the first, also when the log was cut
    wall_time_us: int

    @property
    def end(self) -> int:
        """The sequence that follows the last one here."""
        return self.first_sequence + len(self.outcomes)


class Session(Struct, frozen=True, kw_only=True):
    """One client's place in the table."""

    id: int
    seconds: int  # of log time after its last use until it expires
    last_used_us: int  # log time
    next_sequence: int = 0
    segments: tuple[Segment, ...] = ()  # ascending, without a gap up to next_sequence

    @property
    def expires_us(self) -> int:
        return self.last_used_us + self.seconds * 1_000_000

    def with_outcomes(self, segment: Segment, *, first_unanswered: int, log_time_us: int) -> Session:
        """The session after these calls, without what the client no longer asks for."""
        kept = [old for old in self.segments if old.end > first_unanswered]
        return Session(
            id=self.id,
            seconds=self.seconds,
            last_used_us=max(log_time_us, self.last_used_us),
            next_sequence=segment.end,
            segments=(*kept, segment),
        )

    def answers(self, first: int, end: int) -> list[Segment]:
        """The segments that hold outcomes of calls first..end-1, cut to these; what was forgotten is missing."""
        found = []
        for segment in self.segments:
            start, stop = max(first, segment.first_sequence), min(end, segment.end)
            if start < stop:
                found.append(_cut(segment, start, stop))
        return found


def session_id(index: int, ordinal: int) -> int:
    """The id of the `ordinal`th session that the entry at `index` opens, from 0; at most 1,024 in one entry."""
    return index << 10 | ordinal


def _cut(segment: Segment, start: int, stop: int) -> Segment:
    if (start, stop) == (segment.first_sequence, segment.end):
        return segment
    skip = start - segment.first_sequence
    skipped_actions = sum(type(outcome) is bytes for outcome in segment.outcomes[:skip])
    return Segment(
        first_sequence=start,
        outcomes=segment.outcomes[skip : skip + stop - start],
        index=segment.index,
        first_revision=segment.first_revision + skipped_actions,
        term=segment.term,
        wall_time_us=segment.wall_time_us,
    )
