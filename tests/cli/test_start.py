"""`start` in the foreground, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conflux.discovery.local import Runtime
from tests.cli.conftest import is_node
from tests.cli.running import Cluster, Ran, command_line, environment, shell, wait_until
from tests.conftest import kill

# A node that imports it says so, and does not come any further.
SLOW_TO_IMPORT = """
import pathlib, sys, time, conflux

if any("conflux.node.process" in each for each in sys.orig_argv):
    pathlib.Path(__file__).with_name("begun").touch()
    time.sleep(600)
app = conflux.App()

@app.method
def add(state):
    return {"type": "add"}

@app.reducer
def reduce(state, action):
    return state
"""
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path, processes: Any) -> Start:
    """Starts a node in a directory that is gone at the end."""

    def begin(*options: str) -> subprocess.Popen[str]:
        command = command_line("start", "--cluster-size", "1", "--ephemeral", *options)
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started: subprocess.Popen[str] = processes.start(*command, env=environment(TMPDIR=str(tmp_path)), **streams)
        return started

    return begin


def await_node(process: subprocess.Popen[str], place: Path) -> int:
    """Its node's process, once it is up."""
    assert process.stdout is not None
    while not process.stdout.readline().startswith("n1 is up"):
        assert process.poll() is None
    (directory,) = place.glob("conflux-*/conflux/n1")
    runtime = Runtime.load(directory)
    assert runtime is not None and is_node(runtime.pid)
    return runtime.pid


def read_until(process: subprocess.Popen[str], words: str) -> list[str]:
    """What it prints, up to a line with these words."""
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    while words not in lines[-1]:
        assert lines[-1], "it has ended"
        lines.append(process.stdout.readline())
    return [line.rstrip("\n") for line in lines]


def test_a_signal_stops_the_nodes_and_an_ephemeral_directory_is_gone(start, tmp_path):
    process = start()
    node = await_node(process, tmp_path)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out.splitlines()[-1], err) == (0, "Stopped.", "")
    assert not is_node(node) and not [*tmp_path.glob("conflux-*")]


def test_a_second_signal_kills_a_node_that_does_not_stop_and_all_is_cleaned_up(start, tmp_path):
    process = start()
    node = await_node(process, tmp_path)
    os.kill(node, signal.SIGSTOP)  # so it can't stop by itself
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out.splitlines()[-1], err) == (0, "Stopped.", "")
    assert not is_node(node) and not [*tmp_path.glob("conflux-*")]


@pytest.mark.parametrize("numbers", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT, signal.SIGTERM]])
def test_signals_before_the_nodes_listen_are_no_error(start, tmp_path, numbers):
    (tmp_path / "slow.py").write_text(SLOW_TO_IMPORT)
    process = start("--app", "slow:app", "--app-dir", str(tmp_path))
    wait_until(lambda: (tmp_path / "begun").exists() or process.poll() is not None)
    for number in numbers:
        process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "Stopped.\n", "")
    assert not [*tmp_path.glob("conflux-*")]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_before_it_is_detached_is_told_by_the_status(processes, tmp_path, number, status):
    (tmp_path / "slow.py").write_text(SLOW_TO_IMPORT)
    command = command_line("start", "--cluster-size", "2", "--app", "slow:app", "--app-dir", str(tmp_path), "--detach")
    where = environment(CONFLUX_DATA_DIR=str(tmp_path / "data"))
    process = processes.start(*command, env=where, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_until(lambda: (tmp_path / "begun").exists() or process.poll() is not None)
    process.send_signal(number)
    assert (*process.communicate(timeout=60), process.returncode) == (b"", b"", status)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_ctrl_c_or_a_signal_ends_a_look_at_an_app_that_does_not_end(start, tmp_path, is_terminal):
    hangs = "import os, pathlib, time\npathlib.Path(__file__).with_name('begun').write_text(f'{os.getpid()} ')\n"
    (tmp_path / "hangs.py").write_text(f"{hangs}time.sleep(600)\n")
    process = start("--app", "hangs:app", "--app-dir", str(tmp_path))
    wait_until(lambda: (tmp_path / "begun").exists() and (tmp_path / "begun").read_text().endswith(" "))
    looker = int((tmp_path / "begun").read_text())
    process.send_signal(signal.SIGINT)
    if is_terminal:  # it tells both
        os.kill(looker, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "Stopped.\n", "")
    assert not Path(f"/proc/{looker}").exists() and not [*tmp_path.glob("conflux-*")]


def test_a_node_that_dies_is_started_again_and_one_that_can_not_be_is_said_once(start, tmp_path):
    app = tmp_path / "mine.py"
    app.write_text(SLOW_TO_IMPORT.replace("conflux.node.process", "nobody"))
    process = start("--restart", "--app", "mine:app", "--app-dir", str(tmp_path))
    node = await_node(process, tmp_path)
    os.kill(node, signal.SIGKILL)
    said = read_until(process, "it is started again")
    (directory,) = tmp_path.glob("conflux-*/conflux/n1")
    wait_until(lambda: (runtime := Runtime.load(directory)) is not None and runtime.pid != node)
    app.write_text("no app")
    second = Runtime.load(directory)
    assert second is not None
    os.kill(second.pid, signal.SIGKILL)
    out, err = process.communicate(timeout=60)
    lines = [line for line in out.splitlines() if line.startswith("n1 ")]
    again = [line.partition(" ")[2] for line in [*said, *lines] if "again" in line]
    killed = "was killed by signal 9; it is started again."
    words = "can't be started again: the app mine:app can't be imported: SyntaxError: invalid syntax (mine.py, line 1)"
    assert again == [killed, killed, words]
    assert process.returncode == 1
    assert err.endswith("error: not all of them were stopped. Their log files say why: conflux logs.\n")


def test_a_third_signal_ends_it_at_once(start, tmp_path):
    process = start()
    node = await_node(process, tmp_path)
    for pid in (node, process.pid):
        os.kill(pid, signal.SIGSTOP)
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        process.send_signal(number)
    process.send_signal(signal.SIGCONT)  # it finds all three; which comes last is its threads' affair
    out, _ = process.communicate(timeout=60)
    assert process.returncode in {128 + number for number in numbers} and "Stopped." not in out
    wait_until(lambda: not is_node(node))


def test_development_mode_has_nothing_to_say_of_nodes_that_go_on(tmp_path):
    cluster = Cluster(tmp_path)
    try:
        ran = cluster.run("start", "--cluster-size", "2", "--detach", PYTHONDEVMODE="1")
        assert (ran.status, len(ran.out.splitlines()), ran.err) == (0, 2, "The cluster serves.\n")
    finally:
        assert cluster.run("stop", PYTHONDEVMODE="1") == Ran(0, "Stopped n1, n2.\n", "")


def test_nodes_that_are_back_have_heard_from_the_leader(new_cluster):
    cluster = new_cluster(5)
    for _ in range(4):
        status = cluster.run("status", "--json").json
        pids = [node["pid"] for node in status["nodes"] if node["id"] != status["leader"]][:2]
        for pid in pids:
            kill(pid)
        wait_until(lambda pids=pids: not any(map(is_node, pids)))
        cluster.start(5)
        rows = cluster.run("status", "--json").json["nodes"]
        assert {row["role"] for row in rows} == {"leader", "follower"} and all(row["healthy"] for row in rows)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize("options", ["", "--json"])
def test_output_that_can_not_be_written_stops_what_was_started(tmp_path, options):
    ran = shell(f"conflux start --cluster-size 1 --detach {options} > /dev/full", tmp_path)
    assert ran.status == 1 and "the output can't be written: No space left on device" in ran.err
    assert shell("conflux stop --json", tmp_path).json == {"stopped": []}
