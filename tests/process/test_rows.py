"""Every row of docs/reference/beginnings.md is held by a test that names it."""

from __future__ import annotations

from tests.lan import test_clusters
from tests.process import test_beginnings, test_beginnings_elsewhere
from tests.process.rows import rows_held_by, rows_of_the_page


def test_every_row_is_held_by_a_test_and_every_test_names_one_that_is_there() -> None:
    held = set().union(*map(rows_held_by, (test_beginnings, test_beginnings_elsewhere, test_clusters)))
    assert held == rows_of_the_page()
