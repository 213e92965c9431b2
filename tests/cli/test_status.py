"""From reports to the cluster's status, and its table."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from conflux.cli.cluster_status import ROW_FIELDS, merge
from conflux.cli.local_nodes import LocalNode
from conflux.cli.table import COLUMNS, columns_within, headline, plain_lines, plain_rows, status_table

CONTRACT = {"id", "label", "role", "term", "commit_index", "applied_revision", "log_hash", "state_hash"}
CONTRACT |= {"state_hash_revision", "endpoint", "host", "pid", "healthy", "data_dir", "log_file"}
IDS = {f"n{number}": f"{number:x}" * 32 for number in range(1, 6)}


def report(
    label: str, *, leader: str | None = "n1", term: int = 3, last_index: int = 10, **more: Any
) -> dict[str, Any]:
    """What a node of a cluster of three tells."""
    healthy = more.pop("healthy", leader is not None)
    node = dict.fromkeys(ROW_FIELDS) | {
        "id": IDS[label],
        "label": label,
        "role": "leader" if leader == label else "follower",
        "term": term,
        "first_index": 1,
        "last_index": last_index,
        "applied_revision": 7,
        "endpoint": f"127.0.0.1:{label[1:]}",
        "pid": 100,
        "healthy": healthy,
        "problem": None if healthy else "no leader",
        "app": "list",
        "app_version": 1,
    }
    return {
        "cluster": "shop",
        "cluster_id": "c" * 32,
        "size": 3,
        "leader": IDS[leader] if leader else None,
        "term": term,
        "waiting_for": None,
        "members": [
            {"id": IDS[other], "label": other, "endpoint": None if other == "n3" else f"127.0.0.1:{other[1:]}"}
            for other in ("n3", "n1", "n2")
        ],
        "node": node,
    } | more


def here(label: str) -> LocalNode:
    return LocalNode(label=label, identity=IDS[label], directory=Path("/d/shop") / label, endpoint="127.0.0.1:33")


def test_every_member_has_a_row_with_every_field():
    status = merge([report("n1"), report("n2", last_index=8)], [here("n3")])
    assert {"cluster", "cluster_id", "size", "leader", "term", "nodes"} <= set(status)
    assert [row["label"] for row in status["nodes"]] == ["n1", "n2", "n3"]
    assert all(set(row) >= CONTRACT for row in status["nodes"])
    assert (status["leader"], status["term"], status["size"]) == (IDS["n1"], 3, 3)
    assert [row["lag"] for row in status["nodes"]] == [0, 2, None]


def test_a_member_that_does_not_answer_is_shown_with_what_is_known_of_it():
    row = merge([report("n1"), report("n2")], [here("n3")])["nodes"][2]
    known = {"id": IDS["n3"], "label": "n3", "endpoint": "127.0.0.1:33", "healthy": False}
    known |= {"data_dir": "/d/shop/n3", "log_file": "/d/shop/n3/node.log", "problem": "does not answer"}
    assert {name: value for name, value in row.items() if value is not None} == known
    elsewhere = merge([report("n1"), report("n2")])["nodes"][2]
    assert elsewhere["data_dir"] is None and elsewhere["endpoint"] is None and elsewhere["pid"] is None


def test_the_leader_is_the_one_that_the_highest_term_names():
    old = report("n1", leader="n1", term=3)
    assert merge([old, report("n2", leader="n3", term=4)])["leader"] == IDS["n3"]
    assert merge([old, report("n2", leader=None, term=4, healthy=True)])["leader"] is None
    assert merge([report("n1", leader=None, healthy=True), report("n2", leader="n2")])["leader"] == IDS["n2"]
    assert merge([old, report("n2", leader="n3", term=4, healthy=False)])["leader"] == IDS["n1"]


def test_without_a_quorum_it_says_so():
    status = merge([report("n1", leader=None)])
    assert (status["leader"], status["answering"], status["quorum"]) == (None, 1, 2)
    assert headline(status) == (
        "cluster shop (cccccccc), 3 nodes: no quorum, 1 of 3 answer and 2 are needed; `state --node ID` still works"
    )


def test_the_headline_names_the_leader_and_who_is_missing():
    assert headline(merge([report("n1"), report("n2")])).endswith("n1 leads in term 3; n3 does not answer")
    assert headline(merge([report(label, leader=None) for label in ("n1", "n2")])).endswith("no leader now")


def test_a_cluster_that_forms_shows_who_is_expected_here():
    forming = report("n1", leader=None, cluster_id=None, waiting_for="waiting for 2 of 3 nodes", members=[], term=0)
    forming["members"] = [{"id": IDS["n1"], "label": "n1", "endpoint": "127.0.0.1:1"}]
    status = merge([forming], [here("n1"), here("n2")])
    assert [row["label"] for row in status["nodes"]] == ["n1", "n2"]
    assert "not formed yet, waiting for 2 of 3 nodes" in headline(status)


def test_of_two_clusters_the_one_of_more_nodes_is_shown():
    stranger = report("n5", leader="n5", term=99, cluster_id="d" * 32)
    status = merge([stranger, report("n1"), report("n2")])
    assert (status["cluster_id"], status["leader"], len(status["nodes"])) == ("c" * 32, IDS["n1"], 3)


def test_learners_have_rows_and_no_vote():
    standings = {"n1": "voter", "n2": "learner", "n3": "joining"}
    reports = [report("n1"), report("n2")]
    for each in reports:
        for member in each["members"]:
            member["standing"] = standings[member["label"]]
    status = merge(reports)
    assert [row["standing"] for row in status["nodes"]] == ["voter", "learner", "joining"]
    assert (status["quorum"], status["answering"]) == (1, 1)
    assert [row[2] for row in plain_rows(status)[1:]] == ["leader", "learner", "joining"]


def test_a_node_that_was_removed_has_old_news_and_no_row():
    knows = report("n1")
    knows["members"] = [member for member in knows["members"] if member["label"] != "n2"]
    knows["node"]["commit_index"] = 10
    removed = report("n2", healthy=False)
    removed["node"] |= {"commit_index": 9, "standing": "removed"}
    assert [row["label"] for row in merge([removed, knows])["nodes"]] == ["n1", "n3"]


def test_of_who_does_not_answer_the_leader_knows_how_far_it_is():
    leads = report("n1")
    for member in leads["members"]:
        member["match_index"] = 4
    assert [row["lag"] for row in merge([leads])["nodes"]] == [0, 6, 6]


def test_who_waits_to_join_stands_in_the_headline_with_what_to_type():
    candidates = [{"id": label * 16, "label": label, "endpoint": "h:1"} for label in ("n4", "n2")]
    text = headline(merge([report("n1", candidates=candidates), report("n2")]))
    assert "; n4 waits to join: conflux members add n4" in text and "conflux members replace n2" in text


def test_a_node_that_fetches_a_snapshot_says_how_far_it_is():
    status = merge([report("n1"), report("n2")])
    status["nodes"][1]["installing"] = {"index": 7, "bytes": 42, "bytes_total": 100}
    assert plain_rows(status)[2][-1] == "installing snapshot 42 %"


def test_nobody_answers():
    status = merge([], [here("n1")], cluster="shop")
    assert (status["cluster"], status["leader"], status["term"]) == ("shop", None, None)
    assert [row["healthy"] for row in status["nodes"]] == [False]
    assert "no quorum, 0 of 1 answer" in headline(status)
    assert merge([])["nodes"] == [] and headline(merge([]))


def test_plain_rows_have_a_cell_for_each_column():
    status = merge([report("n1"), report("n2")])
    rows = plain_rows(status)
    assert rows[0] == list(COLUMNS) and all(len(row) == len(COLUMNS) for row in rows)
    assert rows[3][-1] == "does not answer"
    assert all(line.isascii() for line in plain_lines(status))


@pytest.mark.parametrize("width", [40, 80, 100, 140])
def test_the_table_fits_the_terminal(width):
    status = merge([report("n1"), report("n2")])
    stream = io.StringIO()
    Console(file=stream, width=width, no_color=True).print(status_table(status, width))
    lines = stream.getvalue().splitlines()
    assert sum(line.startswith(("n1 ", "n2 ", "n3 ")) for line in lines) == 3  # a row is one line
    assert {"node", "role", "revision", "health"} <= set(columns_within(status, width))
    assert columns_within(status, 200) == list(COLUMNS)


def test_markup_in_a_label_is_text():
    status = merge([report("n1", cluster="[red]shop")])
    stream = io.StringIO()
    Console(file=stream, width=140).print(status_table(status, 140))
    assert "[red]shop" in stream.getvalue()
