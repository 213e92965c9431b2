"""A cluster under fire: real processes that are killed, paused and started again, and found again by a mark."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conflux import Client
from conflux.cli.cluster_status import merge
from conflux.cli.local_nodes import local_nodes
from conflux.errors import ConfluxError
from conflux.storage.lock import lock_holder
from tests.conftest import MARK, kill, marked
from tests.faults.checker import Verdict, judge
from tests.faults.committed import CommittedLog, holds_an_end, is_cut, read_log
from tests.faults.history import LINEARIZABLE, Operation
from tests.faults.workload import Load, load_on, perform
from tests.process.cluster import DEADLINE_S, Ran, conflux

HERE = Path(__file__).parent
APP = ("--app", "journal:app", "--app-dir", str(HERE))
NAME = "conflux"
STATUS_SECONDS = 0.3
LAST_LINES = 30


class FaultCluster:
    """All nodes of a cluster on this machine; `close` leaves no process behind, whatever state they are in."""

    def __init__(
        self, data_dir: Path, size: int, *options: str, app: tuple[str, ...] = APP, archive: bool = False
    ) -> None:
        self.data_dir = data_dir
        self.directory = data_dir / NAME
        self.size = size
        self.labels = [f"n{number}" for number in range(1, size + 1)]
        self.archive = data_dir / "archive" if archive else None
        self.options = (*options, "--archive", str(self.archive)) if archive else options
        self._app = app
        self._mark = uuid.uuid4().hex
        self._client: Client | None = None
        self._others: list[subprocess.Popen[Any]] = []

    # -- processes -------------------------------------------------------------------------------------------------

    def run(self, *arguments: str, timeout: float = 60.0, **environment: str) -> Ran:
        """A command of Conflux, to its end."""
        return conflux(*arguments, data_dir=self.data_dir, timeout=timeout, **{MARK: self._mark, **environment})

    def start(self, label: str | None = None, *, seconds: int = 30, check: bool = True, **environment: str) -> Ran:
        """`conflux start` of all that doesn't run, or of one node."""
        is_first = not (self.directory / "cluster.json").exists()
        first = ("--cluster-size", str(self.size), *self._app) if is_first else ()
        only = ("--id", label) if label else ()
        options = (*first, *only, "--timeout", str(seconds), *self.options)
        ran = self.run("start", "--detach", "--json", *options, **environment)
        assert not check or ran.status == 0, ran.err
        return ran

    def pid(self, label: str) -> int | None:
        """The process that has a node's directory open."""
        return lock_holder(self.directory / label)

    def running(self) -> list[str]:
        return [label for label in self.labels if self.pid(label) is not None]

    def signal(self, number: int, *labels: str) -> None:
        for label in labels:
            pid = self.pid(label)
            assert pid is not None, f"{label} does not run"
            os.kill(pid, number)

    def kill(self, *labels: str) -> None:
        """kill -9, of all at the same moment."""
        pids = {label: pid for label in labels if (pid := self.pid(label)) is not None}
        for pid in pids.values():
            os.kill(pid, signal.SIGKILL)
        self.await_gone(*pids)

    def await_gone(self, *labels: str, seconds: float = DEADLINE_S) -> None:
        """Until these nodes have ended, however that comes."""
        await_until(lambda: not any(self.pid(label) for label in labels), f"{labels} to end", seconds)

    def popen(self, *command: str, **options: Any) -> subprocess.Popen[Any]:
        """A process beside the cluster that ends with it."""
        environment = {**os.environ, MARK: self._mark}
        self._others.append(subprocess.Popen(command, env=environment, **options))
        return self._others[-1]

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
        while pids := marked(self._mark):
            for pid in pids:
                kill(pid)
            for process in self._others:
                process.wait()
        for process in self._others:
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()

    # -- what can be seen ------------------------------------------------------------------------------------------

    @property
    def client(self) -> Client:
        """A client of this cluster, made once; nodes keep their ports."""
        if self._client is None:
            self._client = Client(data_dir=self.data_dir)
        return self._client

    def rows(self) -> dict[str, dict[str, Any]]:
        """What `conflux status --json` shows of each node, by label."""
        status = merge(self.client.status(timeout=STATUS_SECONDS), local_nodes(self.directory))
        return {row["label"]: row for row in status["nodes"]}

    def leader(self, *, other_than: str = "", among: list[str] | None = None, seconds: float = DEADLINE_S) -> str:
        """The one leader, by the word of a majority that is in its term."""
        found: list[str] = []

        def is_found() -> bool:
            rows = [row for row in self.rows().values() if row["pid"] is not None]
            term = max((row["term"] for row in rows), default=0)
            in_term = [row for row in rows if row["term"] == term]
            found[:] = [row["label"] for row in in_term if row["role"] == "leader"]
            is_wanted = found != [other_than] and (among is None or set(found) <= set(among))
            return len(found) == 1 and is_wanted and len(in_term) > self.size // 2

        await_until(is_found, "a leader", seconds)
        return found[0]

    def followers(self) -> list[str]:
        leader = self.leader()
        return [label for label in self.labels if label != leader]

    def await_serving(self, label: str) -> None:
        """Until a node follows a leader, or leads."""
        await_until(lambda: self.rows()[label]["healthy"], f"{label} to serve")

    def make_leader(self, label: str) -> None:
        """Hand leadership to a node."""

        def try_it() -> bool:
            if self.leader() == label:
                return True
            self.transfer_to(label)
            time.sleep(0.1)
            return False

        await_until(try_it, f"{label} to lead")

    def transfer_to(self, label: str) -> None:
        """Ask the leader to hand over; it may come to nothing."""
        try:
            self.client.transfer_leadership(self.rows()[label]["id"], timeout=1.0)
        except ConfluxError:
            pass

    def await_equal(self, seconds: float = DEADLINE_S) -> dict[str, dict[str, Any]]:
        """Until every node is healthy, one leads and all hold the same log and state; gives their rows."""
        rows: dict[str, dict[str, Any]] = {}

        def are_equal() -> bool:
            rows.clear()
            rows.update(self.rows())
            keys = {(row["term"], row["applied_revision"], row["log_hash"], row["state_hash"]) for row in rows.values()}
            leaders = [row for row in rows.values() if row["role"] == "leader"]
            is_whole = len(rows) == self.size and all(row["healthy"] and row["state_hash"] for row in rows.values())
            return is_whole and len(keys) == 1 and len(leaders) == 1

        try:
            await_until(are_equal, "equal nodes", seconds)
        except AssertionError:
            raise AssertionError(f"the nodes do not become equal: {rows}") from None
        return rows

    def node_log(self, label: str) -> str:
        return (self.directory / label / "node.log").read_text()

    def last_words(self) -> str:
        """For a failure's report: what each node says of itself, and the end of its log."""
        try:
            lines = [f"{label}: {row}" for label, row in self.rows().items()]
        except ConfluxError as error:
            lines = [str(error)]
        for label in self.labels:
            log_file = self.directory / label / "node.log"
            if log_file.exists():
                lines += [f"-- {label}", *log_file.read_text(errors="replace").splitlines()[-LAST_LINES:]]
        return "\n".join(lines)

    # -- load and judgement ----------------------------------------------------------------------------------------

    def load(self, **options: Any) -> Load:
        return load_on(self.data_dir, **options)

    def settle(self, load: Load) -> Verdict:
        """End the load, see that the healed cluster takes a write and a read, and judge all that was."""
        operations = load.end()
        self.await_equal()
        for number, what in enumerate(("append", LINEARIZABLE)):
            value = f"last-{len(operations)}" if what == "append" else ""
            last = Operation("last", number, what, value, time.monotonic())
            perform(self.client, last, DEADLINE_S)
            assert last.returned_s - last.invoked_s < DEADLINE_S, last
            operations.append(last)
        self.await_equal()
        return self.judge(operations)

    def judge(self, operations: list[Operation]) -> Verdict:
        """The verdict on a history; every node must hold the same log, or an end of it where it has cut its own.

        Where all have, the archive must have kept the beginning.
        """
        cut = [label for label in self.labels if is_cut(self.directory, label)]
        whole, *others = [label for label in self.labels if label not in cut] or cut[:1]
        first = read_log(self.directory, whole, self.archive)
        logs = {label: read_log(self.directory, label) for label in others}
        verdict = judge(operations, first)
        verdict.violations += [
            f"{label} holds another log"
            for label in cut
            if label != whole and not holds_an_end(self.directory, label, of=whole)
        ]
        verdict.violations += [f"{label} holds another log" for label, log in logs.items() if not _same(log, first)]
        verdict.violations += [
            f"a traceback in the log of {label}" for label in self.labels if "Traceback" in self.node_log(label)
        ]
        verdict.counts["entries"] = first.entries
        return verdict


def await_until(condition: Callable[[], object], what: str, seconds: float = DEADLINE_S) -> None:
    """Until something holds, looked at often."""
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, f"waited {seconds} s for {what}"
        time.sleep(0.01)


def python(*arguments: str) -> list[str]:
    """A command of this interpreter."""
    return [sys.executable, *arguments]


def _same(one: CommittedLog, other: CommittedLog) -> bool:
    return (one.calls, one.violations) == (other.calls, other.violations)
