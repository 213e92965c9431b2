"""Nodes of a real LAN find each other, and nobody else. The codes are those of the failure cases."""

from __future__ import annotations

import json
import sys

from tests.lan.finder import ROOT

ANY = "0.0.0.0:7420"
FIND_CLUSTERS = """
import json, sys
from conflux.discovery.mdns import find_clusters
cluster = sys.argv[2] or None
found = find_clusters(fingerprint=sys.argv[1], cluster=cluster, seconds=float(sys.argv[3]))
print(json.dumps([[each.name, each.addresses] for each in found]))
"""


def others(finders, finder):
    return [f"{each.host.address}:7420" for each in finders if each is not finder]


def wait_for_each_other(finders, seconds=20.0):
    for finder in finders:
        finder.wait_for(*others(finders, finder), seconds=seconds)


def test_five_hosts_find_each_other_with_no_address_given(make_lan, find):
    finders = [find(host, address=ANY, hurried=False) for host in make_lan(5).hosts]
    wait_for_each_other(finders)
    for finder in finders:
        assert sorted(finder.addresses) == sorted(others(finders, finder))
        assert finder.counters["sessions"] == finder.counters["announcements"] == 1
        assert finder.end() == []


def test_a_sixth_host_with_the_key_finds_the_cluster_and_announces_nothing(make_lan, find):
    *hosts, client = make_lan(3).hosts
    finders = [find(host, cluster="shop") for host in hosts]
    wait_for_each_other(finders)

    def look(key, cluster, seconds):
        answer = client.run([sys.executable, "-c", FIND_CLUSTERS, key, cluster, seconds], cwd=ROOT)
        return {name: sorted(addresses) for name, addresses in json.loads(answer.stdout)}

    addresses = sorted(f"{host.address}:7420" for host in hosts)
    assert look("f00d", "shop", "10") == {"shop": addresses}
    assert look("f00d", "", "1") == {"shop": addresses}
    assert look("beef", "shop", "1") == {}
    assert all(client.address not in text for finder in finders for text in finder.addresses)


def test_e8_a_cluster_of_the_same_name_with_another_key_is_counted_told_of_and_ignored(make_lan, find):
    hosts = make_lan(4).hosts
    ours = [find(host) for host in hosts[:2]]
    theirs = [find(host, fingerprint="beef") for host in hosts[2:]]
    for side in (ours, theirs):
        wait_for_each_other(side)
        for finder in side:
            finder.wait_until(lambda finder=finder: finder.counters.get("other_keys") == 2)
            assert finder.addresses == others(side, finder)
    for finder in (*ours, *theirs):
        (complaint,) = finder.end()
        assert "its key is" in complaint


def test_e8_two_insecure_groups_are_told_apart_by_their_names(make_lan, find):
    hosts = make_lan(4).hosts
    red = [find(host, cluster="red", fingerprint="insecure") for host in hosts[:2]]
    blue = [find(host, cluster="blue", fingerprint="insecure") for host in hosts[2:]]
    for side in (red, blue):
        wait_for_each_other(side)
        for finder in side:
            finder.wait_until(lambda finder=finder: finder.counters["other_clusters"] == 2)
            assert finder.addresses == others(side, finder)


def test_e2_e7_a_node_that_dies_without_goodbye_stays_a_candidate_and_its_next_life_comes_first(make_lan, find):
    here, there = make_lan(2).hosts
    finder = find(here)
    first = find(there, "again")
    finder.wait_for("10.77.0.2:7420")
    first.end(goodbye=False)
    find(there, "again", address="10.77.0.2:7520")
    finder.wait_for("10.77.0.2:7520")
    assert finder.addresses == ["10.77.0.2:7520", "10.77.0.2:7420"]
    assert finder.counters["candidates"] == 1


def test_e4_a_goodbye_removes_nobody(make_lan, find):
    here, there, third = make_lan(3).hosts
    finder, leaving = find(here), find(there)
    finder.wait_for("10.77.0.2:7420")
    leaving.end(goodbye=True)
    find(third)
    finder.wait_for("10.77.0.3:7420")  # so what came before it has arrived too
    assert "10.77.0.2:7420" in finder.addresses


def test_a_host_that_gets_another_address_is_found_there(make_lan, find):
    hosts = make_lan(3).hosts
    finders = [find(host, address=ANY) for host in hosts]
    wait_for_each_other(finders)
    hosts[0].move("10.77.0.99")
    for finder in finders[1:]:
        finder.wait_for("10.77.0.99:7420")
        assert finder.addresses.index("10.77.0.99:7420") < finder.addresses.index("10.77.0.1:7420")


def test_e1_a_host_with_no_network_says_so_once_and_joins_in_when_it_has_one(make_lan, find):
    here, there = make_lan(2).hosts
    here.run(["ip", "addr", "flush", "dev", "eth0"])
    late, other = find(here, address=ANY), find(there)
    late.wait_until(lambda: late.complaints)
    here.add_address(here.address)
    other.wait_for("10.77.0.1:7420")
    late.wait_for("10.77.0.2:7420")
    (complaint,) = late.end()
    assert "no network interface" in complaint


def test_e9_a_host_with_two_networks_is_one_node_and_the_near_address_is_tried_first(make_lan, find):
    here, there = make_lan(2).hosts
    there.add_address("10.66.0.2")
    finder = find(here)
    find(there, address=ANY)
    finder.wait_for("10.77.0.2:7420", "10.66.0.2:7420")
    assert finder.addresses == ["10.77.0.2:7420", "10.66.0.2:7420"]
    assert finder.counters["candidates"] == 1


def test_e9_link_local_addresses_of_ipv6_come_with_their_interface(make_lan, find):
    here, there = make_lan(2).hosts
    link_local = f"[{there.ipv6()}%eth0]:7420"
    finder = find(here, address="[::]:7420")
    find(there, address="[::]:7420")
    finder.wait_for("10.77.0.2:7420", link_local)
    assert finder.addresses[0] == "10.77.0.2:7420"


def test_e11_two_halves_that_started_apart_find_each_other_when_they_become_one_lan(make_lan, find):
    lan = make_lan(2)
    lan.split(lan.hosts[:1])
    finders = [find(host) for host in lan.hosts]
    for finder in finders:
        finder.wait_until(lambda finder=finder: finder.counters.get("queries", 0) >= 6)
        assert finder.addresses == []
    lan.heal()
    wait_for_each_other(finders, seconds=5)  # by itself zeroconf asks 0, 1, 5 and 14 s after its start, and no more


def test_a_deaf_host_is_found_and_finds_nobody(make_lan, find):
    here, deaf, there = make_lan(3).hosts
    deaf.deaf()
    finders = [find(host) for host in (here, deaf, there)]
    finders[0].wait_for("10.77.0.2:7420", "10.77.0.3:7420")
    finders[2].wait_for("10.77.0.1:7420", "10.77.0.2:7420")
    assert finders[1].addresses == []
