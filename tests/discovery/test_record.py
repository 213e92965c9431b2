from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conflux.discovery.record import SERVICE_TYPE, Announcement, read
from conflux.transport.address import Address
from tests.discovery.forging import text

NAME = f"aa11-0123abcd.{SERVICE_TYPE}"
GOOD = text(v="1", cluster="shop", key="f00d")
ENDPOINT = ("10.0.0.1", 7420)


def announcement(**changes):
    address = Address.parse(changes.pop("address", "10.0.0.1:7420"))
    return Announcement(**{"cluster": "shop", "fingerprint": "f00d", "identity": "aa11", "address": address} | changes)


def test_a_nodes_record_says_who_it_is_and_nothing_more():
    said = announcement(identity="0123456789abcdef" * 2, label="n1").text()
    assert said == {"v": "1", "cluster": "shop", "key": "f00d", "id": "01234567", "label": "n1"}


def test_what_a_node_says_is_read_as_it_was_meant():
    (sighting,) = read(NAME, [text(**announcement(label="n1").text())], [ENDPOINT])
    assert (sighting.cluster, sighting.fingerprint, sighting.identity) == ("shop", "f00d", "aa11")
    assert (sighting.incarnation, sighting.addresses) == ("0123abcd", ("10.0.0.1:7420",))


@pytest.mark.parametrize("address", ["127.0.0.1:7420", "localhost:7420", "[::1]:7420", "127.9.9.9:1", "10.0.0.1:0"])
def test_an_address_that_leads_nobody_here_is_never_announced(address):
    with pytest.raises(ValueError, match="nowhere"):
        announcement(address=address)


@pytest.mark.parametrize(
    "changes",
    [
        {"cluster": "Shop"},
        {"cluster": ""},
        {"fingerprint": "x=y"},
        {"identity": "a-b"},
        {"identity": "a" * 49},
        {"identity": "a.b"},
        {"label": "x" * 201},
    ],
)
def test_what_a_record_can_not_carry_is_refused(changes):
    with pytest.raises(ValueError):
        announcement(**changes)


@pytest.mark.parametrize(
    "name",
    [
        SERVICE_TYPE,
        f"printer.{SERVICE_TYPE}",
        f"aa11-0123abc.{SERVICE_TYPE}",
        f"-0123abcd.{SERVICE_TYPE}",
        "aa11-0123abcd._http._tcp.local.",
        f"aa11-0123abcd.more.{SERVICE_TYPE}",
        f"\x1b[2Jaa-0123abcd.{SERVICE_TYPE}",
    ],
)
def test_a_name_that_no_node_has_is_ignored(name):
    assert read(name, [GOOD], [ENDPOINT]) == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        text(v="2", cluster="shop", key="f00d"),
        text(cluster="shop", key="f00d"),
        text(v="1", key="f00d"),
        text(v="1", cluster="shop"),
        text(v="1", cluster="\x1b]0;owned", key="f00d"),
        text(v="1", cluster="shop", key="F00D\n"),
    ],
)
def test_a_record_that_makes_no_sense_is_ignored(data):
    assert read(NAME, [data], [ENDPOINT]) == []


def test_a_forged_record_beside_the_true_one_does_not_silence_it():
    forged = text(v="1", cluster="other", key="f00d")
    assert [sighting.cluster for sighting in read(NAME, [forged, GOOD], [ENDPOINT])] == ["other", "shop"]


@pytest.mark.parametrize(
    "endpoint",
    [
        ("127.0.0.1", 7420),
        ("0.0.0.0", 7420),
        ("224.0.0.251", 7420),
        ("255.255.255.255", 7420),
        ("::1", 7420),
        ("::", 7420),
        ("::ffff:127.0.0.1", 7420),
        ("::ffff:10.0.0.1", 7420),
        ("fe80::1", 7420),
        ("10.0.0.1", 0),
        ("10.0.0.1", 65535),
        ("evil.example", 7420),
    ],
)
def test_an_address_that_leads_nowhere_or_home_is_not_tried(endpoint):
    (sighting,) = read(NAME, [GOOD], [endpoint, ENDPOINT])
    assert sighting.addresses == ("10.0.0.1:7420",)


def test_a_link_local_address_is_tried_through_its_interface():
    (sighting,) = read(NAME, [GOOD], [("fe80::1%eth0", 7420), ("fd00::1", 7420)])
    assert sighting.addresses == ("[fe80::1%eth0]:7420", "[fd00::1]:7420")


@given(st.text(), st.lists(st.binary(max_size=300)), st.lists(st.tuples(st.text(), st.integers(0, 65535))))
def test_e6_whatever_is_said_is_read_or_ignored(name, texts, endpoints):
    read(name, texts, endpoints)
    for sighting in read(NAME, [*texts, GOOD], [*endpoints, ENDPOINT]):
        assert "10.0.0.1:7420" in sighting.addresses
