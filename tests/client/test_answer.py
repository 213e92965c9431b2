"""An answer is a future in all that programs do with one, though it has no lock of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ALL_COMPLETED, CancelledError, InvalidStateError, as_completed, wait

import pytest

from conflux.client.answer import Answer
from conflux.client.committed import Committed, Unread
from conflux.errors import MalformedValue, NoLeader
from conflux.wire import values

DONE = Committed(1, 1, 1, 0, {"type": "append"})


def soon(job: Callable[[], object]) -> threading.Thread:
    thread = threading.Timer(0.05, job)
    thread.start()
    return thread


def test_whoever_waits_is_woken_with_the_result():
    answer = Answer()
    thread = soon(lambda: answer.settle(DONE))
    assert answer.result(timeout=10) is DONE
    assert answer.exception() is None and answer.done()
    thread.join()


def test_many_threads_may_wait_for_one_answer():
    answer, found = Answer(), []
    threads = [threading.Thread(target=lambda: found.append(answer.result(10))) for _ in range(5)]
    for thread in threads:
        thread.start()
    answer.settle(DONE)
    for thread in threads:
        thread.join()
    assert found == [DONE] * 5


def test_an_error_is_raised_and_can_be_looked_at():
    answer, error = Answer(), NoLeader("nobody")
    thread = soon(lambda: answer.settle(error))
    assert answer.exception(timeout=10) is error
    with pytest.raises(NoLeader, match="nobody"):
        answer.result()
    thread.join()


def test_the_wait_ends_with_its_time():
    answer = Answer()
    with pytest.raises(TimeoutError):
        answer.result(timeout=0.01)
    with pytest.raises(TimeoutError):
        answer.exception(timeout=0)
    answer.settle(DONE)
    assert answer.result() is DONE


def test_callbacks_are_called_once_in_order_and_at_once_where_it_is_settled():
    answer, called = Answer(), []
    answer.add_done_callback(lambda future: called.append((1, future)))
    answer.add_done_callback(lambda future: called.append((2, future)))
    answer.settle(DONE)
    answer.settle(NoLeader("late"))
    answer.add_done_callback(lambda future: called.append((3, future)))
    assert called == [(1, answer), (2, answer), (3, answer)]
    assert answer.result() is DONE


def test_a_callback_that_fails_is_logged_and_those_after_it_are_called(caplog):
    answer, called = Answer(), []
    answer.add_done_callback(lambda future: 1 // 0)
    answer.add_done_callback(called.append)
    answer.settle(DONE)
    assert called == [answer] and "ZeroDivisionError" in caplog.text


def test_a_callback_may_settle_and_ask_other_answers():
    first, second = Answer(), Answer()
    first.add_done_callback(lambda future: second.settle(future.result()))
    first.settle(DONE)
    assert second.result(timeout=1) is DONE


def test_a_cancelled_answer_stays_cancelled_and_wakes_who_waits():
    answer = Answer()
    thread = soon(answer.cancel)
    with pytest.raises(CancelledError):
        answer.result(timeout=10)
    answer.settle(DONE)
    assert answer.cancelled() and answer.done()
    with pytest.raises(CancelledError):
        answer.exception()
    thread.join()


def test_a_settled_answer_can_not_be_cancelled():
    answer = Answer()
    answer.settle(DONE)
    assert not answer.cancel()
    with pytest.raises(InvalidStateError):
        answer.set_result(DONE)


def test_the_standard_librarys_wait_and_as_completed_take_answers():
    answers = [Answer() for _ in range(4)]
    threads = [soon(answers[0].cancel), soon(lambda: answers[1].settle(NoLeader("nobody")))]
    threads += [soon(lambda answer=answer: answer.settle(DONE)) for answer in answers[2:]]
    assert set(as_completed(answers, timeout=10)) == set(answers)
    assert wait(answers, timeout=10, return_when=ALL_COMPLETED).not_done == set()
    for thread in threads:
        thread.join()


def test_asyncio_awaits_an_answer():
    async def main() -> Committed:
        answer = Answer()
        thread = soon(lambda: answer.settle(DONE))
        try:
            return await asyncio.wrap_future(answer)
        finally:
            thread.join()

    assert asyncio.run(main()) is DONE


def unread(packed: bytes) -> Unread:
    return Unread(1, 1, 1, 0, packed, "append")


def test_an_action_is_decoded_when_the_result_is_asked_for_and_once():
    answer = Answer()
    answer.settle(unread(values.encode({"type": "append"})))
    assert answer.exception() is None
    result = answer.result()
    assert result == Committed(1, 1, 1, 0, {"type": "append"}, "append") and answer.result() is result


def test_an_action_that_does_not_decode_is_the_answers_error_once_it_is_asked_for():
    answer = Answer()
    answer.settle(unread(b"\xc1"))
    for _ in range(2):
        with pytest.raises(MalformedValue):
            answer.result()
    assert isinstance(answer.exception(), MalformedValue)
