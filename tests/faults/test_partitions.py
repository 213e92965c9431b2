"""Cut networks: full, one way, and the triangle that stopped Cloudflare in 2020 (B3, B5, B6, D4, D13).

Each node has a host of its own, a network namespace; each client lives on the host of a node, so that one is always on
the wrong side.
"""

from __future__ import annotations

import ctypes
import json
import os
import time
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest

from conflux.transport.keys import ClusterKey
from tests.conftest import MARK, kill, marked
from tests.faults.budget import FULL, SEED, needs_time
from tests.faults.checker import judge
from tests.faults.cluster import APP, NAME, await_until, python
from tests.faults.committed import CommittedLog, read_log
from tests.faults.history import Operation
from tests.faults.workload import Load
from tests.lan.namespaces import why_not
from tests.lan.network import Host, Lan

pytestmark = pytest.mark.skipif(why_not() is not None, reason=str(why_not()))

PORT = 7420
CLONE_NEWNET = 0x40000000
ROUNDS = 5 if FULL else 1
ANSWERS_BETWEEN = 20
OUTAGE_SECONDS = 1.5  # several election time-outs
Report = Callable[..., None]


class LanCluster:
    """A node on each host of a LAN."""

    def __init__(self, lan: Lan, directory: Path) -> None:
        self.lan = lan
        self.directory = directory
        self.key = directory / "cluster.key"
        ClusterKey.generate().save(self.key)

    def start(self) -> None:
        addresses = [f"{host.address}:{PORT}" for host in self.lan.hosts]
        peers = [text for address in addresses for text in ("--peer", address)]
        size = str(len(addresses))
        for host, address in zip(self.lan.hosts, addresses, strict=True):
            ran = self._conflux(host, "start", "--cluster-size", size, "--local", "1", "--id", host.name, *APP)(
                *("--key", str(self.key), "--bind", address, *peers, "--no-mdns", "--detach", "--json")
            )
            assert ran.returncode == 0, ran.stderr
        await_until(lambda: self.leader_of(self.lan.hosts[0]), "a first leader")

    def status(self, host: Host) -> dict[str, Any]:
        """What `conflux status` says there."""
        ran = self._conflux(host, "status", "--json", "--timeout", "2")()
        return json.loads(ran.stdout) if ran.returncode == 0 else {"nodes": [], "leader": None}

    def leader_of(self, host: Host) -> str | None:
        """Whom the nodes that this host reaches have as leader."""
        status = self.status(host)
        return next((row["label"] for row in status["nodes"] if row["role"] == "leader" and row["healthy"]), None)

    def load(self, **options: Any) -> Load:
        """A client on each host."""
        hosts = self.lan.hosts
        endpoints = [f"{host.address}:{PORT}" for host in hosts]

        def reach(number: int) -> dict[str, Any]:
            own = endpoints[number % len(hosts)]
            others = [each for each in endpoints if each != own]
            return {"cluster": NAME, "endpoints": [own, *others], "key": self.key}

        return Load(
            clients=len(hosts),
            seed=SEED,
            enter=lambda number: enter(hosts[number % len(hosts)]),
            options=reach,
            **options,
        )

    def settle(self, load: Load, report: Report, **more: int) -> None:
        """All is healed: the nodes become equal and take calls; then all that was is judged."""
        self.lan.heal()
        load.await_more(ANSWERS_BETWEEN, seconds=30)
        operations: list[Operation] = load.end()
        logs = self._settled_logs()
        verdict = judge(operations, logs[0])
        for host, log in zip(self.lan.hosts, logs, strict=True):
            if log.calls != logs[0].calls:
                verdict.violations.append(f"{host.name} and {self.lan.hosts[0].name} part: {apart(log, logs[0])}")
        report(verdict, **more)

    def _settled_logs(self) -> list[CommittedLog]:
        """All logs of one moment: a call that its client gave up may still be on its way when the net is healed."""
        while True:
            await_until(self._are_equal, "equal nodes")
            before = self._commit_indices()
            logs = [read_log(self.directory / host.name / NAME, host.name) for host in self.lan.hosts]
            if self._commit_indices() == before:
                return logs

    def _commit_indices(self) -> list[int]:
        return [row["commit_index"] for row in self.status(self.lan.hosts[0])["nodes"]]

    def terms(self) -> dict[str, int]:
        return {row["label"]: row["term"] for row in self.status(self.lan.hosts[0])["nodes"]}

    def _are_equal(self) -> bool:
        rows = self.status(self.lan.hosts[0])["nodes"]
        keys = {(row["log_hash"], row["state_hash"], row["term"], row["commit_index"]) for row in rows}
        leaders = [row for row in rows if row["role"] == "leader"]
        is_whole = len(rows) == len(self.lan.hosts) and all(row["healthy"] and row["state_hash"] for row in rows)
        return len(keys) == 1 and len(leaders) == 1 and is_whole

    def _conflux(self, host: Host, *arguments: str) -> Callable[..., Any]:
        data_dir = str(self.directory / host.name)
        environment = {**os.environ, MARK: str(self.directory)}
        command = python("-m", "conflux", "--data-dir", data_dir, *arguments)
        return lambda *more: host.run([*command, *more], env=environment, timeout=60)

    def close(self) -> None:
        while pids := marked(str(self.directory)):
            for pid in pids:
                kill(pid)
            time.sleep(0.01)


def apart(log: CommittedLog, other: CommittedLog) -> str:
    """Where two logs part."""
    pairs = zip_longest(log.calls, other.calls)
    place, pair = next((place, pair) for place, pair in enumerate(pairs) if pair[0] != pair[1])
    sizes = f"{len(log.calls)} and {len(other.calls)} calls, {log.entries} and {other.entries} entries"
    return f"call {place} is {pair[0]} and {pair[1]}; {sizes}"


def enter(host: Host) -> None:
    """Move this thread to a host: the sockets that it and its later threads make are that host's."""
    descriptor = os.open(f"/run/netns/{host.namespace}", os.O_RDONLY)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(descriptor, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")
    finally:
        os.close(descriptor)


@pytest.fixture
def make_lan_cluster(tmp_path: Path) -> Iterator[Callable[[int], LanCluster]]:
    made: list[LanCluster] = []

    def make(hosts: int) -> LanCluster:
        made.append(LanCluster(Lan(hosts).__enter__(), tmp_path))
        made[-1].start()
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()
        cluster.lan.__exit__()


def roles(cluster: LanCluster) -> tuple[Host, list[Host]]:
    """(host of the leader, the others)."""
    found: list[str] = []
    await_until(lambda: found.append(cluster.leader_of(cluster.lan.hosts[0]) or "") or found[-1], "a leader")
    leader = next(host for host in cluster.lan.hosts if host.name == found[-1])
    return leader, [host for host in cluster.lan.hosts if host is not leader]


def await_leader(cluster: LanCluster, at: Host, *, among: list[Host], seconds: float = 20.0) -> str:
    """Until a host's part of the cluster has one of these as its leader."""
    names = [host.name for host in among]
    found: list[str | None] = []
    await_until(lambda: found.append(cluster.leader_of(at)) or found[-1] in names, f"one of {names} to lead", seconds)
    return str(found[-1])


@pytest.mark.timeout(400)
@pytest.mark.parametrize("size", [3, 5] if FULL else [3])
def test_a_leader_on_the_small_side_of_a_split_is_replaced_and_never_answers_stale(
    size: int, make_lan_cluster: Callable[[int], LanCluster], report: Report
) -> None:
    cluster = make_lan_cluster(size)
    with cluster.load() as load:
        for _ in range(ROUNDS):
            load.await_more(ANSWERS_BETWEEN)
            leader, others = roles(cluster)
            small = [leader, *others[: size // 2 - 1]]
            large = others[size // 2 - 1 :]
            cluster.lan.split(small)
            await_leader(cluster, large[0], among=large)
            load.await_more(ANSWERS_BETWEEN)
            await_until(lambda: cluster.leader_of(leader) is None, "the old leader to step down", 20)  # noqa: B023
            cluster.lan.heal()
        cluster.settle(load, report, partitions=ROUNDS)


@pytest.mark.timeout(400)
def test_a_leader_that_sends_and_does_not_hear_steps_down(
    make_lan_cluster: Callable[[int], LanCluster], report: Report
) -> None:
    """B6."""
    cluster = make_lan_cluster(3)
    with cluster.load() as load:
        for _ in range(ROUNDS):
            load.await_more(ANSWERS_BETWEEN)
            leader, others = roles(cluster)
            leader.deaf()
            await_leader(cluster, others[0], among=others)
            load.await_more(ANSWERS_BETWEEN)
            cluster.lan.heal()
        cluster.settle(load, report, partitions=ROUNDS)


@needs_time
@pytest.mark.timeout(400)
def test_a_follower_that_hears_nothing_disturbs_nobody_and_comes_back_quietly(
    make_lan_cluster: Callable[[int], LanCluster], report: Report
) -> None:
    """B3: it may ask for votes for as long as it likes; pre-vote keeps the term where it is."""
    cluster = make_lan_cluster(3)
    with cluster.load() as load:
        for _ in range(ROUNDS):
            load.await_more(ANSWERS_BETWEEN)
            leader, others = roles(cluster)
            others[0].deaf()
            load.await_more(2 * ANSWERS_BETWEEN)
            time.sleep(OUTAGE_SECONDS)
            cluster.lan.heal()
            load.await_more(ANSWERS_BETWEEN)
            assert roles(cluster)[0] is leader
        cluster.settle(load, report, partitions=ROUNDS)


@pytest.mark.timeout(400)
@pytest.mark.parametrize("cut", ["leader", pytest.param("followers", marks=needs_time)])
def test_with_one_link_of_the_triangle_cut_there_is_a_stable_leader(
    cut: str, make_lan_cluster: Callable[[int], LanCluster], report: Report
) -> None:
    """B5: A and C do not hear each other, both hear B. One leads, calls are taken, no war of terms breaks out."""
    cluster = make_lan_cluster(3)
    with cluster.load() as load:
        for _ in range(ROUNDS):
            load.await_more(ANSWERS_BETWEEN)
            leader, (one, other) = roles(cluster)
            pair = (leader, other) if cut == "leader" else (one, other)
            between = one if cut == "leader" else leader
            pair[0].drops_from(pair[1])
            pair[1].drops_from(pair[0])
            load.await_more(ANSWERS_BETWEEN)
            time.sleep(OUTAGE_SECONDS)
            term = cluster.status(between)["term"]
            load.await_more(2 * ANSWERS_BETWEEN)
            time.sleep(OUTAGE_SECONDS)
            assert cluster.status(between)["term"] <= term + 1
            cluster.lan.heal()
        cluster.settle(load, report, partitions=ROUNDS)


@pytest.mark.timeout(400)
def test_no_majority_anywhere_and_then_all_is_healed(
    make_lan_cluster: Callable[[int], LanCluster], report: Report
) -> None:
    cluster = make_lan_cluster(3)
    with cluster.load(patience_s=(0.5, 1.0, 20.0)) as load:
        for _ in range(ROUNDS):
            load.await_more(ANSWERS_BETWEEN)
            for host in cluster.lan.hosts:
                host.unplug()
            time.sleep(OUTAGE_SECONDS)
            assert cluster.leader_of(cluster.lan.hosts[0]) is None
            cluster.lan.heal()
        cluster.settle(load, report, partitions=ROUNDS)
