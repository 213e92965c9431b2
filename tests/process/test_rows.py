"""Every row of docs/reference/beginnings.md is held by a test that names it."""

from __future__ import annotations

from tests.cli import test_members as said_of_members
from tests.lan import test_clusters
from tests.node import test_members as members_in_one_thread
from tests.process import test_archive, test_beginnings, test_beginnings_elsewhere, test_members
from tests.process.rows import rows_held_by, rows_of_the_page


def test_every_row_is_held_by_a_test_and_every_test_names_one_that_is_there() -> None:
    modules = (test_archive, test_beginnings, test_beginnings_elsewhere, test_clusters)
    of_members = (said_of_members, members_in_one_thread, test_members)
    held = set().union(*map(rows_held_by, modules + of_members))
    assert held == rows_of_the_page()
