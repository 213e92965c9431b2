"""K7, A13: well-typed messages without sense do not make a core raise, lead, forget or grow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.fuzz.budget import GROWTH_BYTES_MAX, MESSAGES, SEED
from tests.fuzz.memory import resident_bytes
from tests.raft.test_refusals import ROLES, bombard

SEEDS = 5  # of each role


@pytest.mark.unmeasured
@pytest.mark.timeout(600)
@pytest.mark.parametrize("make", ROLES)
def test_absurd_messages_stop_a_core_only_by_contradicting_what_is_committed(
    make: Callable[..., Any], thrown: Callable[..., None]
) -> None:
    """An Append that contradicts a committed entry must stop the node (A8); all else is dropped or survived."""
    each = MESSAGES // len(ROLES) // SEEDS
    before = resident_bytes()
    stops = [
        bombard(make, SEED * 1000 + seed, each, stop_at="a committed entry is never dropped") for seed in range(SEEDS)
    ]
    assert resident_bytes() - before < GROWTH_BYTES_MAX
    thrown(messages=each * SEEDS, of_them_contradicted_what_was_committed=sum(stops))
