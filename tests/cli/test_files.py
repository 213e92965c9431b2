"""`logs`, `keygen`, `destroy`, `completion`: the commands that need no cluster."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from conflux.storage.lock import DirectoryLock
from conflux.transport.keys import ClusterKey
from tests.cli.making import make, many
from tests.cli.running import Ran, command_line, conflux, environment, shell

IDS = {"n1": "1" * 32, "n2": "2" * 32}


def run(data_dir: Path, *arguments: str) -> Ran:
    return conflux(*arguments, CONFLUX_DATA_DIR=str(data_dir))


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Two nodes' directories, with logs, a key and a manifest."""
    cluster = tmp_path / "conflux"
    for label, identity in IDS.items():
        make(cluster / label, many(2), identity=identity)
    (cluster / "n1" / "node.log").write_text(
        "2030-01-01T00:00:01.000Z INFO one\nof two lines\n2030-01-01T00:00:04.000Z INFO four\n"
    )
    (cluster / "n2" / "node.log").write_text("2030-01-01T00:00:02.000Z INFO two\n2030-01-01T00:00:05.000Z INFO half")
    ClusterKey.generate().save(cluster / "cluster.key")
    nodes = [f'{{"label": "{label}", "identity": "{identity}"}}' for label, identity in IDS.items()]
    manifest = f'{{"cluster": "conflux", "size": 2, "app": "a:b", "app_dir": "/", "nodes": [{", ".join(nodes)}]}}'
    (cluster / "cluster.json").write_text(manifest)
    return tmp_path


# ---- logs ----


def test_logs_are_merged_in_the_order_of_time(two):
    assert run(two, "logs").out.splitlines() == [
        "n1  2030-01-01T00:00:01.000Z INFO one",
        "n1  of two lines",
        "n2  2030-01-01T00:00:02.000Z INFO two",
        "n1  2030-01-01T00:00:04.000Z INFO four",
        "n2  2030-01-01T00:00:05.000Z INFO half",
    ]


def test_the_log_of_one_node_is_printed_as_it_is(two):
    assert run(two, "logs", "--node", "1111").out == (two / "conflux" / "n1" / "node.log").read_text()


def test_logs_as_json(two):
    first = run(two, "logs", "--json").lines[0]
    assert first == {"node": IDS["n1"], "label": "n1", "line": "2030-01-01T00:00:01.000Z INFO one"}


def test_no_log_is_an_error(tmp_path, two):
    assert run(tmp_path / "empty", "logs").status == 1
    assert run(two, "logs", "--node", "n7").status == 2
    (two / "conflux" / "n1" / "node.log").unlink()
    ran = run(two, "logs", "--node", "n1")
    assert ran.status == 1 and "n1/node.log" in ran.err


def test_logs_are_followed_over_their_rotation(two):
    log = two / "conflux" / "n2" / "node.log"
    process = subprocess.Popen(
        command_line("logs", "--node", "n2", "--follow"),
        stdout=subprocess.PIPE,
        text=True,
        env=environment(CONFLUX_DATA_DIR=str(two)),
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().endswith("two\n")
        with log.open("a") as file:
            file.write(" and half\nlast of this file\n")
        assert process.stdout.readline().endswith("INFO half and half\n")
        assert process.stdout.readline() == "last of this file\n"
        log.rename(log.with_suffix(".log.1"))
        log.write_text("first of the next\n")
        assert process.stdout.readline() == "first of the next\n"
    finally:
        process.terminate()
        process.communicate(timeout=10)
    assert process.returncode == 143


# ---- keygen ----


def test_a_key_is_made_for_its_owner_alone(tmp_path):
    file = tmp_path / "a key"
    ran = run(tmp_path, "keygen", str(file))
    assert ran.status == 0 and stat.S_IMODE(file.stat().st_mode) == 0o600
    key = ClusterKey.load(file)
    assert ran.out == f"{file}  fingerprint {key.fingerprint}\n"
    assert f"--local 1 --key '{file}'" in ran.err
    secret = file.read_text().splitlines()[-1]
    assert secret not in ran.out + ran.err


def test_a_key_is_made_with_json(tmp_path):
    ran = run(tmp_path, "keygen", str(tmp_path / "key"), "--json")
    assert ran.json == {"path": str(tmp_path / "key"), "fingerprint": ClusterKey.load(tmp_path / "key").fingerprint}


def test_no_key_is_overwritten(tmp_path):
    run(tmp_path, "keygen", str(tmp_path / "key"))
    before = (tmp_path / "key").read_bytes()
    ran = run(tmp_path, "keygen", str(tmp_path / "key"))
    assert (ran.status, (tmp_path / "key").read_bytes()) == (1, before) and "is there already" in ran.err
    assert run(tmp_path, "keygen", str(tmp_path / "no" / "key")).status == 1


def test_a_key_that_can_not_be_used_is_a_usage_error(two):
    ClusterKey.generate().save(two / "open.key")
    (two / "open.key").chmod(0o644)
    ran = run(two, "state", "--key", str(two / "open.key"))
    assert ran.status == 2 and "Other users can read" in ran.err and "chmod 600" in ran.err
    assert run(two, "state", "--key", str(two / "missing.key")).status == 2


def test_a_file_that_is_no_key_is_called_that_whoever_can_read_it(two):
    (two / "no.key").write_text("secret")
    (two / "no.key").chmod(0o644)
    ran = run(two, "state", "--key", str(two / "no.key"))
    assert ran.status == 2 and "no.key holds no cluster key" in ran.err and "chmod" not in ran.err


# ---- Nodes that are here and do not run ----


@pytest.mark.parametrize(("cluster", "said"), [("conflux", "conflux start"), ("shop", "conflux --cluster shop start")])
def test_where_stopped_nodes_are_here_it_is_said_how_they_are_started(two, cluster, said):
    (two / "conflux").rename(two / cluster)
    ran = run(two, "state", "--cluster", cluster, "--timeout", "0.3")
    assert ran.status == 3 and ran.err.endswith(f". Start those that are here: {said}\n")


def test_where_only_the_key_is_here_an_address_is_asked_for(two):
    (two / "conflux" / "cluster.json").unlink()
    ran = run(two, "state", "--timeout", "0.3")
    assert ran.status == 3 and ran.err.endswith(". Name a node with --endpoint HOST:PORT.\n")


# ---- destroy ----


def test_without_yes_nothing_is_deleted(two):
    ran = run(two, "destroy")
    assert ran.status == 2 and "--yes" in ran.err
    assert f"would remove {two / 'conflux' / 'n1'}" in ran.out.splitlines()
    assert (two / "conflux" / "n1" / "data.mdb").exists() and (two / "conflux" / "cluster.key").exists()
    ran = run(two, "destroy", "--json")
    assert ran.error["exit_status"] == 2 and len(ran.json["would_remove"]) == 4


def test_with_yes_all_of_the_cluster_goes(two):
    cluster = two / "conflux"
    ran = run(two, "destroy", "--yes")
    assert ran.status == 0 and not cluster.exists() and two.exists()
    names = ["n1", "n2", "cluster.json", "cluster.key"]
    assert ran.out.splitlines() == [f"removed {cluster / name}" for name in names] + [f"removed {cluster}"]
    assert run(two, "destroy", "--yes").status == 1


def test_what_is_not_ours_stays(two):
    (two / "conflux" / "notes").mkdir()
    (two / "conflux" / "notes.txt").write_text("mine")
    ran = run(two, "destroy", "--yes", "--json")
    assert ran.status == 0 and str(two / "conflux") not in ran.json["removed"]
    assert sorted(os.listdir(two / "conflux")) == ["notes", "notes.txt"]


def test_one_node_goes_alone(two):
    ran = run(two, "destroy", "--node", "2222", "--yes")
    assert ran.out == f"removed {two / 'conflux' / 'n2'}\n"
    assert sorted(os.listdir(two / "conflux")) == ["cluster.json", "cluster.key", "n1"]
    assert run(two, "destroy", "--node", "n7", "--yes").status == 2


def test_a_running_node_is_not_deleted(two):
    lock = DirectoryLock.acquire(two / "conflux" / "n2")
    try:
        ran = run(two, "destroy", "--yes")
        assert ran.status == 1 and f"n2 (process {os.getpid()})" in ran.err and "conflux stop" in ran.err
        assert (two / "conflux" / "n1" / "data.mdb").exists()
        assert run(two, "destroy", "--node", "n1", "--yes").status == 0
    finally:
        lock.release()


# ---- completion ----


@pytest.mark.parametrize("name", ["bash", "zsh", "fish"])
def test_the_script_of_each_shell(name, tmp_path):
    ran = run(tmp_path, "completion", name)
    assert ran.status == 0 and "_CONFLUX_COMPLETE" in ran.out and "conflux" in ran.out


@pytest.mark.parametrize(
    ("words", "count", "found"),
    [("conflux inspect-l", 1, ["plain,inspect-log"]), ("conflux watch --fr", 2, ["plain,--from-revision"])],
)
def test_bash_completes_commands_and_options(tmp_path, words, count, found):
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(count), "_CONFLUX_COMPLETE": "bash_complete"}
    assert conflux(CONFLUX_DATA_DIR=str(tmp_path), **asked).out.split() == found


def test_the_script_is_taken_by_bash(tmp_path):
    assert shell('eval "$(conflux completion bash)"; complete -p conflux', tmp_path).out.split()[-1] == "conflux"
