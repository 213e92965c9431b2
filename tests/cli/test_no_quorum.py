"""What the commands say of a cluster that can't serve, or isn't there."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from tests.cli.running import Cluster, conflux, interrupted, start, wait_until

DEAD = "127.0.0.1:9"


def kill(cluster: Cluster, *labels: str) -> None:
    for label in labels:
        os.kill(cluster.nodes[label]["pid"], signal.SIGKILL)
    wait_until(lambda: not any(os.path.exists(f"/proc/{cluster.nodes[each]['pid']}/exe") for each in labels))


@pytest.mark.parametrize(
    "arguments",
    [
        ["perform", "append", "foo"],
        ["state"],
        ["state", "--consistency", "local"],
        ["state", "--node", "n1"],
        ["status"],
        ["watch"],
        ["watch", "--from-revision", "1"],
        ["wait"],
    ],
)
def test_no_node_reachable_is_status_3(tmp_path, arguments):
    for endpoint in ([], ["--endpoint", DEAD]):
        ran = conflux(*arguments, "--timeout", "0.6", "--data-dir", str(tmp_path), *endpoint)
        assert (ran.status, ran.out, ran.err.count("\n")) == (3, "", 1), ran.err
        assert "conflux start" in ran.err
        ran = conflux(*arguments, "--json", "--timeout", "0.6", "--data-dir", str(tmp_path), *endpoint)
        assert (ran.error["error"], ran.error["exit_status"], ran.error["retryable"]) == ("Unreachable", 3, True)


def test_wait_waits_for_a_cluster_that_is_started_later(tmp_path, new_cluster):
    process = start(Cluster(tmp_path / "data0"), "wait", "--timeout", "30")
    time.sleep(0.5)
    new_cluster(1)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "") and out.startswith("the cluster conflux serves")


def test_without_a_quorum(new_cluster):
    cluster = new_cluster(3)
    assert cluster.run("perform", "append", "kept").status == 0
    leader = cluster.run("status", "--json").json["leader"]
    others = [label for label, node in cluster.nodes.items() if node["id"] != leader]
    left = next(label for label, node in cluster.nodes.items() if node["id"] == leader)
    kill(cluster, *others)
    wait_until(lambda: cluster.run("status", "--json").json["leader"] is None)

    ran = cluster.run("perform", "append", "lost", "--timeout", "1")
    assert (ran.status, ran.err.count("\n")) == (4, 1)
    assert cluster.run("perform", "append", "lost", "--timeout", "1", "--json").error["retryable"] is True
    assert cluster.run("state", "--timeout", "1").status == 4
    assert cluster.run("wait", "--timeout", "1").status == 4
    assert cluster.run("state", "--consistency", "local").out == '["kept"]\n'
    assert cluster.run("state", "--node", left).out == '["kept"]\n'
    assert cluster.run("state", "--node", others[0], "--timeout", "1").status == 3

    ran = cluster.run("status")
    assert ran.status == 0 and "no quorum, 1 of 3 answer and 2 are needed" in ran.out.splitlines()[0]
    rows = {row["label"]: row for row in cluster.run("status", "--json").json["nodes"]}
    assert not rows[others[0]]["healthy"] and rows[others[0]]["pid"] is None
    assert rows[others[0]]["data_dir"] == cluster.nodes[others[0]]["data_dir"]
    assert rows[others[0]]["log_file"] == cluster.nodes[others[0]]["log_file"]
    assert rows[left]["pid"] == cluster.nodes[left]["pid"]


SLOW_APP = """
import pathlib, time, conflux

app = conflux.App()

@app.method
def slow(state, seconds):
    pathlib.Path(__file__).with_name("begun").touch()
    time.sleep(float(seconds))
    return {"slept": seconds}

@app.reducer
def reduce(state, action):
    return [] if state is None else [*state, action]
"""


def test_a_call_that_was_sent_and_not_answered_in_time_is_status_6(new_cluster, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW_APP)
    cluster = new_cluster(1, "--app", "slow:app", "--app-dir", str(tmp_path))
    ran = cluster.run("perform", "slow", "2", "--timeout", "1", "--json")
    assert (ran.status, ran.out) == (6, "")
    assert (ran.error["error"], ran.error["exit_status"], ran.error["retryable"]) == ("OutcomeUnknown", 6, True)
    # While the node still sleeps the next call is not even sent: that is another status.
    wait_until(lambda: cluster.run("state", "--json").json["state"] == [{"slept": "2"}])
    ran = cluster.run("perform", "slow", "2", "--timeout", "1")
    assert (ran.status, ran.err.count("\n")) == (6, 1) and "Look at the state" in ran.err
    wait_until(lambda: cluster.run("state", "--json").json["state"] == [{"slept": "2"}] * 2)  # both were applied


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_a_call_is_on_its_way_says_that_it_may_be_applied(new_cluster, tmp_path, number, status):
    (tmp_path / "slow.py").write_text(SLOW_APP)
    cluster = new_cluster(1, "--app", "slow:app", "--app-dir", str(tmp_path))
    message, hint = "interrupted: the call may or may not be applied", "Look at the state before you repeat it."

    def interrupted(*options: str) -> str:
        (tmp_path / "begun").unlink(missing_ok=True)
        process = start(cluster, "perform", "slow", "2", *options)
        wait_until((tmp_path / "begun").exists)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out, err.count("\n")) == (status, "", 1)
        return err

    assert interrupted() == f"error: {message}. {hint}\n"
    assert json.loads(interrupted("--json")) == {
        "error": "Interrupted",
        "message": message,
        "hint": hint,
        "exit_status": status,
        "retryable": False,
    }


@pytest.mark.parametrize(
    ("call", "message", "hint"),
    [
        (["append", "x"], "interrupted: the call was committed all the same", "Don't repeat it."),
        (["clear"], "interrupted: the method dispatched no action", "Nothing was changed."),
    ],
)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_behind_the_answer_says_what_became_of_the_call(new_cluster, number, status, call, message, hint):
    cluster = new_cluster(1)
    ran = interrupted(cluster, "close", "perform", *call, number=number)
    assert (ran.status, ran.out, ran.err) == (status, "", f"error: {message}. {hint}\n")
    assert cluster.run("state", "--json").json["state"] == call[1:]


def test_a_watch_goes_on_when_its_node_dies(new_cluster):
    cluster = new_cluster(3)
    process = start(cluster, "watch", "--json", "--from-revision", "1")
    assert process.stdout is not None
    seen = []
    try:
        for turn, label in enumerate(cluster.nodes):
            assert cluster.run("perform", "append", str(turn), "--timeout", "30").status == 0
            seen.append(json.loads(process.stdout.readline())["action"]["thing"])
            kill(cluster, label)
            ran = cluster.run("start", "--detach", "--json")
            assert ran.status == 0, ran.err
            cluster.nodes |= {row["label"]: row for row in ran.lines}
    finally:
        process.kill()
        process.communicate()
    assert seen == ["0", "1", "2"]
