"""`make demo`, as whoever tries Conflux for the first time has it: with a terminal, and without."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.process.cluster import conflux

DEMO = [sys.executable, "-m", "conflux.demo"]
CLUSTER = ["--cluster", "demo"]
LABELS = ["n1", "n2", "n3", "n4", "n5"]
HISTORY = [[], ["foo"], ["foo", "bar"], ["bar"]]  # what a node may hold, which may lag behind
TIMEOUT_S = 100.0


def environment() -> dict[str, str]:
    """Ours, without what would lead a command elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CONFLUX_")}


def run(here: Path, processes: Any, **options: Any) -> tuple[int, str]:
    """Run the demo to its end, in a folder; its status, and all that it and its commands print."""
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    demo = processes.start(*DEMO, cwd=here, env=environment(), text=True, **streams)
    said, _ = demo.communicate(timeout=TIMEOUT_S)
    return demo.returncode, said


def pids(said: str) -> list[int]:
    return [int(pid) for pid in re.findall(r"^n\d  127\.0\.0\.1:\d+  pid (\d+)", said, re.MULTILINE)]


def is_gone(pid: int) -> bool:
    try:
        return b"conflux" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return True


def test_without_a_terminal_it_shows_a_cluster_at_work_and_ends_by_itself(tmp_path: Path, processes: Any) -> None:
    status, said = run(tmp_path, processes)
    assert status == 0, said
    shown = [json.loads(line) for line in said.splitlines() if line.startswith("[")]
    assert len(shown) == 5 and all(state in HISTORY for state in shown)
    for line in ("The cluster serves.", '{"type": "remove", "thing": "foo"}', "Next (the data stays in .demo):"):
        assert line in said.splitlines()
    assert len(pids(said)) == 5 and all(map(is_gone, pids(said)))
    assert {path.name for path in (tmp_path / ".demo" / "demo").iterdir()} >= {*LABELS}


def test_what_it_says_to_type_next_is_a_command_line_that_works(tmp_path: Path, processes: Any) -> None:
    _, said = run(tmp_path, processes)
    typed = re.findall(r"^  (\S*conflux --data-dir \.demo --cluster demo .*)$", said, re.MULTILINE)
    assert [line.split(" demo ")[1] for line in typed] == [
        *("start --detach", "perform append baz", "watch --from-revision 1", "status", "stop"),
    ]
    try:
        for line in typed[:2]:
            done = subprocess.run(
                line, shell=True, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
        assert conflux(*CLUSTER, "state", data_dir=tmp_path / ".demo").json() == ["bar", "baz"]
    finally:
        conflux(*CLUSTER, "stop", data_dir=tmp_path / ".demo")


def test_a_demo_that_was_left_behind_is_stopped_and_another_begins_anew(tmp_path: Path, processes: Any) -> None:
    old = {"data_dir": tmp_path / ".demo"}
    (row,) = conflux(*CLUSTER, "start", "--cluster-size", "1", "--detach", "--json", **old).lines()
    assert conflux(*CLUSTER, "perform", "append", "old", **old).status == 0
    status, said = run(tmp_path, processes)
    assert status == 0, said
    assert is_gone(row["pid"]) and len(pids(said)) == 5
    assert "bar" in said and "old" not in said.partition("What each node holds:")[2]


def test_where_no_cluster_can_be_started_it_ends_at_once_with_the_commands_status(
    tmp_path: Path, processes: Any
) -> None:
    (tmp_path / ".demo").write_text("in the way")
    status, said = run(tmp_path, processes)
    assert status == 2
    assert "start --cluster-size 5 --detach" in said and "perform" not in said


class Terminal:
    """One that a process is started on; `until` waits for what it shows."""

    def __init__(self) -> None:
        self.ours, self.theirs = pty.openpty()
        self.said = ""
        self._seen = 0

    def until(self, words: str) -> None:
        """Read on to these words, behind those that were waited for before."""
        while (found := self.said.find(words, self._seen)) < 0:
            self.said += os.read(self.ours, 65536).decode(errors="replace").replace("\r\n", "\n")
        self._seen = found + len(words)


def test_on_a_terminal_the_cluster_stays_up_until_ctrl_c(tmp_path: Path, processes: Any) -> None:
    shown = Terminal()
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), shown.theirs)
    demo = processes.start(*DEMO, cwd=tmp_path, env=environment(), start_new_session=True, **streams)
    os.close(shown.theirs)
    shown.until("Next, in another terminal:")
    shown.until("The cluster stays up until you press Ctrl-C.")
    assert "start --detach" not in shown.said.partition("Next,")[2]  # it runs already
    shown.until("n5")  # in the table of `status --watch`
    nodes = pids(shown.said)
    assert len(nodes) == 5 and not any(map(is_gone, nodes))
    os.killpg(demo.pid, signal.SIGINT)  # as a terminal does: the demo and the command that it runs hear it
    shown.until("Stopping the five nodes")
    assert demo.wait(TIMEOUT_S) == 0
    os.close(shown.ours)
    assert all(map(is_gone, nodes))
