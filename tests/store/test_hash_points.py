"""Hash points: what the members' hashes say of one's own, and how far a state is hashed to know its size."""

from __future__ import annotations

from typing import Any

import pytest
from pyrsistent import pvector

from conflux.app import App
from conflux.store.dumps import encoder_of
from conflux.store.hash_points import Ballot, HashPoint, Verdict, Vote, vote_of
from conflux.wire.peers import HashedPoint, Hashes

X, Y, Z = (HashedPoint(8, 5, b"log", hash_) for hash_ in (b"x", b"y", b"z"))
UNKNOWN, OTHER_POINTS, RAISED = Vote.UNKNOWN, Vote.OTHER_POINTS, Vote.RAISED
AGREED, OUTVOTED, SPLIT, OPEN = Verdict.AGREED, Verdict.OUTVOTED, Verdict.SPLIT, Verdict.OPEN


@pytest.mark.parametrize(
    ("mine", "others", "majority", "verdict"),
    [
        (X, [], 1, AGREED),
        (X, [UNKNOWN], 2, OPEN),
        (X, [X], 2, AGREED),
        (X, [Y], 2, SPLIT),
        (X, [RAISED], 2, OPEN),
        (X, [X, Y], 2, AGREED),
        (X, [Y, Y], 2, OUTVOTED),
        (X, [Y, Z], 2, SPLIT),
        (X, [Y, UNKNOWN], 2, SPLIT),
        (X, [RAISED, RAISED], 2, OUTVOTED),
        (X, [RAISED, UNKNOWN], 2, OPEN),
        (X, [OTHER_POINTS, OTHER_POINTS], 2, OUTVOTED),
        (OTHER_POINTS, [X, X], 2, OUTVOTED),
        (OTHER_POINTS, [X, UNKNOWN], 2, SPLIT),
        (X, [X, Y, Y, UNKNOWN], 3, SPLIT),
        (X, [X, Y, Y, Y], 3, OUTVOTED),
        (X, [X, X, Y, Y], 3, AGREED),
    ],
)
def test_a_majority_decides_and_without_one_a_contradiction_is_a_split(mine, others, majority, verdict):
    votes = {f"n{number}": vote for number, vote in enumerate(others)}
    assert Ballot(8, 5, mine, votes).verdict(majority) is verdict


def report(*indices: int, covered: int, raised: int = 0) -> Hashes:
    return Hashes(tuple(HashedPoint(index, index, b"log", b"x") for index in indices), covered, raised)


@pytest.mark.parametrize(
    ("told", "index", "vote"),
    [
        (None, 8, UNKNOWN),
        (report(4, 8, covered=9), 8, HashedPoint(8, 8, b"log", b"x")),
        (report(4, 8, covered=9), 3, UNKNOWN),  # long ago
        (report(4, 8, covered=9), 6, OTHER_POINTS),
        (report(4, 8, covered=9), 10, UNKNOWN),  # not there yet
        (report(covered=9), 6, UNKNOWN),
        (report(4, covered=6, raised=7), 8, RAISED),
        (report(4, covered=6, raised=7), 6, OTHER_POINTS),
    ],
)
def test_a_report_says_of_an_index_only_what_it_covers(told, index, vote):
    assert vote_of(told, index) == vote


def test_a_state_is_encoded_no_further_than_it_takes_to_know_that_it_is_long():
    point = HashPoint(1, ["x" * 100] * 100_000)
    assert not point.is_shorter_than(200_000)
    assert point.bytes_total < 300_000 and not point.done
    assert point.is_shorter_than(20_000_000) and point.done


def test_a_state_that_changes_under_the_hash_is_a_problem_and_no_error():
    state = {f"{number}": 1 for number in range(5000)}
    point = HashPoint(1, state)
    point.work()
    point.work()
    state["more"] = 1
    assert "changed while it was hashed" in str(point.finish().problem)


@pytest.mark.parametrize(("state", "is_frozen"), [(pvector(["x"] * 2000), True), (["x"], False), ("x", True)])
def test_a_hash_point_knows_whether_its_state_could_be_changed_once_it_is_hashed(state, is_frozen):
    point = HashPoint(1, state)
    assert not point.is_frozen
    assert point.finish().is_frozen is is_frozen


def test_nothing_is_known_of_a_state_that_is_hashed_by_what_its_app_dumps():
    app: App[Any, Any] = App(dump=pvector, load=list)
    assert not HashPoint(1, ["x"], encoder_of(app)).finish().is_frozen
