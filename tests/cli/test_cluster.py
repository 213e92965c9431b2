"""Each command against real nodes that serve."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.cli.running import Cluster, Ran, conflux, environment, on_terminal, shell, start, wait_until

ROW = {"id", "label", "role", "term", "commit_index", "applied_revision", "log_hash", "state_hash"}
ROW |= {"state_hash_revision", "endpoint", "host", "pid", "healthy", "data_dir", "log_file"}
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def append(cluster: Cluster, thing: str) -> int:
    """Append, and give the revision."""
    ran = cluster.run("perform", "append", "--json", "--", thing)
    assert ran.status == 0, ran.err
    revision: int = ran.json["revision"]
    return revision


@pytest.fixture
def watching(cluster: Cluster) -> Iterator[subprocess.Popen[str]]:
    process = start(cluster, "watch", "--json")
    yield process
    process.kill()
    process.communicate()


# ---- perform ----


def test_perform_prints_the_action(cluster):
    ran = cluster.run("perform", "append", "foo")
    assert ran == Ran(0, '{"type": "append", "thing": "foo"}\n', "")


def test_perform_as_json(cluster):
    ran = cluster.run("perform", "append", "foo", "--json")
    assert {"revision", "index", "term", "action"} <= set(ran.json)
    assert ran.json["action"] == {"type": "append", "thing": "foo"} and ran.json["index"] > 0 and ran.json["term"] > 0
    assert cluster.run("perform", "append", "foo", "--json").json["revision"] == ran.json["revision"] + 1


@pytest.mark.parametrize("thing", ["-1", "--nonsense", "", "é€", "a b\n", "-10q", "{}"])
def test_arguments_are_strings(cluster, thing):
    ran = cluster.run("perform", "append", thing, "--json", "--timeout", "20")
    assert ran.json["action"] == {"type": "append", "thing": thing}


def test_after_two_dashes_nothing_is_an_option(cluster):
    ran = cluster.run("perform", "--json", "append", "--", "--json")
    assert ran.json["action"]["thing"] == "--json"


def test_arguments_are_json_where_that_is_said(cluster):
    ran = cluster.run("perform", "--parse-json", "append", '{"a": [1, 2.5, null, true]}', "--json")
    assert ran.json["action"]["thing"] == {"a": [1, 2.5, None, True]}
    ran = cluster.run("perform", "--parse-json", "append", "foo")
    assert (ran.status, ran.out) == (2, "") and "argument 1, 'foo', is not JSON" in ran.err


@pytest.mark.parametrize("text", ["1e999", "NaN", "99999999999999999999"])
def test_a_value_that_conflux_does_not_carry_is_refused(cluster, text):
    ran = cluster.run("perform", "--parse-json", "append", text)
    assert ran.status == 2 and ran.err.startswith("error: ")


def test_nothing_dispatched(cluster):
    cluster.run("perform", "clear")
    ran = cluster.run("perform", "clear", "--json")
    assert (ran.status, ran.json["revision"], ran.json["action"]) == (0, None, None)
    ran = cluster.run("perform", "clear")
    assert ran == Ran(0, "", "nothing to do: clear dispatched no action\n")
    assert cluster.run("perform", "clear", "-q").err == ""


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (["remove", "nothing like it"], "MethodRejected", "'nothing like it' is not in the list"),
        (["append"], "MethodRejected", "missing a required argument"),
        (["append", "a", "b"], "MethodRejected", "too many positional arguments"),
        (["nonsense"], "UnknownMethod", "there is no method 'nonsense': the app has append, clear, remove"),
    ],
)
def test_a_rejection_is_status_5(cluster, arguments, error, said):
    ran = cluster.run("perform", *arguments)
    assert (ran.status, ran.out, ran.err.count("\n")) == (5, "", 1) and said in ran.err
    ran = cluster.run("--json", "perform", *arguments)
    assert (ran.status, ran.error["error"], ran.error["exit_status"]) == (5, error, 5)
    assert said in ran.error["message"] and ran.error["retryable"] is False and ran.error["hint"]


# ---- state ----


def test_state(cluster):
    cluster.run("perform", "clear")
    revision = append(cluster, "€")
    ran = cluster.run("state", "--json")
    assert ran.json == {"revision": revision, "state": ["€"]}
    assert cluster.run("state") == Ran(0, '["€"]\n', "")
    assert json.loads(cluster.run("state", PYTHONIOENCODING="ascii").out) == ["€"]


def test_state_on_a_terminal_is_laid_out_where_it_is_too_long_for_a_line(cluster):
    cluster.run("perform", "clear")
    append(cluster, "foo")
    assert on_terminal("state", CONFLUX_DATA_DIR=str(cluster.data_dir)) == '["foo"]\n'
    long = "x" * 100
    append(cluster, long)
    assert on_terminal("state", CONFLUX_DATA_DIR=str(cluster.data_dir)) == f'[\n  "foo",\n  "{long}"\n]\n'


def test_state_of_one_node(cluster):
    revision = append(cluster, "foo")
    for name in ("n2", cluster.nodes["n2"]["id"][:10]):
        wait_until(lambda name=name: cluster.run("state", "--json", "--node", name).json["revision"] == revision)
    ran = cluster.run("state", "--node", "n2", "--consistency", "linearizable", "-v")
    assert ran.err == f"revision {revision}, linearizable\n"
    assert cluster.run("state", "--consistency", "local", "--json").json["revision"] <= revision


def test_an_unknown_node_is_named_with_the_others(cluster):
    ran = cluster.run("state", "--node", "n9")
    assert ran.status == 2 and re.search(r"there are n1 \(\w{8}\), n2 \(\w{8}\), n3 \(\w{8}\)", ran.err)


def test_by_endpoint_and_key_from_elsewhere(cluster, tmp_path):
    key = cluster.directory / "cluster.key"
    endpoint = cluster.nodes["n1"]["endpoint"]
    ran = conflux(
        *("state", "--json", "--node", "n3", "--endpoint", endpoint, "--key", str(key), "--data-dir", str(tmp_path))
    )
    assert ran.status == 0 and "revision" in ran.json
    ran = conflux("state", "--endpoint", endpoint, "--timeout", "1", "--data-dir", str(tmp_path))
    assert ran.status == 3  # without the key nobody answers


# ---- status ----


def test_status_has_a_row_with_every_field_for_each_node(cluster):
    status = cluster.run("status", "--json").json
    assert {"cluster", "cluster_id", "size", "leader", "term", "nodes"} <= set(status)
    assert [row["label"] for row in status["nodes"]] == ["n1", "n2", "n3"]
    assert all(set(row) >= ROW and row["healthy"] for row in status["nodes"])
    assert [row["pid"] for row in status["nodes"]] == [node["pid"] for node in cluster.nodes.values()]
    assert status["leader"] in {row["id"] for row in status["nodes"]} and status["size"] == 3
    assert {row["role"] for row in status["nodes"] if row["id"] == status["leader"]} == {"leader"}


def test_hashes_are_equal_on_an_idle_cluster(cluster):
    append(cluster, "foo")

    def is_level() -> bool:
        rows = cluster.run("status", "--json").json["nodes"]
        return len({(row["applied_revision"], row["log_hash"], row["state_hash"]) for row in rows}) == 1

    wait_until(is_level)


def test_status_as_text(cluster):
    lines = cluster.run("status").out.splitlines()
    assert re.fullmatch(r"cluster conflux \(\w{8}\), 3 nodes: n\d leads in term \d+", lines[0])
    assert lines[1].split()[:3] == ["node", "id", "role"] and len(lines) == 5
    assert all("healthy" in line for line in lines[2:])


def test_status_on_a_terminal_has_colour_unless_forbidden(cluster):
    where = {"CONFLUX_DATA_DIR": str(cluster.data_dir)}
    assert "\033[32m" in on_terminal("status", **where)
    assert not re.search(r"\033\[[0-9;]*3\dm", on_terminal("status", NO_COLOR="1", **where))


def test_status_is_watched(cluster):
    process = start(cluster, "status", "--watch", "--json")
    assert process.stdout is not None
    answers = [json.loads(process.stdout.readline()) for _ in range(2)]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 130 and all(len(answer["nodes"]) == 3 for answer in answers)


# ---- watch ----


def test_watch_from_a_revision(cluster):
    first = append(cluster, "one")
    append(cluster, "two")
    ran = cluster.run("watch", "--from-revision", str(first), "--count", "2", "--json")
    assert ran.status == 0 and [line["revision"] for line in ran.lines] == [first, first + 1]
    assert [line["action"]["thing"] for line in ran.lines] == ["one", "two"]
    for line in ran.lines:
        assert {"revision", "index", "term", "time", "action"} <= set(line) and TIME.fullmatch(line["time"])
    text = cluster.run("watch", "--from-revision", str(first), "--count", "1").out
    assert text.split()[0] == str(first) and text.endswith('append  {"type": "append", "thing": "one"}\n')


def test_watch_from_now_on_says_what_it_waits_for(cluster, watching):
    assert watching.stderr is not None and watching.stdout is not None
    said = watching.stderr.readline()
    found = re.fullmatch(r"watching from revision (\d+) on; earlier ones: conflux watch --from-revision 1\n", said)
    assert found
    revision = append(cluster, "foo")
    line = json.loads(watching.stdout.readline())  # at once: each line is flushed
    assert line["revision"] == revision == int(found[1])


def test_watch_with_the_state(cluster):
    cluster.run("perform", "clear")
    first = append(cluster, "one")
    ran = cluster.run("watch", "--from-revision", str(first), "--count", "1", "--json", "--state")
    assert (ran.lines[0]["state_revision"], ran.lines[0]["state"]) == (first, ["one"])
    ran = cluster.run("watch", "--from-revision", str(first), "--count", "1", "--state")
    assert ran.out.splitlines()[1] == f'        state at {first}: ["one"]'


def test_watch_ends_with_its_reader(cluster):
    append(cluster, "foo")
    append(cluster, "foo")
    ran = shell("conflux watch --from-revision 1 --json | head -1", cluster.data_dir)  # it would go on for ever
    assert (ran.status, len(ran.lines), ran.err) == (0, 1, "")


def test_watch_ends_with_a_signal_and_without_a_word(cluster, watching):
    assert watching.stderr is not None
    watching.stderr.readline()
    watching.send_signal(signal.SIGINT)
    out, err = watching.communicate(timeout=5)
    assert (watching.returncode, out, err) == (130, "", "")


# ---- The others ----


def test_wait(cluster):
    assert cluster.run("wait").out.startswith("the cluster conflux serves, at revision ")
    assert set(cluster.run("wait", "--json").json) == {"cluster", "revision", "seconds"}


def test_inspect_log_beside_the_running_nodes(cluster):
    revision = append(cluster, "find me")
    wait_until(lambda: cluster.run("inspect-log", "--node", "n3", "--json").lines[0]["commit_index"] > 0)
    for label, node in cluster.nodes.items():

        def entries(label: str = label) -> list[dict[str, object]]:
            return cluster.run("inspect-log", "--json", "--node", label).lines

        found = wait_until(lambda entries=entries: [e for e in entries()[1:] if "find me" in json.dumps(e["actions"])])
        action = {"revision": revision, "method": "append", "action": {"type": "append", "thing": "find me"}}
        assert action in found[-1]["actions"] and found[-1]["kind"] == "actions"
        assert entries()[0]["node"] == node["id"] and entries()[1]["kind"] == "noop"


def test_a_pipe_that_closes_early_is_no_error(cluster):
    for command in ("inspect-log", "logs", "logs --follow", "status --watch"):
        ran = shell(f"conflux {command} -q | head -1", cluster.data_dir)
        assert (ran.status, ran.err, ran.out.count("\n")) == (0, "", 1), command


def test_logs_of_running_nodes(cluster):
    lines = cluster.run("logs").out.splitlines()
    assert {line.split()[0] for line in lines} == {"n1", "n2", "n3"}
    assert any("listens on" in line for line in lines)


def test_a_running_cluster_is_not_destroyed(cluster):
    ran = cluster.run("destroy", "--yes")
    assert ran.status == 1 and ran.err.startswith("error: still running: n1 (process ")
    assert cluster.run("state").status == 0


def test_a_full_disk_under_stdout_is_an_error(cluster):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    ran = shell("conflux state > /dev/full", cluster.data_dir)
    assert (ran.status, ran.err) == (
        1,
        "error: the output can't be written: No space left on device. Look at where it goes: the disk may be full.\n",
    )


@pytest.mark.parametrize("options", ["", "--json"])
def test_a_call_whose_answer_can_not_be_printed_was_committed_all_the_same(cluster, options):
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full")
    cluster.run("perform", "clear")
    ran = shell(f"conflux perform append kept {options} > /dev/full", cluster.data_dir)
    message = "the output can't be written: No space left on device"
    hint = "The call was committed all the same: don't repeat it."
    if options:
        assert (ran.error["error"], ran.error["message"], ran.error["hint"]) == ("OutputFailed", message, hint)
        assert (ran.error["exit_status"], ran.error["retryable"]) == (1, False)
    else:
        assert ran.err == f"error: {message}. {hint}\n"
    assert ran.status == 1 and cluster.run("state").out == '["kept"]\n'


def test_a_client_in_a_program_finds_the_nodes_by_the_same_variable(cluster):
    program = "import conflux\nwith conflux.Client() as client:\n    print(client.get_state() is not None)\n"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(CONFLUX_DATA_DIR=str(cluster.data_dir)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "True\n"), done.stderr


def test_a_closed_stdout_is_no_error(cluster):
    assert shell("conflux state >&-", cluster.data_dir) == Ran(0, "", "")
