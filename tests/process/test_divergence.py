"""Reducers that are not pure, on real processes: each has its own clock, lots and pid."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conflux import limits
from tests.process.cluster import DEADLINE_S, Cluster

LARGE = "x" * (limits.HASH_POINT_BYTES_MIN + 1)  # an action with it makes a hash point

APP = """
import os, random, time
from pathlib import Path
import conflux

app = conflux.App(name="impure")
ODD = Path(__file__).with_name("odd")

def is_odd():
    return ODD.exists() and ODD.read_text() == str(os.getpid())

@app.method
def add(state, thing):
    return {"type": "add", "thing": thing}

@app.reducer
def reduce(state, action):
    state = [] if state is None else state
    return [*state, fold(state, action["thing"])] if action else state

def fold(state, thing):
"""

FOLDS = {
    "one node is odd": "    return 'odd' if thing == 'b' and is_odd() else thing\n",
    "a set's order": "    return list({'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight'})\n",
    "the clock": "    return time.time()\n",
    "chance": "    return random.random()\n",
    "in place": "    state.append(thing)\n    return thing\n",
    "pure": "    return thing\n",
    "edited": "    return 'another' if thing == 'b' else thing\n",
}


def write_app(directory: Path, fold: str) -> tuple[str, ...]:
    """An app whose reducer folds like that; gives the options that start it."""
    (directory / "impure.py").write_text(APP + FOLDS[fold])
    return ("--app", "impure:app", "--app-dir", str(directory))


def await_rows(cluster: Cluster, condition: Callable[[list[dict[str, Any]]], object]) -> list[dict[str, Any]]:
    deadline_s = time.monotonic() + DEADLINE_S
    rows: list[dict[str, Any]] = []
    while time.monotonic() < deadline_s:
        rows = cluster.status()["nodes"]
        if len(rows) == cluster.size and condition(rows):
            return rows
        time.sleep(0.1)
    raise AssertionError(f"not so in time: {[row['problem'] for row in rows]}")


def problems(rows: list[dict[str, Any]]) -> list[str]:
    return [str(row["problem"]) for row in rows if row["problem"]]


def test_a16_one_node_of_three_that_folds_otherwise_is_named_with_revision_and_action(start_cluster, tmp_path):
    cluster = start_cluster(3, *write_app(tmp_path, "one node is odd"))
    leader = cluster.leader()
    odd = next(label for label in cluster.pids if label != leader)
    (tmp_path / "odd").write_text(str(cluster.pids[odd]))
    for thing in ("a", "b", "c", LARGE):
        assert cluster.run("perform", "add", thing).status == 0
    rows = await_rows(cluster, lambda rows: any("first action" in problem for problem in problems(rows)))
    [row] = [row for row in rows if not row["healthy"]]
    assert (row["label"], row["diverged_revision"]) == (odd, 2)
    assert "is revision 2 (action of 'add')" in row["problem"]
    assert row["problem"] in Path(row["log_file"]).read_text()
    assert cluster.run("perform", "add", "more").status == 0
    assert cluster.state() == ["a", "b", "c", LARGE, "more"]
    refused = cluster.run("--endpoint", row["endpoint"], "--timeout", "2", "state", "--consistency", "local")
    assert refused.status == 4 and "is revision 2" in refused.err, refused


@pytest.mark.parametrize("fold", ["the clock", "chance"])
def test_a14_what_differs_on_every_node_stops_them_all_and_the_first_revision_is_named(start_cluster, tmp_path, fold):
    cluster = start_cluster(3, *write_app(tmp_path, fold))
    cluster.run("perform", "add", LARGE)
    rows = await_rows(cluster, lambda rows: sum("first action" in each for each in problems(rows)) == 3)
    assert [row["diverged_revision"] for row in rows] == [1, 1, 1]
    assert all("the nodes disagree on the state at revision 1" in problem for problem in problems(rows))
    refused = cluster.run("--timeout", "5", "perform", "add", "more")
    assert refused.status == 4 and "the nodes disagree" in refused.err, refused


def test_a14_what_depends_on_a_set_s_order_stops_the_node_whose_interpreter_is_its_own(start_cluster, tmp_path):
    """Forks of one launcher order a set alike; the first node of each start is no fork (docs/decisions/0013)."""
    cluster = start_cluster(3, *write_app(tmp_path, "a set's order"))
    cluster.run("perform", "add", LARGE)
    rows = await_rows(cluster, lambda rows: any("first action" in each for each in problems(rows)))
    assert [row["label"] for row in rows if row["diverged_revision"] == 1] == ["n1"]


def test_a_reducer_that_changes_its_state_is_caught(start_cluster, tmp_path):
    cluster = start_cluster(1, *write_app(tmp_path, "in place"))
    cluster.run("perform", "add", LARGE)
    cluster.run("--timeout", "5", "perform", "add", "more")
    [row] = await_rows(cluster, problems)
    assert "changes the state that it is given" in row["problem"]


def test_in_development_mode_a_reducer_that_changes_its_state_is_refused_at_once(start_cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONDEVMODE", "1")
    cluster = start_cluster(1, *write_app(tmp_path, "in place"))
    refused = cluster.run("perform", "add", "a")
    assert refused.status == 5 and "the reducer changes the state that it is given" in refused.err
    assert cluster.state() == []


def test_an_edited_reducer_without_a_new_version_is_caught_when_the_cluster_starts_again(start_cluster, tmp_path):
    cluster = start_cluster(3, *write_app(tmp_path, "pure"))
    for thing in ("a", "b", LARGE, "c"):
        cluster.run("perform", "add", thing)
    await_rows(cluster, lambda rows: all(row["agreed_revision"] == 3 for row in rows))
    cluster.run("perform", "add", "d")
    cluster.run("stop")
    options = write_app(tmp_path, "edited")
    again = cluster.run("start", "--detach", "--timeout", "10", *options)
    assert again.status == 4, again
    [line] = again.err.splitlines()
    assert "n1, n2, n3: the state at revision 3 is not the one that the cluster agreed on" in line
