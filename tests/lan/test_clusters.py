"""Clusters on a LAN: one command on each host, no address given, and everything that may be typed wrong."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.lan.finder import ROOT
from tests.lan.network import Host, Lan

DEADLINE_S = 60.0
APP = "import conflux\nfrom conflux.apps.list import append, reduce\napp = conflux.App(name='other')\n"
APP += "app.method(append)\napp.reducer(reduce)\n"


class Machine:
    """A host with a data directory of its own, on which commands are typed."""

    def __init__(self, host: Host, directory: Path, key: Path | None) -> None:
        self.host = host
        self.data_dir = directory / host.name
        self.key = key

    def type(self, *arguments: str, key: bool = True, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        keyed = ["--key", str(self.key)] if key and self.key else []
        command = [sys.executable, "-m", "conflux", "--data-dir", str(self.data_dir), *arguments, *keyed]
        return self.host.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=timeout)

    def start(self, *options: str, size: int = 5, **how: Any) -> subprocess.CompletedProcess[str]:
        return self.type("start", "--cluster-size", str(size), "--local", "1", "--detach", *options, **how)

    def start_well(self, *options: str, size: int = 5) -> None:
        ran = self.start(*options, size=size)
        assert ran.returncode == 0, ran.stderr

    def status(self) -> dict[str, Any]:
        ran = self.type("status", "--json")
        return (
            json.loads(ran.stdout) if ran.returncode == 0 else {"waiting_for": ran.stderr, "nodes": [], "leader": None}
        )

    def await_waiting_for(self, *words: str) -> str:
        """Wait until `status` says, in its line on what is missing, all of these words."""
        deadline_s = time.monotonic() + DEADLINE_S
        line = ""
        while time.monotonic() < deadline_s:
            line = self.status()["waiting_for"] or ""
            if all(word in line for word in words):
                return line
        raise AssertionError(f"{words} not in {line!r}")

    def await_nodes(self, count: int) -> list[dict[str, Any]]:
        """Wait until as many healthy nodes hold the same log."""
        deadline_s = time.monotonic() + DEADLINE_S
        rows: list[dict[str, Any]] = []
        while time.monotonic() < deadline_s:
            rows = [row for row in self.status()["nodes"] if row["healthy"]]
            if len(rows) == count and len({(row["applied_revision"], row["log_hash"]) for row in rows}) == 1:
                return rows
        raise AssertionError(f"{count} equal nodes expected: {rows}")


@pytest.fixture
def machines(make_lan: Callable[[int], Lan], tmp_path: Path) -> Callable[..., list[Machine]]:
    def make(count: int) -> list[Machine]:
        key = new_key(tmp_path, "cluster.key")
        return [Machine(host, tmp_path, key) for host in make_lan(count).hosts]

    return make


def new_key(directory: Path, name: str) -> Path:
    from conflux.transport.keys import ClusterKey

    path = directory / name
    ClusterKey.generate().save(path)
    return path


def assert_refused(ran: subprocess.CompletedProcess[str], status: int, *words: str) -> None:
    assert ran.returncode == status, ran.stderr
    assert len(ran.stderr.splitlines()) == 1 and "Traceback" not in ran.stderr, ran.stderr
    for word in words:
        assert word in ran.stderr, ran.stderr


def test_five_hosts_one_command_each_and_a_sixth_that_performs(machines: Callable[..., list[Machine]]) -> None:
    *nodes, sixth = machines(6)
    for node in nodes:
        node.start_well()
    assert sixth.type("wait", "--timeout", "40", timeout=90).returncode == 0
    ran = sixth.type("perform", "append", "foo")
    assert json.loads(ran.stdout) == {"type": "append", "thing": "foo"}
    assert "found the cluster 'conflux' at 10.77.0." in ran.stderr, "it says which one before it writes"
    rows = sixth.await_nodes(5)
    assert {row["endpoint"] for row in rows} == {f"{node.host.address}:7420" for node in nodes}
    without_key = sixth.type("state", "--endpoint", "10.77.0.1:7420", "--timeout", "2", key=False)
    assert without_key.returncode == 3 and without_key.stdout == ""


def test_all_come_back_with_other_addresses_and_ports(machines: Callable[..., list[Machine]]) -> None:
    nodes = machines(3)
    for node in nodes:
        node.start_well(size=3)
    nodes[0].await_nodes(3)
    assert nodes[0].type("perform", "append", "before").returncode == 0
    for node in nodes:
        assert node.type("stop", key=False).returncode == 0
    for number, node in enumerate(nodes):
        node.host.move(f"10.77.1.{10 + number}")
        node.start_well("--bind", f"0.0.0.0:{8000 + 10 * number}", size=3)
    rows = nodes[1].await_nodes(3)
    assert {row["endpoint"] for row in rows} == {f"10.77.1.{10 + n}:{8000 + 10 * n}" for n in range(3)}
    assert json.loads(nodes[2].type("state").stdout) == ["before"]


def test_neighbours_of_the_same_name_with_other_keys_do_not_mix(
    machines: Callable[..., list[Machine]], tmp_path: Path
) -> None:
    ours, theirs = (nodes := machines(4))[:2], nodes[2:]
    other_key = new_key(tmp_path, "other.key")
    for machine in theirs:
        machine.key = other_key
    ours[0].start_well(size=2)
    theirs[0].start_well(size=2)
    ours[0].await_waiting_for("waiting for 1 of 2", "with the key")
    ours[1].start_well(size=2)
    theirs[1].start_well(size=2)
    for group in (ours, theirs):
        group[0].await_nodes(2)
        assert group[0].type("perform", "append", group[0].host.name).returncode == 0
    assert json.loads(ours[1].type("state").stdout) == ["host1"]
    assert json.loads(theirs[1].type("state").stdout) == ["host3"]


def test_two_insecure_groups_are_told_apart_by_name(machines: Callable[..., list[Machine]]) -> None:
    nodes = machines(4)
    for place, machine in enumerate(nodes):
        machine.key = None
        machine.start_well("--insecure", "--cluster", ("red", "blue")[place // 2], size=2)
    for machine, name in ((nodes[0], "red"), (nodes[2], "blue")):
        deadline_s = time.monotonic() + DEADLINE_S
        while machine.type("perform", "append", name, "--cluster", name).returncode and time.monotonic() < deadline_s:
            pass
    assert json.loads(nodes[1].type("state", "--cluster", "red").stdout) == ["red"]
    assert json.loads(nodes[3].type("state", "--cluster", "blue").stdout) == ["blue"]


def test_a_host_that_slept_comes_back_without_a_stir(machines: Callable[..., list[Machine]]) -> None:
    nodes = machines(3)
    for node in nodes:
        node.start_well(size=3)
    rows = nodes[0].await_nodes(3)
    before = nodes[0].status()
    own = f"{nodes[0].host.address}:7420"  # the one that the commands below talk to
    sleeper = next(row for row in rows if row["id"] != before["leader"] and row["endpoint"] != own)
    os.kill(sleeper["pid"], signal.SIGSTOP)
    try:
        for number in range(20):
            assert nodes[0].type("perform", "append", str(number)).returncode == 0
    finally:
        os.kill(sleeper["pid"], signal.SIGCONT)
    nodes[0].await_nodes(3)
    after = nodes[0].status()
    assert (after["leader"], after["term"]) == (before["leader"], before["term"])


def test_no_key(machines: Callable[..., list[Machine]]) -> None:
    (machine,) = machines(1)
    ran = machine.start(key=False)
    assert_refused(ran, 2, "conflux keygen cluster.key", "conflux start --cluster-size 5 --local 1 --key cluster.key")
    assert not machine.data_dir.exists()


def test_insecure_without_a_name(machines: Callable[..., list[Machine]]) -> None:
    (machine,) = machines(1)
    assert_refused(machine.start("--insecure", key=False), 2, "--cluster")


def test_a_key_that_others_may_read(machines: Callable[..., list[Machine]]) -> None:
    (machine,) = machines(1)
    assert machine.key is not None
    machine.key.chmod(0o644)
    assert_refused(machine.start(), 2, "chmod 600")


def test_a_loopback_advertise_and_a_taken_port(machines: Callable[..., list[Machine]]) -> None:
    (machine,) = machines(1)
    assert_refused(machine.start("--advertise", "127.0.0.1"), 2, "127.0.0.1", "--advertise")
    squatter = machine.host.popen([sys.executable, "-m", "http.server", "7430"], stderr=subprocess.DEVNULL)
    try:
        deadline_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline_s:
            ran = machine.start("--bind", "0.0.0.0:7430")
            if ran.returncode == 1:
                break
            machine.type("stop", key=False)
        assert_refused(ran, 1, "port 7430", "taken")
    finally:
        squatter.kill()
        squatter.wait()


def test_another_size_another_app_and_the_same_label_are_named(
    machines: Callable[..., list[Machine]], tmp_path: Path
) -> None:
    nodes = machines(4)
    (tmp_path / "other.py").write_text(APP)
    nodes[0].start_well("--id", "a", size=3)
    nodes[1].start_well("--id", "b", size=4)
    nodes[1].await_waiting_for("a at 10.77.0.1:7420 has cluster size 3, not 4")
    nodes[2].start_well("--id", "c", "--app", "other:app", "--app-dir", str(tmp_path), size=3)
    nodes[2].await_waiting_for("a at 10.77.0.1:7420 has app list, not other")
    nodes[3].start_well("--id", "a", size=3)
    nodes[3].await_waiting_for("two nodes have the same id")


def test_a_node_too_many_is_told_that_the_cluster_is_formed(machines: Callable[..., list[Machine]]) -> None:
    nodes = machines(4)
    for node in nodes[:3]:
        node.start_well(size=3)
    nodes[0].await_nodes(3)
    nodes[3].start_well(size=3)
    nodes[3].await_waiting_for("is formed already")


def test_a_lost_directory_is_not_made_anew(machines: Callable[..., list[Machine]]) -> None:
    nodes = machines(2)
    for node in nodes:
        node.start_well(size=2)
    nodes[0].await_nodes(2)
    nodes[1].type("stop", key=False)
    (lost,) = (path for path in (nodes[1].data_dir / "conflux").iterdir() if path.is_dir())
    for path in lost.iterdir():
        path.unlink()
    lost.rmdir()
    assert_refused(nodes[1].start(size=2), 1, "missing", "voted")
    assert not lost.exists()
