"""The second table of docs/reference/beginnings.md: clusters on several machines, a row each, with its exact line.

The machines are directories and ports of this one's loopback, with `--peer`. What needs a network of its own, mDNS and
addresses that change, is in tests/lan.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conflux.wire.peers import Founder
from tests.ports import free_pair
from tests.process.cluster import Ran
from tests.process.machine import APP, Machine, accept_on_disk, new_key
from tests.process.rows import row

LOST = Founder("f" * 32, "c", "")
Make = Callable[..., Machine]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Make]:
    """Makes machines that share a key; what runs on them is stopped at the end."""
    made: list[Machine] = []
    key = new_key(tmp_path, "cluster.key")

    def make(name: str) -> Machine:
        made.append(Machine(tmp_path, name, key))
        return made[-1]

    yield make
    for each in made:
        each.type("stop", key=False)


def assert_refused(ran: Ran, status: int, line: str) -> None:
    """One line, this one."""
    assert (ran.status, ran.err, ran.out) == (status, f"error: {line}\n", "")


@row("no key, and no `--insecure`")
def test_no_key(machine: Make) -> None:
    a = machine("a")
    assert_refused(
        a.start(size=5, peers="127.0.0.1:9", key=False),
        2,
        "nodes on several machines need a key. Make one with `conflux keygen cluster.key`, copy it to each machine, "
        "and there: conflux start --cluster-size 5 --local 1 --key cluster.key",
    )
    assert not a.data_dir.exists()


@row("`--insecure` without a `--cluster`", "`--insecure` and `--key`")
def test_insecure_needs_a_name_and_no_key(machine: Make) -> None:
    a = machine("a")
    assert_refused(
        a.start("--insecure", size=5, peers="127.0.0.1:9", key=False),
        2,
        "--insecure needs a cluster of its own name. Name it: --cluster NAME. Whoever uses that name joins in.",
    )
    ran = a.start("--insecure", "--cluster", "red", size=5, peers="127.0.0.1:9")
    assert_refused(ran, 2, "--insecure and --key exclude each other. Leave one of them out.")
    assert not a.data_dir.exists()


@row("a key file that others can read")
def test_a_key_that_others_can_read(machine: Make) -> None:
    a = machine("a")
    assert a.key is not None
    a.key.chmod(0o644)
    line = f"Other users can read the key file {a.key}. chmod 600 {a.key}"
    assert_refused(a.start(size=5, peers="127.0.0.1:9"), 2, line)
    assert not a.data_dir.exists()
    a.key.chmod(0o600)


@row("a loopback `--advertise`")
def test_a_loopback_advertise(machine: Make) -> None:
    a = machine("a")
    assert_refused(
        a.start("--bind", f"0.0.0.0:{free_pair()}", "--advertise", "127.0.0.1", size=5, peers="127.0.0.1:9"),
        2,
        "other machines can't dial 127.0.0.1: it is each machine's own loopback. "
        "Name an address of this machine on the network: --advertise HOST[:PORT]",
    )


@row("a `--peer` that is no address")
def test_a_peer_that_is_no_address(machine: Make) -> None:
    a = machine("a")
    for typed, line in {
        "10.77.0.2": "'10.77.0.2' is not an address: its port is not in 0..65534. "
        "An address is HOST:PORT, e.g. 192.168.1.10:7420 or [2001:db8::10]:7420.",
        "0.0.0.0:7420": "nobody can dial 0.0.0.0:7420: it only says where to listen. Name a --peer HOST:PORT.",
    }.items():
        assert_refused(a.start(size=3, peers=typed), 2, line)
    assert not a.data_dir.exists()


@row("another key than at the first start here", "another `--local` than at the first start here")
def test_another_key_or_another_count_than_at_the_first_start(machine: Make, tmp_path: Path) -> None:
    a = machine("a")
    a.start_well(size=3, peers="127.0.0.1:9")
    a.type("stop", key=False)
    a.key = new_key(tmp_path, "other.key")
    line = f"the cluster 'conflux' here has another key than {a.key}"
    assert_refused(a.start(size=3), 1, f"{line}. Leave --key out, or name another cluster with --cluster.")
    ran = a.type("start", "--local", "2", key=False)
    assert_refused(ran, 1, "1 nodes of the cluster 'conflux' are on this machine, not 2. Leave --local out or give 1.")


@row("fewer than N nodes are seen", "just N are seen", "nothing answers at a node's address")
def test_who_is_missing_is_told_until_all_are_here(machine: Make) -> None:
    a, b, c = machine("a"), machine("b"), machine("c")
    a.start_well(size=3, peers=[b, c])
    a.await_line("waiting for 2 of 3 nodes; here are a")
    b.start_well(size=3, peers=[a, c])
    a.await_line("waiting for 1 of 3 nodes; here are a, b")
    host, _, port = c.address.rpartition(":")
    a.await_line(f"nothing answers at {host}:{int(port) + 1} (not up, or a firewall)")
    c.start_well(size=3, peers=[a, b])
    assert a.await_formed() == b.await_formed() == c.await_formed()


@row("more than N are seen")
def test_one_too_many_before_the_cluster_has_formed(machine: Make) -> None:
    a, others = machine("a"), [machine(name) for name in "bcd"]
    for other in others:  # they know of the first alone, so nobody sees anybody before it comes
        other.start_well(size=3, peers=[a])
    a.start_well(size=3, peers=others[:1])
    a.await_line("4 candidates for a cluster of 3: a, b, c, d; stop those that do not belong")
    others[0].type("stop", key=False)
    a.await_formed()


@row("two have the same label")
def test_two_of_one_label(machine: Make) -> None:
    a, b = machine("a"), machine("b")
    a.start_well("--id", "web", size=2, peers=[b])
    b.start_well("--id", "web", size=2, peers=[a])
    for each in (a, b):
        each.await_line("two nodes have the same id: web, web; start one of them with another --id")


@row("a node has another size", "a node has another app, or version")
def test_another_size_app_or_version(machine: Make, tmp_path: Path) -> None:
    a, b, c = machine("a"), machine("b"), machine("c")
    (tmp_path / "other.py").write_text(APP)
    a.start_well(size=3, peers=[b, c])
    b.start_well(size=4, peers=[a])
    b.await_line(f"a at {a.address} has cluster size 3, not 4")
    a.await_line(f"b at {b.address} has cluster size 4, not 3")
    c.start_well("--app", "other:app", "--app-dir", str(tmp_path), size=3, peers=[a])
    c.await_line(f"a at {a.address} has app list, not other")
    a.await_line(f"c at {c.address} has app other, not list")


@row("a node has another key, and is dialled")
def test_another_key_is_named_where_it_is_dialled(machine: Make, tmp_path: Path) -> None:
    a, b = machine("a"), machine("b")
    b.key = new_key(tmp_path, "other.key")
    a.start_well(size=2, peers=[b])
    b.start_well(size=2, peers=[a])
    a.await_line(f"{b.address} refuses our key")
    b.await_line(f"{a.address} refuses our key")
    assert "another cluster key" in (a.place / "node.log").read_text()
    for command in (("status",), ("perform", "append", "x")):
        ran = b.type(*command, "--endpoint", a.address, "--timeout", "10")
        assert (
            ran.status == 3 and ran.err.startswith(f"error: {a.address} refuses our key") and ran.err.count("\n") == 1
        )


@row("a cluster of this name and key has formed, without this node")
def test_a_cluster_that_has_formed_without_this_node(machine: Make) -> None:
    a, b, late = machine("a"), machine("b"), machine("late")
    a.start_well(size=2, peers=[b])
    b.start_well(size=2, peers=[a])
    a.await_formed()
    late.start_well(size=2, peers=[a])
    late.await_line("the cluster 'conflux' is formed already, by a, b, without this node")


@row(
    "a founder is gone after others have accepted it",
    "it came back with a new directory",
    "it is gone, and `start --forget 68a1f27b` on one of the others",
    "`--forget` of what was not accepted",
    "`--forget`, and the cluster has formed",
)
def test_a_founder_that_was_accepted_is_lost(machine: Make) -> None:
    a, b, c = machine("a"), machine("b"), machine("c")
    for each in (a, b):
        each.start_well(size=3, peers=[a, b, c])
        each.type("stop", key=False)
    lost = accept_on_disk([a, b], LOST)
    for each in (a, b):
        each.start_well(size=3)
    a.await_line(f"waiting for c to accept the cluster {lost}")
    c.start_well(size=3, peers=[a, b])  # too early, which does no harm
    a.await_line("c came back with another directory, and is not the one that was accepted")
    a.type("stop", key=False)
    hint = "`conflux status` names the one."
    assert_refused(a.start("--forget", "00000000", size=3), 1, f"a has accepted {lost}, not 00000000. {hint}")
    a.start_well("--forget", lost, size=3)
    formed = a.await_formed()
    assert formed == b.await_formed() == c.await_formed() != lost
    a.type("stop", key=False)
    ran = a.start("--forget", lost, size=3)
    assert_refused(ran, 1, "the cluster of a is formed: there is nothing to forget")


@row("the directory of the only node here is missing, once it was made")
def test_the_only_directory_here_is_missing(machine: Make) -> None:
    a = machine("a")
    a.start_well(size=3, peers="127.0.0.1:9")
    a.type("stop", key=False)
    shutil.rmtree(a.place)
    assert_refused(
        a.start(size=3),
        1,
        f"no node can be started: a is not started: its directory {a.place} is missing. It is not made anew, since the "
        "node may have voted: put that very directory back, not an older copy, or go on without it, or let a new node "
        "take its place: conflux start --join wait --id a, then conflux members replace a",
    )
    assert not a.place.exists()


@row("what was said of the network at an earlier start, and nothing now")
def test_what_was_said_of_the_network_holds_until_something_else_is_said(machine: Make) -> None:
    a, b = machine("a"), machine("b")
    a.start_well(size=2, peers=[b])
    a.type("stop", key=False)
    assert a.type("start", "--detach", key=False).status == 0  # nothing of --no-mdns, --peer, --bind
    assert "mDNS" not in (a.place / "node.log").read_text()
    assert re.search(rf'"address": "{a.address}"', (a.data_dir / "conflux" / "cluster.json").read_text())
    b.start_well(size=2, peers="127.0.0.1:9")  # it knows nobody: the first must know it
    assert a.await_formed() == b.await_formed()
