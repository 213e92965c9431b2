"""Frames: every message comes back, and whatever else arrives is one exception."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import msgspec
import pytest

from conflux import limits
from conflux.errors import MalformedFrame
from conflux.raft import messages as raft
from conflux.raft.entry import Entry, Kind
from conflux.wire import clients, peers
from conflux.wire.clients import CLIENTS
from conflux.wire.frames import NO_CLUSTER, NOBODY, PROTOCOL_VERSION, PeerFrame
from conflux.wire.peers import PEERS, Founder, Hello, Proposal

A, B, CLUSTER = "a" * 32, "b" * 32, "c" * 32

FOUNDER = Founder(A, "n1", "key")
PROPOSAL = Proposal("test", "app", 1, (FOUNDER, Founder(B, "n2", "key")))
ENTRIES = (Entry(5, 2, Kind.NOOP, b""), Entry(6, 2, Kind.RECORDS, b"\x00payload"))

FROM_PEERS: list[Any] = [
    raft.VoteRequest(pre=True, transfer=False, last_index=5, last_term=2),
    raft.VoteReply(pre=False, granted=True),
    raft.Append(prev_index=4, prev_term=1, entries=ENTRIES, commit_index=4),
    raft.Append(prev_index=0, prev_term=0, entries=(), commit_index=0),
    raft.Accepted(match_index=6),
    raft.Rejected(prev_index=4, conflict_term=0, conflict_index=3),
    raft.Heartbeat(commit_index=6, round=3),
    raft.HeartbeatReply(round=3),
    raft.TimeoutNow(),
    Hello(FOUNDER, "127.0.0.1:7420", "test", 3, "app", 1, None, (), False, True),
    Hello(FOUNDER, "127.0.0.1:7420", "test", 2, "app", 1, PROPOSAL, (CLUSTER,), True, False),
    peers.Forward(b"handle", b"frame"),
    peers.ForwardReply(b"", b"frame"),
    peers.AskReadIndex(7),
    peers.ReadIndex(7, 5),
    peers.ReadIndex(7, None),
    raft.SnapshotOffer(index=9, term=2),
    peers.AskSnapshot(9, 0, 4),
    peers.SnapshotPart(9, 2, 7, b"fields", 3, 300, b"c" * 16, 1, b"chunk"),
    peers.SnapshotGone(9),
    peers.Candidate(FOUNDER, "127.0.0.1:7420", "token"),
    peers.Removed(),
    peers.Hashes((peers.HashedPoint(5, 4, b"l" * 16, b"s" * 16), peers.HashedPoint(9, 8, b"l" * 16, b"")), 12, 0),
    peers.Hashes((), 0, 3),
    peers.AskStateHash(7),
    peers.StateHashThere(7, b"s" * 16),
    peers.StateHashThere(7, None),
]

FROM_CLIENTS: list[Any] = [
    clients.OpenSession(1),
    clients.Perform(1, 1024, 0, 0, [("add", b"\x90"), ("", b"")], True),
    clients.CloseSession(1024),
    clients.Read(1, clients.Consistency.LINEARIZABLE),
    clients.ReadMore(1, 5, 512),
    clients.Watch(1, 0),
    clients.Unwatch(1),
    clients.AskStatus(1),
    clients.TransferLeadership(1, A),
    clients.ChangeMembers(1, clients.Change.REPLACE, "n1", "n6", True),
    clients.TakeSnapshot(1),
    clients.ReadAt(1, 9),
    clients.BackUp(1),
    clients.AskChunk(1, 7, 3),
    clients.AskLog(1),
    clients.SessionOpened(1, 1024),
    clients.Answers(1024, 0, [b"\x01", None, clients.Rejection("E", "m", True)], 1, 5, 2, 9),
    clients.Appended(1024, 0, [b"\x01"], 5, 2),
    clients.Refused(1, clients.Code.RESEND, "send again", 5),
    clients.LeaderIs("127.0.0.1:7420"),
    clients.StatePart(1, 5, 6, 0, 3, b"abc"),
    clients.Events(1, [clients.Event(1, 2, 3, 4, "add", b"\x90")], 5, "n1"),
    clients.Status(1, b"{}"),
    clients.Done(1),
    clients.LogText(1, "n1", "its last lines"),
    clients.Changed(1, 7, "token"),
    clients.SnapshotTaken(1, 7, 5, 1000),
    clients.Gap(1, 5),
    clients.AskMembers(1),
    clients.Members(1, ["h:1", "h:3"]),
    clients.BackupReady(1, 7, 2, 5, b"fields", 3, 300, b"checksum"),
    clients.SnapshotChunk(1, 3, b"chunk"),
    clients.Working(1),
]


def from_peer(message: Any, term: int = 7) -> bytes:
    return PEERS.encode_for_peer(message, cluster=CLUSTER, sender=A, receiver=B, term=term)


def body_offset(frame: bytes, message: Any) -> int:
    return len(frame) - len(msgspec.msgpack.encode(message))


@pytest.mark.parametrize("message", FROM_PEERS, ids=lambda message: type(message).__name__)
def test_every_message_between_nodes_comes_back(message):
    assert PEERS.decode_from_peer(from_peer(message)) == PeerFrame(CLUSTER, A, B, 7, message)


@pytest.mark.parametrize("message", FROM_CLIENTS, ids=lambda message: type(message).__name__)
def test_every_message_of_clients_comes_back(message):
    assert CLIENTS.decode_from_client(CLIENTS.encode_for_client(message)) == message


def test_every_type_of_message_is_tried_here():
    assert {type(message) for message in FROM_PEERS} == set(PEERS._kinds)
    assert {type(message) for message in FROM_CLIENTS} == set(CLIENTS._kinds)


KINDS_OF_PEERS = "VoteRequest 1 VoteReply 2 Append 3 Accepted 4 Rejected 5 Heartbeat 6 HeartbeatReply 7 TimeoutNow 8 \
SnapshotOffer 9 AskSnapshot 10 SnapshotPart 11 SnapshotGone 12 \
Hello 16 Forward 17 ForwardReply 18 AskReadIndex 19 ReadIndex 20 Hashes 21 AskStateHash 22 StateHashThere 23 \
Candidate 24 Removed 25"
KINDS_OF_CLIENTS = "OpenSession 1 Perform 2 CloseSession 3 Read 4 ReadMore 5 Watch 6 Unwatch 7 AskStatus 8 \
TransferLeadership 9 SessionOpened 64 Answers 65 Appended 66 Refused 67 LeaderIs 68 StatePart 69 Events 70 Status 71 \
Done 72 LogText 73 Changed 74 SnapshotTaken 75 Gap 76 AskLog 10 ChangeMembers 11 TakeSnapshot 12 \
AskMembers 13 Members 77 ReadAt 16 BackUp 17 AskChunk 18 BackupReady 80 SnapshotChunk 81 Working 82"


@pytest.mark.parametrize(("family", "kinds"), [(PEERS, KINDS_OF_PEERS), (CLIENTS, KINDS_OF_CLIENTS)])
def test_kinds_keep_their_numbers(family, kinds):
    """A number is never used for another type: an old node would take one message for another."""
    words = kinds.split()
    known = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    assert known.items() <= {of.__name__: kind for of, kind in family._kinds.items()}.items()


def test_the_headers_are_written_as_they_were_in_the_first_version():
    assert CLIENTS.encode_for_client(clients.OpenSession(5)).hex() == "0101" + "9105"
    assert from_peer(peers.AskReadIndex(5)).hex() == "0113" + CLUSTER + A + B + "0000000000000007" + "9105"
    assert (NOBODY, NO_CLUSTER, PROTOCOL_VERSION) == ("0" * 32, "0" * 32, 1)


DECODERS: list[tuple[str, Callable[[bytes], Any], list[bytes]]] = [
    ("peers", PEERS.decode_from_peer, [from_peer(message) for message in FROM_PEERS]),
    ("clients", CLIENTS.decode_from_client, [CLIENTS.encode_for_client(message) for message in FROM_CLIENTS]),
]
both = pytest.mark.parametrize(
    ("decode", "frames"), [case[1:] for case in DECODERS], ids=[case[0] for case in DECODERS]
)


@both
def test_k8_another_version_is_refused_and_named(decode, frames):
    for version in (0, 2, 255):
        with pytest.raises(MalformedFrame, match=f"protocol version {version}, not 1"):
            decode(bytes([version]) + frames[0][1:])


@both
def test_an_unknown_kind_is_refused_and_named(decode, frames):
    for kind in (0, 15, 63, 255):
        with pytest.raises(MalformedFrame, match=f"kind {kind} is unknown"):
            decode(frames[0][:1] + bytes([kind]) + frames[0][2:])


@both
def test_a_frame_that_is_cut_anywhere_is_refused(decode, frames):
    for frame in frames:
        for end in range(len(frame)):
            with pytest.raises(MalformedFrame):
                decode(frame[:end])


@both
def test_bytes_behind_a_message_are_refused(decode, frames):
    for frame in frames:
        with pytest.raises(MalformedFrame):
            decode(frame + b"\xc0")


def mutated(random: Random, frames: list[bytes], count: int) -> Iterator[bytes]:
    """`count` frames out of noise, and frames that were frames once."""
    for _ in range(count // 4):
        yield random.randbytes(random.randrange(120))
        frame = bytearray(random.choice(frames))
        yield bytes(frame[:2]) + random.randbytes(random.randrange(120))  # a header that is well made
        for _ in range(random.choice([1, 1, 2, 8])):
            frame[random.randrange(2, len(frame))] = random.choice([0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)])
        yield bytes(frame)
        cut, other = random.randrange(2, len(frame)), random.choice(frames)
        yield bytes(frame[:cut]) + other[random.randrange(len(other)) :]


@both
@pytest.mark.parametrize("opening", [b"\x91", b"\x81\xa1a", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff"])
def test_k2_k3_bodies_that_are_nested_or_endless_are_refused(decode, frames, opening):
    for frame in frames:
        for times in (1, 600, 100_000):
            with pytest.raises(MalformedFrame):
                decode(frame[: 58 if frame[2:18] == bytes.fromhex(CLUSTER) else 2] + opening * times)


FIELDS_THAT_COUNT = [
    *((clients.OpenSession, (value,)) for value in (-1, 2**62 + 1, 2**64 - 1, 1.5, "1", None, True)),
    *((clients.Watch, (1, value)) for value in (-1, 2**63)),
    (clients.Perform, (1, 1, 0, 0, [])),
    (clients.Perform, (1, 1, 0, 0, [("a", b"")] * (limits.UNANSWERED_MAX + 1))),
    (clients.Perform, (1, 1, 0, 0, [("m" * (limits.METHOD_NAME_BYTES_MAX + 1), b"")])),
    (clients.Perform, (1, 1, 0, 0, [("m",)])),
    (clients.Read, (1, 5)),
    (clients.TransferLeadership, (1, "x" * 33)),
    (clients.Refused, (1, "no such code", "")),
    (clients.Done, ()),
]


@pytest.mark.parametrize(("kind", "fields"), FIELDS_THAT_COUNT)
def test_k7_absurd_values_from_clients_are_refused(kind, fields):
    frame = bytes([PROTOCOL_VERSION, CLIENTS._kinds[kind]]) + msgspec.msgpack.encode(fields)
    with pytest.raises(MalformedFrame):
        CLIENTS.decode_from_client(frame)


HELLO = {name: getattr(FROM_PEERS[9], name) for name in Hello.__struct_fields__}


@pytest.mark.parametrize(
    "change",
    [
        {"founder": Founder("A" * 32, "n1", "k")},
        {"founder": Founder("a" * 31, "n1", "k")},
        {"founder": Founder(A + "\n", "n1", "k")},
        {"founder": Founder(A, "", "k")},
        {"founder": Founder(A, "../../x", "k")},
        {"founder": Founder(A, "a\n", "k")},
        {"founder": Founder(A, "n1", "k" * 41)},
        {"address": "x" * 301},
        {"name": "x" * 301},
        {"size": 0},
        {"size": limits.MEMBERS_MAX + 1},
        {"app_version": 0},
        {"app_version": 2**31 + 1},
        {"accepted": Proposal("test", "app", 1, ())},
        {"accepted": Proposal("test", "app", 1, (FOUNDER,) * (limits.MEMBERS_MAX + 1))},
        {"nevers": ("not an id",)},
        {"nevers": (CLUSTER,) * 65},
    ],
    ids=str,
)
def test_k7_absurd_greetings_are_refused(change):
    with pytest.raises(MalformedFrame):
        PEERS.decode_from_peer(from_peer(Hello(**HELLO | change)))


@pytest.mark.parametrize("field", ["prev_index", "prev_term", "commit_index"])
@pytest.mark.parametrize("value", [-1, 2**64, 1.5, None, "1"])
def test_k7_raft_messages_with_absurd_fields_are_refused_by_the_decoder_or_the_core(field, value):
    """The core's own judgement is tested in tests/raft/test_refusals.py; here nothing may raise anything else."""
    from conflux.raft.messages import Envelope
    from conflux.raft.sanity import is_sane

    fields = dataclasses.asdict(FROM_PEERS[3]) | {field: value}
    try:
        packed = msgspec.msgpack.encode(fields)
    except OverflowError:
        return  # it can't even be sent
    frame = from_peer(FROM_PEERS[3])[:58] + packed
    try:
        decoded = PEERS.decode_from_peer(frame)
    except MalformedFrame:
        return
    assert not is_sane(Envelope(A, B, 7, decoded.message))
