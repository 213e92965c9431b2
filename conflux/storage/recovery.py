"""What opening finds: every value is looked up and its checksum computed before anything is believed."""

from __future__ import annotations

from conflux.errors import Damaged
from conflux.storage import layout
from conflux.storage.environment import Environment, last_log_index, read_facts, read_hard_state
from conflux.storage.interface import Restored
from conflux.storage.layout import HardState


def recover(environment: Environment) -> tuple[HardState, Restored]:
    """Check the whole log and say what is there. What stands before its beginning isn't looked at.

    Raises:
        NewerFormat: before anything but the version was interpreted.
        Damaged: naming the entry, or the fact.
    """
    with environment.env.begin() as transaction:
        hard = read_hard_state(environment, transaction)
        read_facts(environment, transaction)
        last_index = last_log_index(environment, transaction, hard)
    term_starts, membership_indices = _look_through(environment, hard, last_index)
    last_term = term_starts[-1][1] if term_starts else hard.snapshot_term
    if hard.commit_index > last_index:
        raise Damaged(f"entry {hard.commit_index} was committed, but the log ends at {last_index}")
    if last_term > hard.term:
        raise Damaged(f"entry {last_index} is of term {last_term}, but the node only reached {hard.term}")
    return hard, Restored(
        term=hard.term,
        vote=hard.vote,
        commit_index=hard.commit_index,
        snapshot_index=hard.snapshot_index,
        snapshot_term=hard.snapshot_term,
        last_index=last_index,
        last_term=last_term,
        term_starts=term_starts,
        membership_indices=membership_indices,
    )


def _look_through(
    environment: Environment, hard: HardState, last_index: int
) -> tuple[tuple[tuple[int, int], ...], tuple[int, ...]]:
    """Where each term begins in the log, and where its membership entries are, from one look-up per entry.

    Not a walk from page to page: that wouldn't notice that an upper page leads searches past an entry.
    """
    term_starts: list[tuple[int, int]] = []
    membership_indices: list[int] = []
    current_term = hard.snapshot_term
    with environment.env.begin(environment.log, buffers=True) as transaction:
        for index in range(hard.snapshot_index + 1, last_index + 1):
            value = transaction.get(layout.entry_key(index + hard.log_offset))
            if value is None:
                raise Damaged(f"entry {index} is missing; the log ends at {last_index}")
            term = layout.checked_term(index, value)
            if layout.is_membership(value):
                membership_indices.append(index)
            if term < current_term:
                raise Damaged(f"entry {index} is of term {term}, after one of term {current_term}")
            if term > current_term or not term_starts:
                term_starts.append((index, term))
                current_term = term
    return tuple(term_starts), tuple(membership_indices)
