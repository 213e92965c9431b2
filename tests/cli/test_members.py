"""What the commands of members say and refuse, against nodes that serve. Changes themselves: tests/process."""

from __future__ import annotations

import re
import signal

import pytest

from tests.cli.running import conflux, interrupted
from tests.process.rows import row


def test_the_list_has_a_row_for_each_member(cluster):
    lines = cluster.run("members", "list").out.splitlines()
    assert lines[0].split() == ["member", "id", "standing", "role", "endpoint", "progress", "health"]
    assert [line.split()[0] for line in lines[1:]] == ["n1", "n2", "n3"]
    assert all(" voter " in line and line.endswith("healthy") for line in lines[1:])
    found = cluster.run("members", "list", "--json").json
    assert [row["id"] for row in found["members"]] == [node["id"] for node in cluster.nodes.values()]
    assert {row["standing"] for row in found["members"]} == {"voter"}
    assert (found["candidates"], found["replacing"]) == ([], None)


def test_a_token_is_printed_alone_and_the_line_to_type_beside_it(cluster):
    ran = cluster.run("members", "add")
    token = ran.out.strip()
    assert re.fullmatch(r"[0-9a-f]{32}", token) and ran.out.count("\n") == 1
    assert f"conflux start --join {token} --data-dir {cluster.data_dir}" in ran.err
    found = cluster.run("members", "add", "--learner", "--json").json
    assert found["line"].startswith(f"conflux start --join {found['token']} ") and found["token"] != token


@row(
    "a founder's label, whose directory is there",
    "neither a token nor `wait`",
    "`--cluster-size`, `--local` or `--forget` beside it",
)
@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["members", "add", "n1"], 1, "n1 is a member already"),
        (["members", "promote", "n1"], 1, "n1 is a voter already"),
        (["members", "remove", "n9"], 2, "there is no node 'n9': there are n1 ("),
        (["members", "promote", "n9"], 2, "there is no node 'n9'"),
        (["members", "replace", "n9"], 2, "there is no node 'n9'"),
        (["members", "replace", "n1"], 1, "no node 'n1' waits to join. Start it there: conflux start --join wait"),
        (["members", "add", "n9"], 1, "no node 'n9' waits to join: nobody does"),
        (["members"], 2, "No command was given: list, add, promote, replace, remove. See `conflux members --help`."),
        (["members", "nonsense"], 2, "No such command 'nonsense'"),
        (["members", "remove"], 2, "Missing argument 'ID'"),
        (["snapshot"], 2, "No command was given: now"),
        (["snapshot", "now", "--node", "n9"], 2, "there is no node 'n9'"),
        (["transfer-leadership", "n9"], 2, "there is no node 'n9'"),
        (["start", "--join", "abc"], 2, "'abc' is no token"),
        (["start", "--join", "wait", "--cluster-size", "3"], 2, "--join goes with none of --cluster-size"),
        (["start", "--join", "wait", "--id", "n1"], 2, "n1 is a node of this cluster already"),
    ],
)
def test_a_refusal_is_one_line_and_changes_nothing(cluster, arguments, status, said):
    ran = cluster.run(*arguments)
    assert (ran.status, ran.out, ran.err.count("\n")) == (status, "", 1), ran.err
    assert ran.err.startswith("error: ") and said in ran.err


def test_a_refusal_as_json(cluster):
    ran = cluster.run("members", "--json", "add", "n1")
    assert (ran.status, ran.error["error"], ran.error["exit_status"]) == (1, "ChangeRefused", 1)


@row("nothing, and no key")
def test_from_elsewhere_a_node_that_joins_needs_the_key(tmp_path):
    ran = conflux("start", "--join", "wait", "--data-dir", str(tmp_path))
    assert ran.status == 2 and "its key is needed" in ran.err and "--key cluster.key" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_a_snapshot_of_one_node(cluster):
    cluster.run("perform", "append", "foo")
    first = cluster.run("snapshot", "now", "--node", "n2", "--json").json
    assert (first["label"], first["node"]) == ("n2", cluster.nodes["n2"]["id"]) and first["index"] > 0
    assert cluster.run("snapshot", "now", "--node", "n2").out.startswith("n2: a snapshot at revision ")


def test_who_interrupts_a_change_is_told_that_it_goes_on(new_cluster):
    cluster = new_cluster(3)
    ran = interrupted(cluster, "change_members", "members", "remove", "n3")
    line = "error: interrupted: the members may change all the same. See `conflux members list`.\n"
    assert (ran.status, ran.out, ran.err) == (130, "", line)
    assert {row["label"] for row in cluster.run("members", "list", "--json").json["members"]} == {"n1", "n2"}
    ran = interrupted(cluster, "transfer_leadership", "transfer-leadership", number=signal.SIGTERM)
    line = "error: interrupted: leadership may move all the same. See `conflux status`.\n"
    assert (ran.status, ran.out, ran.err) == (143, "", line)
