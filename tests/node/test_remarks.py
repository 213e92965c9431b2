"""What a node that waits tells of the network: who can't be reached, who can't answer, who refuses the key."""

from __future__ import annotations

from conflux import limits
from conflux.discovery.candidates import Candidates
from conflux.discovery.combined import CombinedDiscovery
from conflux.discovery.interface import StaticPeers
from conflux.discovery.record import Sighting
from conflux.node.formation import SILENT_SECONDS
from conflux.node.links import PATIENCE_SECONDS
from conflux.wire.frames import NO_CLUSTER, NOBODY
from conflux.wire.peers import PEERS, Founder, Hello
from tests.node.harness import World


def waiting_for(world: World, label: str) -> str:
    return str(world.nodes[label].waiting_for())


def test_an_address_where_nothing_answers_is_named_after_a_while() -> None:
    world = World(3)
    world.stop("c")
    world.run(PATIENCE_SECONDS / 2)
    assert "answers" not in waiting_for(world, "a")
    world.run(PATIENCE_SECONDS)
    assert waiting_for(world, "a") == (
        "waiting for 1 of 3 nodes; here are a, b; nothing answers at at-c (not up, or a firewall)"
    )


def test_a_node_whose_own_port_is_closed_says_that_nothing_comes_back() -> None:
    world = World(3)
    world.cut |= {("at-b", "at-a"), ("at-c", "at-a")}
    world.run(2 * PATIENCE_SECONDS)
    assert waiting_for(world, "a") == (
        "waiting for 2 of 3 nodes; here are a; at-b, at-c can be dialled, and nothing comes back to at-a "
        "(a firewall, or a wrong --advertise)"
    )
    assert "nothing answers at at-a (not up, or a firewall)" in waiting_for(world, "b")
    world.heal()
    world.until(lambda: all(node.directory.formed for node in world.nodes.values()))


def test_who_refuses_the_key_is_named_and_not_called_silent() -> None:
    world = World(2)
    world.stop("b")
    world.nodes["a"].channel.refusing = lambda: ["at-b"]  # type: ignore[method-assign]
    world.run(2 * PATIENCE_SECONDS)
    assert waiting_for(world, "a") == "waiting for 1 of 2 nodes; here are a; at-b refuses our key"


def test_what_is_waited_for_is_logged_when_it_changes(caplog) -> None:
    caplog.set_level("INFO", "conflux.node")
    world = World(2)
    world.stop("b")
    world.run(4 * PATIENCE_SECONDS)
    lines = [record.getMessage() for record in caplog.records if "not formed yet" in record.getMessage()]
    assert len(lines) == 2 and lines[-1].endswith("nothing answers at at-b (not up, or a firewall)")


def greeted(world: World, number: int, **said: object) -> None:
    """A node comes by, greets, and is never heard again."""
    identity = f"{number:032x}"
    base = {"name": "test", "size": 2, "app": "things", "app_version": 1, "accepted": None, "nevers": ()}
    fields = base | {"formed": False, "answer_me": False} | said
    hello = Hello(Founder(identity, f"x{number}", "k"), f"at-{number}", **fields)
    frame = PEERS.encode_for_peer(hello, cluster=NO_CLUSTER, sender=identity, receiver=NOBODY)
    world.nodes["a"].channel.from_peers.append(frame)
    world.step()


def test_who_went_away_leaves_its_place_to_others_however_many_came() -> None:
    world = World(3)
    world.stop("b"), world.stop("c")
    for number in range(1, 3 * limits.CANDIDATES_MAX):
        greeted(world, number, size=3)
        world.step(2 * SILENT_SECONDS)
    world.step(2 * SILENT_SECONDS)
    node = world.nodes["a"]
    assert node.founding._formation._heard_s == {} and node.links.addresses == {}
    world.start("b"), world.start("c")
    world.until(lambda: all(each.directory.formed for each in world.nodes.values()))


def test_a_stranger_that_went_away_is_spoken_of_no_more() -> None:
    world = World(2)
    world.stop("b")
    greeted(world, 1, size=3)
    assert "x1 at at-1 has cluster size 3, not 2" in waiting_for(world, "a")
    world.run(2 * SILENT_SECONDS)
    assert "x1" not in waiting_for(world, "a")


def test_a_node_of_several_addresses_is_unreached_only_if_none_of_them_answers() -> None:
    static = CombinedDiscovery(StaticPeers(("s1", "s2")), StaticPeers(("s2", "s3")))
    assert static.unreached({"s2", "s3", "x"}) == ["s2", "s3"]


def test_the_addresses_of_each_candidate_stand_together() -> None:
    import random

    candidates = Candidates(random.Random(1))
    for identity, addresses in {"a": ("10.0.0.1:1", "10.0.0.2:1"), "b": ("10.0.0.3:1",)}.items():
        said = {"cluster": "c", "fingerprint": "f", "incarnation": "00000000"}
        candidates.hear(Sighting(identity=identity, addresses=addresses, **said), 0.0)
    assert candidates.by_node(lambda address: 0) == [["10.0.0.1:1", "10.0.0.2:1"], ["10.0.0.3:1"]]
