"""What a well-typed message must also satisfy. The core drops what doesn't: the network must not trip an invariant."""

from __future__ import annotations

from conflux.raft.messages import (
    Accepted,
    Append,
    Envelope,
    Heartbeat,
    HeartbeatReply,
    Rejected,
    SnapshotOffer,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)

NUMBER_MAX = 2**62  # terms, indices and rounds beyond it are no accident
TERM_LEAP_MAX = 2**32  # nobody missed that many elections: one lie must not use up all terms


def is_sane(envelope: Envelope) -> bool:
    """True where the numbers of a message fit together."""
    if not 0 < envelope.term <= NUMBER_MAX:
        return False
    match envelope.message:
        case Append() as append:
            return _is_sane_append(append, envelope.term)
        case Accepted(match_index=number) | HeartbeatReply(round=number):
            return 0 <= number <= NUMBER_MAX
        case Heartbeat(commit_index=commit, round=number):
            return 0 <= commit <= NUMBER_MAX and 0 <= number <= NUMBER_MAX
        case VoteRequest(last_index=index, last_term=term) as request:
            return _is_place(index, term) and term < envelope.term and not (request.pre and request.transfer)
        case Rejected(prev_index=prev, conflict_term=term, conflict_index=conflict):
            return all(0 <= number <= NUMBER_MAX for number in (prev, term, conflict))
        case SnapshotOffer(index=index, term=term):
            return _is_place(index, term) and 0 < term <= envelope.term
        case VoteReply() | TimeoutNow():
            return True


def _is_sane_append(append: Append, term: int) -> bool:
    previous_index, previous_term = append.prev_index, append.prev_term
    if not (_is_place(previous_index, previous_term) and 0 <= append.commit_index <= NUMBER_MAX):
        return False
    for entry in append.entries:
        if entry.index != previous_index + 1 or not (0 < entry.term <= term and previous_term <= entry.term):
            return False
        previous_index, previous_term = entry.index, entry.term
    return previous_term <= term and previous_index <= NUMBER_MAX


def _is_place(index: int, term: int) -> bool:
    """True where there may be an entry of `term` at `index`: 0 stands for the log's beginning, and only there."""
    return 0 <= index <= NUMBER_MAX and 0 <= term <= NUMBER_MAX and (index == 0) == (term == 0)
