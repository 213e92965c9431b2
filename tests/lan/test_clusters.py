"""Clusters on a LAN: one command on each host, no address given, whatever the network does."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conflux.transport.keys import ClusterKey
from tests.lan.machine import DEADLINE_S, Machine
from tests.lan.nat import FORWARDED_PORT, behind, close_peers_port, open_again, skip_without_nft
from tests.lan.network import Lan
from tests.process.machine import new_key
from tests.process.rows import row

SLEEP_S = 12.0


@pytest.fixture
def machines(make_lan: Callable[[int], Lan], tmp_path: Path) -> Callable[..., list[Machine]]:
    def make(count: int) -> list[Machine]:
        key = new_key(tmp_path, "cluster.key")
        return [Machine(host, tmp_path, key) for host in make_lan(count).hosts]

    return make


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


def test_a_host_joins_by_a_token_and_finds_the_others_by_itself(machines: Callable[..., list[Machine]]) -> None:
    *nodes, newcomer = machines(3)
    for node in nodes:
        node.start_well(size=2)
    nodes[0].await_nodes(2)
    assert nodes[0].type("perform", "append", "foo").returncode == 0
    invited = nodes[0].type("members", "add")
    token = invited.stdout.strip()
    assert f"conflux start --join {token} --key cluster.key --peer 10.77.0." in invited.stderr
    ran = newcomer.type("start", "--join", token, "--detach")
    assert ran.returncode == 0, ran.stderr
    newcomer.await_nodes(3)
    assert newcomer.type("stop", key=False).returncode == 0
    ran = newcomer.type("start", "--detach", key=False)  # without a word of joining
    assert ran.returncode == 0, ran.stderr
    newcomer.await_nodes(3)
    assert json.loads(newcomer.type("state").stdout) == ["foo"]


@row("addresses or ports have changed")
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


@row("a node has another key, and announces itself")
def test_neighbours_of_the_same_name_with_other_keys_do_not_mix(
    machines: Callable[..., list[Machine]], tmp_path: Path
) -> None:
    ours, theirs = (nodes := machines(4))[:2], nodes[2:]
    other_key = new_key(tmp_path, "other.key")
    for machine in theirs:
        machine.key = other_key
    ours[0].start_well(size=2)
    theirs[0].start_well(size=2)
    mine, their = (ClusterKey.load(str(side[0].key)).fingerprint for side in (ours, theirs))
    line = f"another cluster 'conflux' is on this network, with the key {their}: ours is {mine}"
    ours[0].await_waiting_for("waiting for 1 of 2 nodes; here are ", line)
    assert f"its key is {their}, ours is {mine}" in ours[0].type("logs").stdout
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
    """It says nothing for longer than any time-out of links, watches and candidates. So it does with SLEEP_S = 600."""
    nodes = machines(3)
    for node in nodes:
        node.start_well(size=3)
    rows = nodes[0].await_nodes(3)
    before = nodes[0].status()
    own = f"{nodes[0].host.address}:7420"  # the one that the commands below talk to
    sleeper = next(row for row in rows if row["id"] != before["leader"] and row["endpoint"] != own)
    (host,) = (node.host for node in nodes if sleeper["endpoint"] == f"{node.host.address}:7420")
    os.kill(sleeper["pid"], signal.SIGSTOP)
    host.unplug()  # its kernel sleeps too, and acknowledges nothing
    began_s = time.monotonic()
    try:
        for number in range(5):
            assert nodes[0].type("perform", "append", str(number)).returncode == 0
        time.sleep(max(0.0, SLEEP_S - (time.monotonic() - began_s)))
    finally:
        host.plug()
        os.kill(sleeper["pid"], signal.SIGCONT)
    nodes[0].await_nodes(3)
    after = nodes[0].status()
    assert (after["leader"], after["term"]) == (before["leader"], before["term"])


def test_a_node_behind_nat_is_dialled_where_it_says_and_its_own_machine_dials_it_at_home(
    make_lan: Callable[[int], Lan], tmp_path: Path
) -> None:
    lan = make_lan(2)
    router, outside = lan.hosts
    skip_without_nft(router)
    key = new_key(tmp_path, "cluster.key")
    there, here = Machine(outside, tmp_path, key), Machine(behind(lan, router), tmp_path, key)
    there.start_well("--id", "there", size=2)
    public = f"{router.address}:{FORWARDED_PORT}"
    here.start_well("--id", "here", "--advertise", public, "--peer", f"{outside.address}:7420", size=2)
    rows = there.await_nodes(2)
    assert {row["label"]: row["endpoint"] for row in rows} == {"here": public, "there": f"{outside.address}:7420"}
    ran = here.type("perform", "append", "from within", key=False)
    assert (ran.returncode, ran.stderr) == (0, ""), "the address that others dial leads nowhere from here"
    assert json.loads(there.type("state", "--node", "here").stdout) == ["from within"]
    log = there.type("logs", "--node", "here")
    assert f"listens on {public}" in log.stdout, log.stderr
    assert here.type("stop", key=False).returncode == 0
    assert here.type("start", "--detach", key=False).returncode == 0, "what it said of itself is remembered"
    assert {row["endpoint"] for row in there.await_nodes(2)} == {public, f"{outside.address}:7420"}


@row("a node's port for the others is closed")
def test_a_closed_port_is_named_on_both_sides(machines: Callable[..., list[Machine]]) -> None:
    closed, other = machines(2)
    skip_without_nft(closed.host)
    close_peers_port(closed.host)
    closed.start_well("--id", "a", size=2)
    other.start_well("--id", "b", size=2)
    closed.await_waiting_for(
        "waiting for 1 of 2 nodes; here are a; 10.77.0.2:7420 can be dialled, and nothing comes back to 10.77.0.1:7421 "
        "(a firewall, or a wrong --advertise)"
    )
    other.await_waiting_for("waiting for a", "nothing answers at 10.77.0.1:7421 (not up, or a firewall)")
    open_again(closed.host)
    closed.await_nodes(2)
