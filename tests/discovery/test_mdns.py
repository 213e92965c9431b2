"""Real zeroconf on the loopback interface, and strangers with raw packets. The codes are those of the failure cases."""

from __future__ import annotations

import random
import subprocess
import sys
import threading

import pytest

from conflux import limits
from conflux.discovery import lookout, search
from conflux.discovery.mdns import FoundCluster, MdnsDiscovery, find_clusters
from tests.discovery.forging import response, wait_until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="multicast on loopback is tried on Linux only")


MINUTE = 60.0


def pair(discover):
    one, two = discover("aa"), discover("bb")
    wait_until(lambda: one.addresses() == ["10.77.0.2:7420"] and two.addresses() == ["10.77.0.1:7420"])
    return one, two


def test_two_nodes_of_a_cluster_find_each_other_and_not_themselves(discover):
    one, _ = pair(discover)
    counters = one.counters()
    assert (counters["candidates"], counters["addresses"], counters["announcements"]) == (1, 1, 1)


def test_e10_nothing_waits_for_mdns(discover, monkeypatch):
    at_work, may_go_on = threading.Event(), threading.Event()

    def interface_addresses(*, loopback):
        at_work.set()
        may_go_on.wait()
        return ()

    monkeypatch.setattr(lookout, "interface_addresses", interface_addresses)
    monkeypatch.setattr(lookout, "CLOSE_SECONDS", 0.01)
    discovery = discover("aa")
    assert discovery.addresses() == []
    at_work.wait()
    discovery.close()
    discovery.close()
    thread = discovery._lookout._thread
    assert thread.is_alive()
    may_go_on.set()
    thread.join()


def test_closing_ends_its_thread_though_it_would_look_around_much_later(discover, monkeypatch):
    monkeypatch.setattr(lookout, "SWEEP_SECONDS", 10 * MINUTE)
    monkeypatch.setattr(lookout, "CLOSE_SECONDS", MINUTE)
    one, _ = pair(discover)
    one.close()
    assert not one._lookout._thread.is_alive()


def test_zeroconf_is_imported_by_the_thread_that_needs_it_only():
    program = (
        "import sys, conflux.discovery.mdns, conflux.discovery.combined; print({'zeroconf','ifaddr'} & {*sys.modules})"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert answer.stdout == "set()\n"


@pytest.mark.parametrize("address", ["127.0.0.1:7420", "localhost:7420", "[::1]:7420"])
def test_a_loopback_node_is_never_announced(address):
    with pytest.raises(ValueError, match="nowhere"):
        MdnsDiscovery(cluster="c", fingerprint=None, identity="aa", address=address)


def test_e1_no_usable_interface_is_one_warning_and_static_peers_go_on(discover, monkeypatch, caplog):
    monkeypatch.setattr(lookout, "interface_addresses", lambda **_: ())
    monkeypatch.setattr(lookout, "SWEEP_SECONDS", 0.01)
    looks = []
    monkeypatch.setattr(lookout, "listened_on", lambda local, own: looks.append(local) or ())
    discovery = discover("aa")
    wait_until(lambda: len(looks) > 5)
    assert discovery.addresses() == []
    assert [record.levelname for record in caplog.records if "no network interface" in record.message] == ["WARNING"]


def test_e1_what_zeroconf_refuses_is_one_warning_and_is_tried_again(discover, monkeypatch, caplog):
    def refuse(*_):
        tried.append(1)
        raise RuntimeError("No interfaces to listen on")

    tried: list[int] = []
    monkeypatch.setattr("conflux.discovery.session._listen", refuse)
    monkeypatch.setattr(lookout, "RETRY_SECONDS", 0.01)
    discovery = discover("aa")
    wait_until(lambda: len(tried) > 5)
    assert discovery.counters()["failures"] >= 5
    assert len([record for record in caplog.records if record.name == "conflux.discovery"]) == 1
    monkeypatch.undo()
    wait_until(lambda: discovery.counters()["sessions"] == 1)


def test_e2_a_node_that_comes_back_at_once_is_found_again_under_its_new_address(discover):
    one, two = pair(discover)
    two.close()
    discover("bb", address="10.77.0.2:7520")
    wait_until(lambda: one.addresses() == ["10.77.0.2:7520", "10.77.0.2:7420"])


def test_e2_two_nodes_of_the_same_identity_disturb_nobody(discover):
    one, _ = pair(discover)
    discover("bb", address="10.77.0.9:7420")
    wait_until(lambda: set(one.addresses()) == {"10.77.0.2:7420", "10.77.0.9:7420"})
    assert one.counters()["candidates"] == 1


@pytest.mark.parametrize("flush", [True, False])
def test_e3_a_forged_address_does_not_replace_the_true_one(discover, cluster, stranger, flush):
    one, _ = pair(discover)
    (instance,) = one.instances()
    forged = response(instance, cluster=cluster, flush=flush)
    wait_until(lambda: "10.9.9.9:6666" in one.addresses(), every=lambda: stranger.send(forged))
    assert "10.77.0.2:7420" in one.addresses()


def test_e4_a_forged_goodbye_removes_nobody(discover, cluster, stranger):
    one, _ = pair(discover)
    (instance,) = one.instances()
    for _ in range(5):
        stranger.send(response(instance, cluster=cluster, host="10.77.0.2", port=7420, ttl=0))
    marker = response("cc-00000001", cluster=cluster)
    wait_until(lambda: "10.9.9.9:6666" in one.addresses(), every=lambda: stranger.send(marker))
    assert "10.77.0.2:7420" in one.addresses()


def test_e5_a_flood_of_names_is_bounded_and_keeps_who_was_there(discover, cluster, stranger):
    one, _ = pair(discover)
    flood = [response(f"flood{n}-00000001", cluster=cluster, host="10.9.9.9", port=1000 + n) for n in range(300)]
    wait_until(lambda: one.counters()["displaced"] > 100, every=lambda: [*map(stranger.send, flood)])
    assert one.addresses()[0] == "10.77.0.2:7420"
    assert len(one.addresses()) == one.counters()["candidates"] == limits.CANDIDATES_MAX
    looks: list[int] = []  # until all of the flood is taken in: what is announced beside it may be lost with it
    wait_until(
        lambda: looks[-10:].count(one.counters()["displaced"]) == 10 or looks.append(one.counters()["displaced"])
    )
    late = discover("cc", address="10.77.0.3:7420")
    wait_until(lambda: "10.77.0.3:7420" in one.addresses())
    wait_until(lambda: "10.77.0.1:7420" in late.addresses())


def test_e5_a_flood_of_other_clusters_is_counted_once_each_and_logged_once(discover, cluster, stranger, caplog):
    both = pair(discover)
    packets = [response(f"other{n}-00000001", cluster=cluster, key="beef") for n in range(50)]
    wait_until(
        lambda: all(each.counters()["other_keys"] == 50 for each in both),
        every=lambda: [*map(stranger.send, packets)],
    )
    assert both[0].addresses() == ["10.77.0.2:7420"]
    assert len(both[0].remarks()) == 1
    lines = [record.getMessage() for record in caplog.records if f"the name {cluster} is on this LAN" in record.message]
    assert len(lines) == 2  # each of the two nodes says it once
    assert "beef" in lines[0]


def test_e6_garbage_is_survived(discover, cluster, stranger, caplog):
    one, _ = pair(discover)
    chance = random.Random(6)
    (good,) = response("cc-00000001", cluster=cluster)
    for _ in range(1000):
        torn = bytearray(good)
        for _ in range(chance.randint(1, 20)):
            torn[chance.randrange(len(torn))] = chance.randrange(256)
        stranger.send([chance.randbytes(chance.randint(0, 200)), bytes(torn[: chance.randint(1, len(torn))])])
    marker = response("dd-00000001", cluster=cluster, host="10.9.9.8")
    wait_until(lambda: "10.9.9.8:6666" in one.addresses(), every=lambda: stranger.send(marker))
    assert "10.77.0.2:7420" in one.addresses()
    assert len([record for record in caplog.records if record.name == "conflux.discovery"]) <= 3


def test_e6_names_and_records_that_make_no_sense_are_counted(discover, cluster, stranger):
    one, _ = pair(discover)
    packets = [
        *response("some printer", cluster=cluster),
        *response("cc-00000001", cluster="NOT A CLUSTER"),
        *response("cc-00000002", cluster=cluster, version="2"),
        *response("cc-00000003", cluster=cluster, host="127.0.0.1"),
    ]
    wait_until(lambda: one.counters()["malformed"] >= 3, every=lambda: stranger.send(packets))
    assert one.addresses() == ["10.77.0.2:7420"]


def test_e8_clusters_of_other_names_or_keys_never_mix(discover, cluster):
    ours = [discover("aa"), discover("bb")]
    other_key = [discover("cc", fingerprint="beef"), discover("dd", fingerprint="beef")]
    insecure = [discover("ee", fingerprint=None), discover("ff", fingerprint=None)]
    other_name = [discover("gg", name=f"{cluster}-2", fingerprint=None)]
    wait_until(lambda: all(len(each.addresses()) == 1 for each in (*ours, *other_key, *insecure)))
    wait_until(lambda: ours[0].counters()["other_keys"] == 4 and ours[0].counters()["other_clusters"] >= 1)
    assert ours[0].addresses() == ["10.77.0.2:7420"]
    assert other_key[0].addresses() == ["10.77.0.4:7420"]
    assert insecure[0].addresses() == ["10.77.0.6:7420"]
    assert other_name[0].addresses() == []


def test_e11_discovery_gives_addresses_to_try_and_has_no_say_in_anything_else():
    public = {name for name in vars(MdnsDiscovery) if not name.startswith("_")}
    assert public - {"hear", "instances", "swept"} == {"addresses", "close", "counters", "remarks", "unreached"}


def test_a_client_finds_the_clusters_whose_key_it_holds_and_says_nothing(discover, cluster):
    key = cluster.removeprefix("test-")  # one of its own: other tests may look for clusters at the same time
    one, _ = discover("aa", fingerprint=key), discover("bb", fingerprint=key)
    discover("cc", name=f"{cluster}-2", fingerprint=key)
    wait_until(lambda: one.counters()["other_clusters"] >= 1 and one.addresses())
    (found,) = find_clusters(fingerprint=key, cluster=cluster, seconds=10 * MINUTE, loopback=True)  # not to be used up
    assert (found.name, sorted(found.addresses)) == (cluster, ["10.77.0.1:7420", "10.77.0.2:7420"])
    every = find_clusters(fingerprint=key, cluster=None, seconds=3, loopback=True)
    assert [each.name for each in every] == [cluster, f"{cluster}-2"]
    assert every[1] == FoundCluster(f"{cluster}-2", ("10.77.0.3:7420",))
    assert find_clusters(fingerprint="beef", cluster=cluster, seconds=0.3, loopback=True) == []
    assert one.counters()["candidates"] == 1


def test_a_client_is_given_a_bounded_number_of_clusters(discover, stranger):
    packets = [response(f"c{n}-00000001", cluster=f"forged-{n}", key="b0b0") for n in range(50)]
    found: list[FoundCluster] = []
    stop = threading.Event()

    def forge():
        while not stop.wait(0.05):
            for packet in packets:
                stranger.send(packet)

    thread = threading.Thread(target=forge)
    thread.start()
    try:
        found = find_clusters(fingerprint="b0b0", cluster=None, seconds=1.0, loopback=True)
    finally:
        stop.set()
        thread.join()
    assert len(found) == search.CLUSTERS_MAX
