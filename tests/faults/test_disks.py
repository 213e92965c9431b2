"""Disks that are full (C4), fail (C5), are slow (B7), lie (C6, C7), are opened twice (C8) or read-only (C20)."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conflux.discovery.local import Manifest
from conflux.errors import NotApplied, OutcomeUnknown
from conflux.node import child, process
from tests.faults import smalldisk, strace
from tests.faults.budget import FULL, needs_time
from tests.faults.cluster import FaultCluster, await_until
from tests.faults.smalldisk import SmallDisk
from tests.faults.strace import Tracer, failing, slow

ANSWERS_BETWEEN = 20
PADDING_BYTES = 20_000
MAKERS = Callable[..., FaultCluster]
REPORT = Callable[..., None]

needs_mounts = pytest.mark.skipif(smalldisk.why_not() is not None, reason=str(smalldisk.why_not()))
needs_strace = pytest.mark.skipif(strace.why_not() is not None, reason=str(strace.why_not()))


@pytest.fixture
def on_small_disks(make_cluster: MAKERS) -> Iterator[Callable[[], tuple[FaultCluster, dict[str, SmallDisk]]]]:
    """Starts a cluster of three with a small disk for each node."""
    disks: dict[str, SmallDisk] = {}

    def start() -> tuple[FaultCluster, dict[str, SmallDisk]]:
        cluster = make_cluster(3, start=False)
        for label in cluster.labels:
            disks[label] = SmallDisk(cluster.directory / label)
        cluster.start()
        return cluster, disks

    yield start
    for disk in disks.values():
        disk.close()


def is_full(cluster: FaultCluster, label: str) -> bool:
    row = cluster.rows()[label]
    return not row["healthy"] and "disk full" in (row["problem"] or "")


@needs_mounts
@pytest.mark.timeout(300)
def test_a_leader_whose_disk_is_full_says_so_steps_down_serves_local_reads_and_resumes_alone(
    on_small_disks: Callable[[], tuple[FaultCluster, dict[str, SmallDisk]]], report: REPORT
) -> None:
    cluster, disks = on_small_disks()
    full = cluster.leader()
    pid = cluster.pid(full)
    with cluster.load(padding=PADDING_BYTES) as load:
        load.await_more(ANSWERS_BETWEEN)
        disks[full].fill()
        await_until(lambda: is_full(cluster, full), f"{full} to say that its disk is full")
        assert cluster.leader(other_than=full) != full
        load.await_more(2 * ANSWERS_BETWEEN)
        local = cluster.run("state", "--node", full, "--json")
        assert local.status == 0 and local.json()["state"]["length"] > 0, local.err
        assert is_full(cluster, full)
        disks[full].free()
        await_until(lambda: cluster.rows()[full]["healthy"], f"{full} to go on")
        load.await_more(ANSWERS_BETWEEN)
        verdict = cluster.settle(load)
    assert cluster.pid(full) == pid
    report(verdict, disks_full=1)


@needs_mounts
@pytest.mark.timeout(300)
def test_a_cluster_whose_disks_are_all_full_refuses_calls_and_resumes_alone(
    on_small_disks: Callable[[], tuple[FaultCluster, dict[str, SmallDisk]]], report: REPORT
) -> None:
    cluster, disks = on_small_disks()
    pids = [cluster.pid(label) for label in cluster.labels]
    with cluster.load(padding=PADDING_BYTES, patience_s=(1.0, 2.0)) as load:
        load.await_more(ANSWERS_BETWEEN)
        for disk in disks.values():
            disk.fill()
        await_until(lambda: sum(is_full(cluster, label) for label in cluster.labels) >= 2, "two full disks")
        with pytest.raises((NotApplied, OutcomeUnknown)):
            cluster.client.perform("append_to_even", "nowhere-0", "." * PADDING_BYTES, timeout=2)
        for label in cluster.labels:
            assert cluster.run("state", "--node", label, "--json").status == 0
        for disk in disks.values():
            disk.free()
        await_until(lambda: all(row["healthy"] for row in cluster.rows().values()), "all to go on")
        load.await_more(ANSWERS_BETWEEN)
        load.end()
        verdict = cluster.settle(load)
    verdict.violations = [line for line in verdict.violations if "nowhere-0" not in line]  # the call from outside
    assert [cluster.pid(label) for label in cluster.labels] == pids
    report(verdict, disks_full=3)


@needs_strace
@pytest.mark.timeout(300)
@pytest.mark.parametrize("call", ["fdatasync", pytest.param("pwrite64", marks=needs_time)])
def test_a_node_whose_sync_fails_exits_and_starts_again(
    call: str, make_cluster: MAKERS, report: REPORT, tmp_path: Path
) -> None:
    cluster = make_cluster(3)
    with cluster.load() as load:
        for number, is_leader in enumerate((True, False) * (5 if FULL else 1)):
            load.await_more(ANSWERS_BETWEEN)
            label = cluster.leader() if is_leader else cluster.followers()[0]
            with Tracer(cluster, label, tmp_path / str(number), *failing(call, "EIO")):
                cluster.await_gone(label, seconds=20)
            assert "StorageFailed" in cluster.node_log(label)
            load.await_more(ANSWERS_BETWEEN)
            cluster.start(label)
        verdict = cluster.settle(load)
    report(verdict, syncs_failed=number + 1)


@needs_strace
@pytest.mark.timeout(300)
def test_a_leader_with_a_slow_disk_gives_up_leadership(make_cluster: MAKERS, report: REPORT, tmp_path: Path) -> None:
    cluster = make_cluster(3)
    with cluster.load() as load:
        for number in range(5 if FULL else 1):
            load.await_more(ANSWERS_BETWEEN)
            label = cluster.leader()
            with Tracer(cluster, label, tmp_path / str(number), *slow("fdatasync", 2.0)):
                cluster.leader(other_than=label, seconds=20)
                load.await_more(2 * ANSWERS_BETWEEN)
            cluster.await_serving(label)
        verdict = cluster.settle(load)
    report(verdict, disks_slow=number + 1)


def cut_to_a_page(data: bytes) -> bytes:
    return data[:4096]


def cut_in_half(data: bytes) -> bytes:
    used = len(data.rstrip(b"\0"))  # what follows is a reserve: the file may lose that
    return data[: used // 2 // 4096 * 4096]


def emptied(data: bytes) -> bytes:
    return b""


def flipped_in_an_entry(data: bytes) -> bytes:
    is_there = b"c0-0" in data
    assert is_there
    return data.replace(b"c0-0", b"c0-1")  # in every copy: pages that are free hold old ones


def flipped_in_the_last_write(data: bytes) -> bytes:
    """Of the newest epoch: the sectors of older ones may stand behind it."""
    sectors = [data[at : at + 512] for at in range(0, len(data), 512)]
    last = max(range(len(sectors)), key=lambda place: (sectors[place][:10], place))
    return data[: last * 512 + 20] + bytes([data[last * 512 + 20] ^ 1]) + data[last * 512 + 21 :]


def led_astray(data: bytes) -> bytes:
    """Both meta pages name another page as the tree's root."""
    changed = bytearray(data)
    for page in (0, 4096):
        changed[page + 128] ^= 4
    return bytes(changed)


@pytest.mark.timeout(300)
def test_a_node_with_a_damaged_file_is_refused_and_the_others_serve(make_cluster: MAKERS, report: REPORT) -> None:
    cluster = make_cluster(3)
    of_data = [cut_in_half, flipped_in_an_entry, *([cut_to_a_page, emptied, led_astray] if FULL else [])]
    of_journal = [flipped_in_the_last_write, *([cut_to_a_page, emptied] if FULL else [])]
    damages = [*(("data.mdb", each) for each in of_data), *(("journal", each) for each in of_journal)]
    with cluster.load(clients=2, patience_s=(20.0,)) as load:
        await_until(lambda: any(each.value == "c0-0" and each.length < 0 for each in load.operations), "a first call")
        load.await_more(3 * ANSWERS_BETWEEN)
        cluster.kill("n1")
        cluster.start("n1")  # which has LMDB take what the journal holds
        cluster.await_serving("n1")
        for name, damage in damages:
            load.await_more(ANSWERS_BETWEEN)
            data = cluster.directory / "n1" / name
            cluster.kill("n1")
            sound = data.read_bytes()
            damaged = damage(sound)
            data.write_bytes(damaged)
            ran = cluster.start("n1", check=False)
            assert ran.status == 1 and len(ran.err.splitlines()) == 1 and "Traceback" not in ran.err, (damage, ran)
            is_untouched = data.read_bytes() == damaged  # thousands of bytes: not for a report
            assert is_untouched and cluster.pid("n1") is None
            load.await_more(ANSWERS_BETWEEN)
            data.write_bytes(sound)
            cluster.start("n1")
            cluster.await_serving("n1")
        verdict = cluster.settle(load)
    report(verdict, damages=len(damages))


def test_a_second_process_on_a_directory_is_told_so_at_once(make_cluster: MAKERS) -> None:
    cluster = make_cluster(3)
    began_s = time.monotonic()
    ran = cluster.start("n1", check=False)
    assert ran.status == 1 and "already running" in ran.err
    manifest = Manifest.load(cluster.directory)
    assert manifest is not None
    node = manifest.nodes[0]
    ran = subprocess.run(
        child.command(process.main),
        input=json.dumps(spec_of(cluster, node.label, node.identity)),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ran.returncode == 1 and json.loads(ran.stdout)["error"] == "AlreadyOpen"
    assert str(cluster.pid("n1")) in ran.stdout
    assert time.monotonic() - began_s < 10
    cluster.client.perform("append", "after", timeout=10)


def spec_of(cluster: FaultCluster, label: str, identity: str) -> dict[str, Any]:
    """What the launcher would tell a node to be."""
    return {
        "cluster": "conflux",
        "label": label,
        "identity": identity,
        "size": cluster.size,
        "directory": str(cluster.directory / label),
        "bind": "127.0.0.1:0",
        "advertise": "127.0.0.1:0",
        "key_file": str(cluster.directory / "cluster.key"),
        "peers": [],
        "mdns": False,
        "settle_s": 0.0,
        "forget": None,
        "app": "journal:app",
        "app_dir": os.path.dirname(__file__),
        "election_timeout_ms": [300, 500],
        "heartbeat_interval_ms": 50,
        "join": None,
        "archive": None,
        "archive_is_new": False,
    }


@needs_time
@needs_mounts
def test_a_read_only_disk_is_one_line(
    on_small_disks: Callable[[], tuple[FaultCluster, dict[str, SmallDisk]]], report: REPORT
) -> None:
    cluster, disks = on_small_disks()
    with cluster.load() as load:
        load.await_more(ANSWERS_BETWEEN)
        cluster.kill("n1")
        disks["n1"].make_read_only()
        ran = cluster.start("n1", check=False)
        assert ran.status == 1 and len(ran.err.splitlines()) == 1 and "Traceback" not in ran.err, ran
        load.await_more(ANSWERS_BETWEEN)
        disks["n1"].make_read_only(read_only=False)
        cluster.start("n1")
        verdict = cluster.settle(load)
    report(verdict)
