"""What became of the members, counted: each committed entry that changed who they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from conflux.store.machine import Machine


def count_changes(machines: Sequence[Machine]) -> Counter[str]:
    """How many entries changed the members how; `machines`: what each entry of the committed log folds into."""
    counts: Counter[str] = Counter()
    for before, after in pairwise(machines):
        old, new = before.membership, after.membership
        if old is new or (old.voters, old.learners) == (new.voters, new.learners):
            continue
        counts["changes of members"] += 1
        gained = {*new.voters, *new.learners} - {*old.voters, *old.learners}
        lost = {*old.voters, *old.learners} - {*new.voters, *new.learners}
        if gained:
            counts["members that came"] += 1
        elif lost:
            counts["members that went"] += 1
        else:
            counts["learners that became voters"] += 1
    return counts
