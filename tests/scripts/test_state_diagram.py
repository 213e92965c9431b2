"""The page on a node's states is what the core does."""

from __future__ import annotations

from tools.state_diagram import PAGE, call_sites, page, transitions


def test_the_committed_page_is_what_the_generator_prints() -> None:
    renew = "PYTHONPATH=. python tools/state_diagram.py > docs/internals/raft-states.md"
    assert PAGE.read_text("utf-8") == page(), f"the core has changed: {renew}"


def test_every_call_that_changes_a_role_was_tried() -> None:
    assert {each.caller for each in transitions()} == call_sites()
