"""The limits fit into one another: whatever they allow on one side fits into what they allow on the next."""

from __future__ import annotations

from conflux import limits
from conflux.app import App
from conflux.client.requester import CALL_OVERHEAD_BYTES_MAX, FRAME_FULL_BYTES
from conflux.node.readers import PART_BYTES
from conflux.raft.entry import Entry, Kind
from conflux.raft.messages import Append
from conflux.store.records import Calls, Header, SessionClosed, StateHash, encode_payload
from conflux.wire.clients import CLIENTS, Answers, Event, Events, Perform, Rejection, StatePart
from conflux.wire.peers import PEERS, Forward, ForwardReply
from tests.store.harness import Leader, perform

WIDEST = limits.NUMBER_MAX
HANDLE = b"h" * 300
ID = "f" * 32


def to_peer(message: object) -> int:
    return len(PEERS.encode_for_peer(message, cluster=ID, sender=ID, receiver=ID, term=WIDEST))


def to_client(message: object) -> bytes:
    return CLIENTS.encode_for_client(message)


def largest_outcomes() -> list[bytes]:
    """A turn takes calls until its bound is reached: one byte below it there is room for one more action."""
    calls = limits.TURN_RECORDS_MAX
    small = (limits.TURN_BYTES_MAX - 1) // (calls - 1)
    return [b"x" * small] * (calls - 1) + [b"x" * limits.ACTION_BYTES_MAX]


def payload(*records: Calls | SessionClosed | StateHash) -> bytes:
    header = Header(app_version=1, actions=0, first_revision=1, log_time_us=0, wall_time_us=0)
    return encode_payload(header, list(records))


def append_of(entry_payload: bytes) -> int:
    entry = Entry(WIDEST, WIDEST, Kind.MEMBERSHIP, entry_payload)
    return to_peer(Append(prev_index=WIDEST, prev_term=WIDEST, entries=(entry,), commit_index=WIDEST))


def test_the_largest_turn_of_one_session_fits_into_a_frame():
    calls = Calls(WIDEST, WIDEST, WIDEST, ["m" * limits.METHOD_NAME_BYTES_MAX], largest_outcomes())
    largest = payload(calls, StateHash(WIDEST, b"d" * 16))
    assert append_of(largest) <= limits.FRAME_BYTES_MAX


def test_the_largest_turn_of_many_sessions_fits_into_a_frame():
    outcomes = largest_outcomes()
    name = "m" * 32
    records = [Calls(WIDEST, WIDEST, WIDEST, [name], [outcome]) for outcome in outcomes]
    assert append_of(payload(*records, StateHash(WIDEST, b"d" * 16))) <= limits.FRAME_BYTES_MAX


def test_the_largest_turn_fits_into_a_frame_though_names_are_as_long_as_they_may_be():
    long, other = "m" * limits.METHOD_NAME_BYTES_MAX, "n" * limits.METHOD_NAME_BYTES_MAX
    give = {long: lambda state, size: "x" * size, other: lambda state, size: "x" * size}
    leader = Leader(App(give, lambda state, action: 0))
    session = leader.open_session()
    small = limits.TURN_BYTES_MAX // limits.TURN_RECORDS_MAX - 3
    calls = [(long if number % 2 else other, small) for number in range(limits.TURN_RECORDS_MAX - 1)]
    turn = leader.turn()
    turn.perform(perform(session, 0, *calls, (long, limits.ACTION_BYTES_MAX - 5)))
    leader.log(turn)
    assert append_of(leader.entries[-1].payload) <= limits.FRAME_BYTES_MAX


def test_a_turn_of_the_longest_rejections_fits_into_a_frame():
    count = limits.TURN_BYTES_MAX // limits.ERROR_TEXT_BYTES_MAX + 1
    refused = [Rejection("E" * 64, "x" * limits.ERROR_TEXT_BYTES_MAX, True)] * count
    assert append_of(payload(Calls(WIDEST, WIDEST, WIDEST, ["m"], list(refused)))) <= limits.FRAME_BYTES_MAX


def test_an_append_takes_the_largest_entry():
    assert limits.TURN_BYTES_MAX + limits.ACTION_BYTES_MAX <= limits.APPEND_BYTES_MAX
    assert limits.APPEND_BYTES_MAX < limits.FRAME_BYTES_MAX < limits.INFLIGHT_BYTES_MAX


def test_the_largest_answer_fits_into_a_frame_even_through_a_follower():
    answers = to_client(Answers(WIDEST, WIDEST, list(largest_outcomes()), WIDEST, WIDEST, WIDEST, WIDEST))
    assert to_peer(ForwardReply(HANDLE, answers)) <= limits.FRAME_BYTES_MAX


def test_the_largest_request_of_our_own_client_fits_into_a_frame_even_through_a_follower():
    name = "m" * limits.METHOD_NAME_BYTES_MAX
    small = FRAME_FULL_BYTES // limits.UNANSWERED_MAX - CALL_OVERHEAD_BYTES_MAX
    calls = [(name, b"x" * small)] * (limits.UNANSWERED_MAX - 1) + [(name, b"x" * limits.ACTION_BYTES_MAX)]
    request = to_client(Perform(WIDEST, WIDEST, WIDEST, WIDEST, calls))
    assert to_peer(Forward(HANDLE, request)) <= limits.FRAME_BYTES_MAX


def test_events_fit_into_a_frame():
    name = "m" * limits.METHOD_NAME_BYTES_MAX
    large = Event(WIDEST, WIDEST, WIDEST, WIDEST, name, b"x" * limits.ACTION_BYTES_MAX)
    count = limits.TURN_BYTES_MAX // (limits.ACTION_BYTES_MAX + len(name) + 64)
    assert len(to_client(Events(WIDEST, [large] * (count + 1), WIDEST, "l" * 64))) <= limits.FRAME_BYTES_MAX


def test_a_part_of_a_state_fits_into_a_frame():
    part = StatePart(WIDEST, WIDEST, WIDEST, WIDEST, WIDEST, b"x" * PART_BYTES)
    assert len(to_client(part)) <= limits.FRAME_BYTES_MAX


def test_limits_that_lean_on_each_other_agree():
    assert 2 * limits.TURN_RECORDS_MAX <= limits.UNANSWERED_MAX  # one half is judged while the other is told
    assert limits.TURN_RECORDS_MAX <= 1 << 10  # the places that a session's id has for those of one entry
    assert limits.APPEND_BYTES_MAX <= limits.UNCOMMITTED_BYTES_MAX
    assert limits.WAITING_REQUESTS_MAX >= limits.UNANSWERED_MAX
    assert limits.NUMBER_MAX < 2**63
