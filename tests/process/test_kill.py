"""What is acknowledged survives kill -9, of any node and of all of them, and is there once."""

from __future__ import annotations

import threading
from collections.abc import Callable

from conflux import Client
from conflux.errors import ConfluxError
from tests.process.cluster import Cluster


class Appender(threading.Thread):
    """Appends numbered things, one after the other, until told to end; notes which were acknowledged."""

    def __init__(self, cluster: Cluster, prefix: str) -> None:
        super().__init__()
        self.acknowledged: list[str] = []
        self.unknown: list[str] = []
        self._client = Client(data_dir=cluster.data_dir)
        self._prefix = prefix
        self._end = threading.Event()

    def run(self) -> None:
        number = 0
        while not self._end.is_set():
            thing = f"{self._prefix}{number}"
            try:
                self._client.perform("append", thing, timeout=20)
                self.acknowledged.append(thing)
            except ConfluxError:
                self.unknown.append(thing)
            number += 1
        self._client.close()

    def end(self) -> list[str]:
        self._end.set()
        self.join()
        return self.acknowledged

    def await_more(self, count: int) -> None:
        goal = len(self.acknowledged) + count
        while len(self.acknowledged) < goal and self.is_alive():
            self._end.wait(0.01)


def assert_each_once(state: list[str], acknowledged: list[str]) -> None:
    assert len(state) == len(set(state)), "something was applied twice"
    assert set(acknowledged) <= set(state), "something acknowledged is lost"
    order = [thing for thing in state if thing in set(acknowledged)]
    assert order == acknowledged, "one client's appends stay in order"


def test_the_leader_is_killed_while_a_client_appends(start_cluster: Callable[..., Cluster]) -> None:
    cluster = start_cluster(5)
    appender = Appender(cluster, "a")
    appender.start()
    for _ in range(3):
        appender.await_more(100)
        victim = cluster.leader()
        cluster.kill(victim)
        appender.await_more(100)
        assert cluster.leader() != victim
        cluster.start()  # the same command brings the killed node back
    acknowledged = appender.end()
    cluster.await_equal()
    assert_each_once(cluster.state(), acknowledged)


def test_all_five_are_killed_at_once_and_started_again(start_cluster: Callable[..., Cluster]) -> None:
    cluster = start_cluster(5)
    appender = Appender(cluster, "b")
    appender.start()
    for _ in range(3):
        appender.await_more(100)
        cluster.kill(*cluster.pids)
        cluster.start()
    appender.await_more(10)
    acknowledged = appender.end()
    cluster.await_equal()
    assert_each_once(cluster.state(), acknowledged)


def test_performs_go_on_with_three_of_five_and_end_in_time_with_two(start_cluster: Callable[..., Cluster]) -> None:
    cluster = start_cluster(5)
    cluster.kill("n1", "n2")
    ran = cluster.run("perform", "append", "three are enough")
    assert ran.status == 0, ran.err
    cluster.kill("n3")
    ran = cluster.run("perform", "append", "two are not", "--timeout", "3")
    assert ran.status in (4, 6)
    assert (len(ran.err.splitlines()) == 1 and "leader" in ran.err) or "unknown" in ran.err
    assert cluster.run("start", "--id", "n3", "--detach").status == 0
    assert cluster.run("perform", "append", "three again").status == 0
    state = cluster.state()
    assert state[0] == "three are enough" and state[-1] == "three again"
    cluster.start()
    cluster.await_equal()


def test_one_perform_reaches_every_node(start_cluster: Callable[..., Cluster]) -> None:
    cluster = start_cluster(5)
    ran = cluster.run("perform", "append", "foo", "--json")
    assert ran.json()["action"] == {"type": "append", "thing": "foo"} and ran.json()["revision"] == 1
    rows = cluster.await_equal()
    assert [cluster.state("--node", row["label"]) for row in rows] == [["foo"]] * 5
    for row in rows:
        lines = cluster.run("inspect-log", "--node", row["label"], "--json").lines()
        head, entries = lines[0], lines[1:]
        assert head["commit_index"] == head["last_index"] == row["commit_index"]
        actions = [action for entry in entries for action in entry["actions"]]
        assert actions == [{"revision": 1, "method": "append", "action": {"type": "append", "thing": "foo"}}]
        assert all(entry["checksum_ok"] for entry in entries)
