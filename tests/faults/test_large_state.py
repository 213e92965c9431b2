"""A node without its directory joins a cluster that has a long history and a large state, while performs go on.

How long a perform took meanwhile is told at the end, not asserted; that nobody had to elect a leader anew is.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from conflux import Client
from tests.faults.budget import FULL
from tests.faults.cluster import FaultCluster, await_until
from tests.faults.conftest import COUNTS
from tests.faults.test_members import standings

ACTIONS, THING_BYTES = (1_000_000, 100) if FULL else (20_000, 100)
IN_FLIGHT = 2_000
JOIN_SECONDS = 300.0
LIST_APP = ()  # the default one


class Appender(threading.Thread):
    """Performs one call after the other, and notes how long each took."""

    def __init__(self, client: Client) -> None:
        super().__init__(daemon=True)
        self.took_s: list[float] = []
        self.error: Exception | None = None
        self._client = client
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.is_set():
            began_s = time.monotonic()
            try:
                self._client.perform("append", f"meanwhile {len(self.took_s)}", timeout=30)
            except Exception as error:
                self.error = error
                return
            self.took_s.append(time.monotonic() - began_s)
            self._ended.wait(0.005)

    def end(self) -> None:
        self._ended.set()
        self.join()


@pytest.fixture
def appending() -> Iterator[Callable[[Client], Appender]]:
    appenders: list[Appender] = []

    def begin(client: Client) -> Appender:
        appenders.append(Appender(client))
        appenders[-1].start()
        return appenders[-1]

    yield begin
    for appender in appenders:
        appender.end()


def fill(client: Client, count: int, size: int) -> None:
    """So many appends of `size` bytes each; all of them are committed when it returns."""
    room = threading.Semaphore(IN_FLIGHT)
    errors: list[BaseException] = []

    def answered(future: Any) -> None:
        if future.exception() is not None:
            errors.append(future.exception())
        room.release()

    for number in range(count):
        room.acquire()
        client.submit("append", f"{number} ".ljust(size, ".")).add_done_callback(answered)
    for _ in range(IN_FLIGHT):
        room.acquire()
    assert not errors, errors[0]


@pytest.mark.timeout(900)
def test_H7_a_wiped_node_joins_a_cluster_with_a_large_state_while_performs_go_on(
    make_cluster: Callable[..., FaultCluster],
    appending: Callable[[Client], Appender],
    request: pytest.FixtureRequest,
) -> None:
    cluster = make_cluster(3, app=LIST_APP)
    fill(cluster.client, ACTIONS, THING_BYTES)
    leader = cluster.leader()
    term = cluster.rows()[leader]["term"]
    victim = cluster.followers()[0]
    cluster.kill(victim)
    shutil.rmtree(cluster.directory / victim)
    appender = appending(cluster.client)
    assert cluster.run("start", "--join", "wait", "--id", victim, "--detach").status == 0
    await_until(lambda: f"{victim} waits to join" in cluster.run("members", "list").out, f"{victim} to wait")
    began_s = time.monotonic()
    assert cluster.run("members", "replace", victim, "--no-wait").status == 0
    progress: set[int] = set()

    def is_voter() -> bool:
        installing = [row["installing"] for row in cluster.rows().values()]
        progress.update(each["bytes"] for each in installing if each is not None)
        return standings(cluster) == dict.fromkeys(cluster.labels, "voter")

    await_until(is_voter, "the new node to be a voter in the place of the old one", JOIN_SECONDS)
    took_s = time.monotonic() - began_s
    appender.end()
    assert appender.error is None and appender.took_s
    rows = cluster.await_equal(seconds=JOIN_SECONDS)
    assert rows[leader]["role"] == "leader" and {row["term"] for row in rows.values()} == {term}
    state = cluster.client.get_state("linearizable", timeout=120)
    assert len(state) == ACTIONS + len(appender.took_s)
    assert progress or not FULL, "the status shows how far the snapshot is"
    counts = {
        "actions": ACTIONS,
        "state_bytes": ACTIONS * THING_BYTES,
        "join_ms": int(took_s * 1000),
        "performs_meanwhile": len(appender.took_s),
        "longest_perform_ms": int(max(appender.took_s) * 1000),
        "progress_seen": len(progress),
    }
    request.node.user_properties.append((COUNTS, counts))
