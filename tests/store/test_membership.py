"""Memberships as values: each change, what may never be, and what a record keeps."""

from __future__ import annotations

import pytest

from conflux import limits
from conflux.raft.configuration import Configuration
from conflux.store.membership import Member, Membership, Replacement, Token, label_beside, token_digest
from conflux.store.records import Header, encode_payload, members_changed, membership_of, noop_payload

HEADER = Header(app_version=1, actions=0, first_revision=1, log_time_us=0, wall_time_us=0)


def member(letter: str, label: str = "", standing: str = "voter") -> Member:
    return Member(letter * 32, label or f"n-{letter}", "key", standing)  # type: ignore[arg-type]


THREE = Membership.made_of([member("b"), member("a"), member("c", standing="learner")])


def test_it_is_the_configuration_that_the_core_counts_with():
    assert isinstance(THREE, Configuration)
    assert (THREE.voters, THREE.learners) == (("a" * 32, "b" * 32), ("c" * 32,))
    assert THREE.has_quorum(["a" * 32, "b" * 32]) and not THREE.has_quorum(["a" * 32, "c" * 32])


def test_a_record_keeps_all_of_it():
    whole = THREE.intending(Replacement("a" * 32, "c" * 32)).inviting(Token(b"d", "joining", 7)).without("b" * 32)
    payload = encode_payload(HEADER, [members_changed(whole)])
    assert membership_of(payload) == whole


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        noop_payload(None, app_version=1, wall_time_us=0),
        encode_payload(HEADER, []),
        encode_payload(HEADER, [members_changed(THREE), members_changed(THREE)]),
        encode_payload(HEADER, [members_changed(Membership.made_of([]))]),
        encode_payload(HEADER, [members_changed(Membership.made_of([member("a", standing="learner")]))]),
        encode_payload(HEADER, [members_changed(Membership.made_of([member("a", "x"), member("b", "x")]))]),
    ],
)
def test_what_no_cluster_could_have_is_no_membership(payload):
    assert membership_of(payload) is None


def test_a_label_an_identity_or_its_unique_beginning_finds_a_member():
    assert THREE.find("n-a") == THREE.find("a" * 32) == THREE.find("aa") == member("a")
    assert THREE.find("") is None and THREE.find("x") is None


def test_a_beginning_that_fits_two_finds_nobody():
    two = Membership.made_of([Member("ab" + "0" * 30, "x", "k"), Member("ac" + "0" * 30, "y", "k")])
    assert two.find("a") is None


def test_who_is_removed_is_remembered_for_good():
    after = THREE.without("b" * 32)
    assert after.removed == ("b" * 32,)
    assert after.with_member(member("b")).problem() == "a removed member never returns"


def test_a_learner_that_is_promoted_keeps_all_else():
    after = THREE.promoted("c" * 32)
    assert after.voters == ("a" * 32, "b" * 32, "c" * 32)
    assert after.find("n-c") == member("c")


def test_who_joins_is_a_learner_until_then():
    after = THREE.with_member(member("d", standing="joining"))
    assert "d" * 32 in after.learners
    assert [each.identity for each in after.joining()] == ["d" * 32]


def test_a_replacement_ends_with_the_removal_of_either_and_passes_the_label_on():
    new = Member("d" * 32, label_beside("n-a", "d" * 32), "key")
    intending = THREE.with_member(new).intending(Replacement("a" * 32, "d" * 32))
    assert intending.without("a" * 32).find("n-a") == Member("d" * 32, "n-a", "key")
    assert intending.without("d" * 32).replacement is None
    assert intending.without("b" * 32).replacement is not None


def test_a_token_opens_for_its_secret_until_it_lapses_or_is_used():
    token = Token(token_digest("secret"), "joining", 100)
    invited = THREE.inviting(token)
    assert invited.token_of("secret", 99) == token
    assert invited.token_of("secret", 100) is None
    assert invited.token_of("other", 0) is None
    assert invited.without_token(token).tokens == ()
    assert invited.without_expired(100).tokens == ()


def test_a_cluster_has_a_bound():
    many = [Member(f"{number:032x}", f"n{number}", "k") for number in range(limits.MEMBERS_MAX + 2)]
    assert Membership.made_of(many).problem() == "a cluster has at most 9 members"
    assert Membership.made_of(many[:-1]).problem() is None  # one may be taking another's place


def test_a_payload_with_a_str_that_is_none_is_no_membership():
    payload = encode_payload(HEADER, [members_changed(Membership.made_of([member("a", "label")]))])
    assert membership_of(payload.replace(b"label", b"\xff\xff\xff\xff\xff")) is None
