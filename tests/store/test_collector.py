"""Python's collector of cycles passes over the vectors that a state consists of, and over nothing else."""

from __future__ import annotations

import gc
import sys
from typing import Any

import pytest
from pyrsistent import pmap, pvector

from conflux.store.collector import FIELDS_MAX, spare
from tests.store.harness import Leader, folded

pytestmark = pytest.mark.skipif(type(pvector()).__module__ != "pvectorc", reason="pyrsistent has no C here")


def texts(count: int = 40) -> Any:
    return pvector([str(number) for number in range(count)])


def test_a_vector_is_passed_over_and_still_freed():
    vector = texts()
    held = object()
    vector = vector.append(held)
    before = sys.getrefcount(held)
    spare(vector)
    spare(vector)
    assert not gc.is_tracked(vector)
    del vector
    assert sys.getrefcount(held) == before - 1


def test_a_map_is_passed_over_by_its_buckets():
    table = pmap({str(number): number for number in range(40)})
    spare(table)
    assert not gc.is_tracked(table._buckets)


@pytest.mark.parametrize("record", [pmap, dict])
def test_so_are_the_fields_of_a_record_and_of_a_record_in_it(record):
    inner = record({"deep": texts()})
    outer = record({"list": texts(), "inner": inner, "count": 1})
    spare(outer)
    assert not gc.is_tracked(outer["list"]) and not gc.is_tracked(inner["deep"])


def test_a_large_map_is_not_searched():
    table = pmap({str(number): texts() for number in range(FIELDS_MAX + 1)})
    spare(table)
    assert all(gc.is_tracked(vector) for vector in table.values())


@pytest.mark.parametrize("state", [[texts()], {"a": [texts()]}, "x", None, 1])
def test_what_is_no_vector_stays_as_it_is(state):
    tracked = gc.is_tracked(state)
    spare(state)
    assert gc.is_tracked(state) is tracked


def test_what_a_machine_holds_is_passed_over():
    leader = Leader()
    leader.perform(leader.open_session(), 0, ("add", "x"))
    for machine in (leader.machine, folded(leader.entries, leader.app)):
        assert machine.state == pvector(["x"])
        assert not gc.is_tracked(machine.state)
