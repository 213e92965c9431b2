"""The exact check of an append-only list, held against a search through all orders."""

from __future__ import annotations

from itertools import permutations
from math import inf
from random import Random

import pytest

from conflux.testing.linearizability import Append, ListRead, check_append_only
from conflux.testing.violation import Violation


def is_linearizable(appends: list[Append], reads: list[ListRead]) -> bool:
    """By trying every order of every choice of the unknown appends."""
    unknown = [append for append in appends if not append.acknowledged]
    certain = [append for append in appends if append.acknowledged]
    for chosen in range(1 << len(unknown)):
        taken = [append for place, append in enumerate(unknown) if chosen >> place & 1]
        if any(fits(order) for order in permutations([*certain, *taken, *reads])):
            return True
    return False


def fits(order: tuple[Append | ListRead, ...]) -> bool:
    latest_s, values = 0.0, []
    for operation in order:
        returned_s = inf if isinstance(operation, Append) and not operation.acknowledged else operation.returned_s
        if returned_s < latest_s:
            return False
        latest_s = max(latest_s, operation.invoked_s)
        if isinstance(operation, Append):
            values.append(operation.value)
        elif list(operation.values) != values:
            return False
    return True


def draw_history(random: Random) -> tuple[list[Append], list[ListRead]]:
    appends = []
    for value in range(random.randint(1, 3)):
        began_s = random.randint(0, 8)
        known = random.random() < 0.7
        appends.append(Append(value, began_s, began_s + random.randint(1, 6) if known else inf, known))
    order = [append.value for append in appends if append.acknowledged or random.random() < 0.5]
    random.shuffle(order)
    reads = []
    for _ in range(random.randint(0, 2)):
        began_s = random.randint(0, 10)
        reads.append(ListRead(order[: random.randint(0, len(order))], began_s, began_s + random.randint(1, 4)))
    return appends, [*reads, ListRead(order, 20, 21)]


def test_the_check_agrees_with_a_search_through_all_orders():
    random, illegal = Random(5), 0
    for _ in range(1500):
        appends, reads = draw_history(random)
        try:
            check_append_only(appends, reads)
            found = True
        except Violation:
            found = False
        assert found == is_linearizable(appends, reads), (appends, reads)
        illegal += not found
    assert 300 < illegal < 1200


@pytest.mark.parametrize(
    ("appends", "reads", "sentence"),
    [
        ([Append(1, 0, 1)], [ListRead([1, 1], 5, 6)], "once"),
        ([Append(1, 0, 1)], [ListRead([2], 5, 6)], "only what was appended"),
        ([Append(1, 0, 1), Append(2, 0, 1)], [ListRead([1], 2, 3), ListRead([2, 1], 5, 6)], "prefix"),
        ([Append(1, 0, 1)], [ListRead([], 5, 6)], "over before"),  # lost
        ([Append(1, 0, 1)], [ListRead([], 2, 3), ListRead([1], 5, 6)], "over before"),  # stale
        ([Append(1, 0, 1), Append(2, 2, 3)], [ListRead([2, 1], 5, 6)], "over before"),  # order
    ],
)
def test_each_kind_of_violation_is_seen(appends, reads, sentence):
    with pytest.raises(Violation, match=sentence):
        check_append_only(appends, reads)


def test_unknown_appends_may_or_may_not_have_happened():
    unknown = Append(1, 0, acknowledged=False)
    check_append_only([unknown], [ListRead([], 1, 2)])
    check_append_only([unknown], [ListRead([], 1, 2), ListRead([1], 3, 4)])
