"""Errors of states that bring their own `dump` and `load`."""

from __future__ import annotations

from typing import Any

import pytest

from conflux.app import App
from conflux.store import dumps, image
from conflux.testing.workload import DrawCall
from tests.node import test_dumps as of_nodes
from tests.store import test_dumps as of_machines
from tests.teeth.hunts import Case, Nodes
from tests.teeth.mutant import mutant
from tests.teeth.snapshots import many_snapshots


def bags() -> tuple[App[Any, Any], DrawCall]:
    """An app whose state is an object of its own."""
    return of_machines.app_of(), lambda random, number: ("add", [number])


@mutant("dumps", hunt=Nodes(many_snapshots, app=bags, label="many snapshots, an app with a dump"), quick=True)
def what_was_dumped_is_not_loaded(patch: pytest.MonkeyPatch) -> None:
    """A node that starts from a snapshot goes on with what stands for the state in it."""

    def loaded(app, value, digest):
        return value
        yield

    patch.setattr(dumps, "loaded", loaded)


@mutant(
    "dumps",
    hunt=Case(of_nodes.test_a_load_that_was_edited_keeps_a_node_from_starting_and_the_right_one_finds_everything),
    quick=True,
)
def what_is_loaded_is_not_dumped_again(patch: pytest.MonkeyPatch) -> None:
    """A `load` that has lost something since is believed, and a node goes on with half a state."""

    def loaded(app, value, digest):
        return dumps.state_of(app, value)
        yield

    patch.setattr(dumps, "loaded", loaded)


@mutant("dumps", hunt=Case(of_machines.test_a_state_that_would_not_come_back_is_not_kept), quick=True)
def a_snapshot_is_taken_without_loading_it(patch: pytest.MonkeyPatch) -> None:
    """That a state does not come back is found when it is needed, and its log is gone by then."""
    patch.setattr(image, "proven", lambda app, state: dumps.encoder_of(app)(state))
