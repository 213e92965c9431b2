"""A node's process and a user's module: what that prints, opens or does at its import is the node's own affair."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conflux.node import app_check, child
from tests.process.cluster import DEADLINE_S, conflux

APP = """
import os, signal
from pathlib import Path
import conflux

{first}
app = conflux.App(name="loud")

@app.method
def add(state, thing):
    return {{"type": "add", "thing": thing}}

@app.reducer
def reduce(state, action):
    if action is not None:
        folded(action["thing"])
    return [*(state or []), action["thing"]] if action else []

def folded(thing):
    {then}
"""

LOUD = """
print("imported by", os.getpid())
handlers = [signal.getsignal(number) for number in (signal.SIGPIPE, signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
print("handlers", *(getattr(each, "name", getattr(each, "__name__", each)) for each in handlers))
"""
OPENS = "mine = Path(__file__).with_name(f'opened-{os.getpid()}').open('w')"


def app(directory: Path, first: str, then: str = "pass") -> tuple[str, ...]:
    (directory / "loud.py").write_text(APP.format(first=first, then=then))
    return ("--app", "loud:app", "--app-dir", str(directory))


def log_of(cluster: Any, label: str) -> str:
    return (cluster.data_dir / "conflux" / label / "node.log").read_text()


def until(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_what_a_module_prints_goes_to_the_log_of_its_node_at_once_and_not_among_the_command_s_output(
    start_cluster, tmp_path
):
    cluster = start_cluster(3, *app(tmp_path, LOUD, 'print("folds", thing)'))  # it reads the rows as JSON
    cluster.run("perform", "add", "lamp")
    for label, pid in cluster.pids.items():
        until(lambda label=label: "folds lamp" in log_of(cluster, label))
        assert f"imported by {pid}\n" in log_of(cluster, label)  # by each node, for itself


def test_a_node_begins_with_the_handlers_of_signals_that_a_new_interpreter_has(start_cluster, tmp_path):
    cluster = start_cluster(2, *app(tmp_path, LOUD))
    said = [next(line for line in log_of(cluster, label).splitlines() if "handlers" in line) for label in cluster.pids]
    assert said[0] == "handlers SIG_IGN default_int_handler SIG_DFL SIG_DFL"
    assert said[1] == "handlers SIG_IGN SIG_DFL SIG_DFL SIG_DFL"  # nobody would catch a KeyboardInterrupt there


def test_the_user_sees_what_the_module_prints_where_it_is_looked_at(tmp_path):
    ran = conflux("start", "--detach", "--json", "--cluster-size", "1", *app(tmp_path, LOUD), data_dir=tmp_path / "d")
    conflux("stop", data_dir=tmp_path / "d")
    assert ran.status == 0 and ran.lines()[0]["label"] == "n1"
    assert ran.err.count("imported by") == 1


def test_what_a_module_opens_belongs_to_one_node_alone(start_cluster, tmp_path):
    cluster = start_cluster(3, *app(tmp_path, OPENS, "print(thing, file=mine, flush=True)"))
    cluster.run("perform", "add", "lamp")
    for pid in cluster.pids.values():
        until(lambda pid=pid: (tmp_path / f"opened-{pid}").read_text() == "lamp\n")


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ("os._exit(0)", "error: a look at the app loud:app failed: it ended"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "error: a look at the app loud:app failed: it ended"),
        ("raise OSError('no such thing')", "error: the app loud:app can't be imported: OSError: no such thing"),
    ],
)
def test_a_module_that_ends_its_process_is_an_error_of_one_line_and_nothing_is_left(tmp_path, first, words):
    place = tmp_path / "data"
    ran = conflux("start", "--detach", "--cluster-size", "3", *app(tmp_path, first), data_dir=place)
    assert ran.status == 1 and ran.out == ""
    assert len(ran.err.splitlines()) == 1 and words in ran.err
    assert not place.exists()


def test_a_module_that_fails_in_the_nodes_alone_is_told_by_its_last_word(tmp_path):
    formed = "Path(__file__).with_name('data').joinpath('conflux', 'cluster.json').exists()"
    first = f"if {formed}: os.write(2, b'oh'), os._exit(0)"
    place = tmp_path / "data"
    ran = conflux("start", "--detach", "--cluster-size", "3", *app(tmp_path, first), data_dir=place)
    assert ran.status == 1 and ran.out == ""
    assert ran.err == "error: the node's process failed: oh\n"


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_node_is_called_by_its_name_keeps_its_environment_and_holds_nothing_of_the_launcher_s(start_cluster):
    cluster = start_cluster(3)
    for label, pid in cluster.pids.items():
        assert Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0") == f"conflux node conflux/{label}".encode()
        assert f"PATH={os.environ['PATH']}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        mine = str(cluster.data_dir / "conflux" / label)
        held = [os.readlink(each) for each in Path(f"/proc/{pid}/fd").iterdir() if each.exists()]
        assert [each for each in held if each.startswith("/") and not each.startswith((mine, "/dev/null"))] == []


def test_the_first_node_of_a_start_has_a_hash_seed_of_its_own(start_cluster, tmp_path):
    cluster = start_cluster(3, *app(tmp_path, 'print("seed", hash("a text"))'))
    seeds = [next(line for line in log_of(cluster, label).splitlines() if "seed" in line) for label in cluster.pids]
    assert seeds[0] not in seeds[1:]
    assert not child.CAN_FORK or seeds[1] == seeds[2]


def test_a_new_interpreter_answers_as_a_fork_does():
    """What a system that can't fork does."""
    command = child.command(app_check.main)
    done = subprocess.run(command, input=b'["nowhere:app", "."]', capture_output=True, check=False)
    assert done.returncode == 1 and b"No module named 'nowhere'" in done.stdout


@pytest.mark.parametrize("fresh", [True, False])
def test_a_child_whose_answer_nobody_waits_for_ends_without_a_word(tmp_path, fresh):
    (tmp_path / "slow.py").write_text("import time\ntime.sleep(0.3)\nfrom conflux.apps.list import app\n")
    program = (
        "import sys\nfrom conflux.node import app_check, child\n"
        f"job = app_check.job('slow:app', {str(tmp_path)!r})\n"
        f"begun = child.begin('a look', app_check.main, job, fresh={fresh}, words_in=None)\n"
        "begun.process.stdout.close()\nsys.exit(begun.process.wait())\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", "")
