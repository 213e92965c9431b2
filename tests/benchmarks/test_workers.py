"""The load generators' own protocols, and what they count."""

from __future__ import annotations

import queue
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

from benchmarks.scenarios.syncs import count_calls
from benchmarks.workers.closed_loop import Answered, Load
from benchmarks.workers.grpc import (
    DATA,
    END_STREAM,
    FRAME_HEAD_BYTES,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LATER_HEADERS,
    PING,
    SETTINGS,
    WINDOW_UPDATE,
    GrpcConnection,
    first_headers,
    frame,
    put_request,
)
from benchmarks.workers.recorder import Payloads, Recorder
from benchmarks.workers.resp import RespConnection

Frame = tuple[int, int, int, bytes]  # kind, flags, stream, content


def frames(data: bytes) -> list[Frame]:
    found = []
    while data:
        high, low, kind, flags, stream = struct.unpack_from(">BHBBI", data)
        end = FRAME_HEAD_BYTES + (high << 16 | low)
        found.append((kind, flags, stream, data[FRAME_HEAD_BYTES:end]))
        data = data[end:]
    return found


def answer(stream: int) -> bytes:
    return frame(HEADERS, 0, stream, b"") + frame(DATA, 0, stream, b"message") + frame(HEADERS, END_STREAM, stream, b"")


# ---- gRPC ----


def test_a_put_is_a_message_with_its_length_and_two_fields():
    assert put_request(b"k", b"v") == b"\x00\x00\x00\x00\x06\x0a\x01k\x12\x01v"
    assert put_request(b"k", b"v" * 200)[8:11] == b"\x12\xc8\x01"


def test_the_first_request_spells_its_headers_out_and_later_ones_point_at_them():
    link = GrpcConnection("127.0.0.1:1")
    (first, *_), (second, *_) = frames(link.request(1, "a")), frames(link.request(2, "b"))
    assert (first[2], first[3]) == (1, first_headers("127.0.0.1:1"))
    assert (second[2], second[3]) == (3, LATER_HEADERS)


def test_a_stream_with_a_message_is_acknowledged_and_one_without_is_not():
    link = GrpcConnection("127.0.0.1:1")
    link.request(1, "a"), link.request(2, "b")
    answered, _ = link.feed(answer(3) + frame(HEADERS, END_STREAM, 1, b"an error's trailers"))
    assert answered == [(2, True), (1, False)]


def test_an_answer_may_come_in_any_pieces():
    link = GrpcConnection("127.0.0.1:1")
    link.request(7, "a")
    found = [link.feed(bytes([byte]))[0] for byte in answer(1)]
    assert [each for each in found if each] == [[(7, True)]]


def test_pings_and_settings_are_answered():
    _, reply = GrpcConnection("127.0.0.1:1").feed(frame(PING, 0, 0, b"12345678") + frame(SETTINGS, 0, 0, b""))
    assert frames(reply) == [(PING, 1, 0, b"12345678"), (SETTINGS, 1, 0, b"")]


def test_a_large_message_waits_for_the_windows_and_goes_out_in_small_frames():
    link = GrpcConnection("127.0.0.1:1")
    sent = [each for each in frames(link.request(1, "x" * 80_000)) if each[0] == DATA]
    assert sum(len(content) for *_, content in sent) == 65_535 and not any(flags for _, flags, *_ in sent)
    wider = frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 200_000))
    assert link.feed(wider)[1] == b""  # the stream's own window is still shut
    _, reply = link.feed(frame(SETTINGS, 0, 0, struct.pack(">HI", INITIAL_WINDOW_SIZE, 300_000)))
    *_, last = frames(reply)
    assert last[:3] == (DATA, END_STREAM, 1)


# ---- RESP ----


def test_redis_answers_in_the_order_of_the_questions():
    link = RespConnection("127.0.0.1:1")
    assert link.request(1, "abc") == b"*3\r\n$5\r\nRPUSH\r\n$3\r\nlog\r\n$3\r\nabc\r\n"
    link.request(2, "d")
    assert link.feed(b":1\r")[0] == []
    assert link.feed(b"\n-OOM\r\n")[0] == [(1, True), (2, False)]


# ---- Counting ----


def test_payloads_are_unique_and_of_the_size_that_was_asked_for():
    payloads = Payloads()
    made = {payloads.next(32) for _ in range(100)}
    assert len(made) == 100 and {len(each) for each in made} == {32}


def test_a_load_of_so_many_calls_makes_no_more():
    recorder = Recorder(0.0, 0.0, total=5)
    now = time.monotonic()
    assert [recorder.may_ask(now, 3), recorder.took(now, now), recorder.may_ask(now, 3)] == [3, True, 1]
    assert not recorder.took(now, now)


def test_what_is_answered_in_the_warm_up_does_not_count():
    recorder = Recorder(10.0, 5.0)
    now = time.monotonic()
    assert recorder.took(now, now + 1) and recorder.took(now, now + 6)
    assert recorder.report()["operations"] == 1
    assert recorder.may_ask(now + 16) == 0


def test_a_load_counts_each_call_once_by_what_became_of_it():
    calls: queue.SimpleQueue[tuple[str, Callable[[Answered], None]] | None] = queue.SimpleQueue()
    state = []

    def answer_each() -> None:
        for number, (text, done) in enumerate(iter(calls.get, None), 1):
            answered: Future[None] = Future()
            if number % 4 == 0:
                answered.set_exception(ValueError("full"))
            else:
                state.append(text)
                answered.set_result(None)
            done(answered)

    node = threading.Thread(target=answer_each)
    node.start()
    load = Load(lambda text, done: calls.put((text, done)))
    report = load.fill(total=20, in_flight=3)
    calls.put(None)
    node.join()
    assert (report["operations"], report["errors"], report["attempts"], report["drained"]) == (15, 5, 20, True)
    assert report["first_errors"][0] == "full" and report["latency_ms"]["p50"] > 0
    assert load.check(state)["problems"] == []
    assert load.check(state[1:])["problems"] == ["1 acknowledged actions are missing"]
    assert load.check([*state, state[0]])["problems"] == ["1 actions are there more than once"]


def test_strace_s_table_is_read_with_and_without_errors():
    table = """% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 90.00    0.010000          90       111           fdatasync
 10.00    0.000100           1        12         3 msync
------ ----------- ----------- --------- --------- ----------------
100.00    0.010100                   123         3 total
"""
    assert count_calls(table) == {"fdatasync": 111, "msync": 12}
