"""What opening finds: every value is looked up and its checksum computed before anything is believed."""

from __future__ import annotations

from conflux.errors import Damaged
from conflux.storage import layout
from conflux.storage.environment import Environment, last_log_index, read_facts, read_hard_state
from conflux.storage.interface import Restored
from conflux.storage.layout import HardState


def recover(
    environment: Environment, known: Restored | None = None, changed_from: int = 0
) -> tuple[HardState, Restored]:
    """Check the whole log and say what is there. What stands before its beginning isn't looked at.

    Args:
        known: what was there before the entries from `changed_from` on were written: the others are not checked anew.

    Raises:
        NewerFormat: before anything but the version was interpreted.
        Damaged: naming the entry, or the fact.
    """
    with environment.env.begin() as transaction:
        hard = read_hard_state(environment, transaction)
        read_facts(environment, transaction)
        last_index = last_log_index(environment, transaction, hard)
    known = Restored() if known is None else known
    term_starts = [start for start in known.term_starts if start[0] < changed_from]
    membership_indices = [index for index in known.membership_indices if index < changed_from]
    _look_through(
        environment, hard, max(changed_from, hard.snapshot_index + 1), last_index, term_starts, membership_indices
    )
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
        term_starts=tuple(term_starts),
        membership_indices=tuple(membership_indices),
    )


def _look_through(
    environment: Environment,
    hard: HardState,
    first_index: int,
    last_index: int,
    term_starts: list[tuple[int, int]],
    membership_indices: list[int],
) -> None:
    """Add where each term begins in the log, and where its membership entries are, from one look-up per entry.

    Not a walk from page to page: that wouldn't notice that an upper page leads searches past an entry.
    """
    current_term = term_starts[-1][1] if term_starts else hard.snapshot_term
    with environment.env.begin(environment.log, buffers=True) as transaction:
        for index in range(first_index, last_index + 1):
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
