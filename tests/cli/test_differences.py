"""What differs between two states."""

from __future__ import annotations

from typing import Any

import pytest

from conflux.cli.differences import as_fields, differences, path_text


def lines(before: Any, after: Any) -> list[str]:
    return [f"{each.what} {path_text(each.path)}" for each in differences(before, after)]


@pytest.mark.parametrize("value", [None, 0, "a", [], [1, [2]], {}, {"a": {"b": [1]}}])
def test_equal_values_do_not_differ(value: Any):
    assert lines(value, value) == []


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, ["added .b"]),
        ({"a": 1, "b": 2}, {"b": 2}, ["removed .a"]),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ["changed .a.b"]),
        ([1, 2], [1, 2, 3], ["added [2]"]),
        ([1, 2, 3], [1, 3], ["removed [1]"]),
        ([1, 2, 3], [0, 1, 2, 3], ["added [0]"]),
        ([1, 2, 3], [1, 4, 3], ["changed [1]"]),
        ([{"a": 1}], [{"a": 2}], ["changed [0].a"]),
        (1, "1", ["changed ."]),
        ({"a": None}, {}, ["removed .a"]),
        (1, True, ["changed ."]),
    ],
)
def test_what_differs_is_named_by_its_path(before: Any, after: Any, found: list[str]):
    assert lines(before, after) == found


def test_the_fields_of_json():
    found = as_fields(differences({"a": 1, "b": 2}, {"a": 3, "c": [4]}))
    assert found == {
        "added": [{"path": ["c"], "value": [4]}],
        "removed": [{"path": ["b"], "value": 2}],
        "changed": [{"path": ["a"], "before": 1, "after": 3}],
    }
