"""What a well-typed message must also satisfy. The core drops what doesn't: the network must not trip an invariant."""

from __future__ import annotations

from conflux.raft.messages import (
    Accepted,
    Append,
    Envelope,
    Heartbeat,
    HeartbeatReply,
    Rejected,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)

NUMBER_MAX = 2**62  # terms, indices and rounds beyond it are no accident


def is_sane(envelope: Envelope) -> bool:
    """True where the numbers of a message fit together."""
    if not 0 < envelope.term <= NUMBER_MAX:
        return False
    match envelope.message:
        case VoteRequest(last_index=index, last_term=term):
            return _all_numbers(index, term) and term <= envelope.term
        case Append() as append:
            return _is_sane_append(append, envelope.term)
        case Accepted(match_index=number) | HeartbeatReply(round=number):
            return _all_numbers(number)
        case Rejected(prev_index=prev, conflict_term=term, conflict_index=conflict):
            return _all_numbers(prev, term, conflict)
        case Heartbeat(commit_index=commit, round=number):
            return _all_numbers(commit, number)
        case VoteReply() | TimeoutNow():
            return True


def _is_sane_append(append: Append, term: int) -> bool:
    if not _all_numbers(append.prev_index, append.prev_term, append.commit_index):
        return False
    previous_index, previous_term = append.prev_index, append.prev_term
    for entry in append.entries:
        if entry.index != previous_index + 1 or not previous_term <= entry.term <= term:
            return False
        previous_index, previous_term = entry.index, entry.term
    return previous_term <= term and previous_index <= NUMBER_MAX


def _all_numbers(*numbers: int) -> bool:
    return all(0 <= number <= NUMBER_MAX for number in numbers)
