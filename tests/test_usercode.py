"""Whose doing an exception is that a user's method or reducer lets out."""

from __future__ import annotations

import signal
import threading

import pytest

from conflux.usercode import inside_user_code, let_ctrl_c_through, user_code


@pytest.fixture
def handler():
    before = signal.getsignal(signal.SIGINT)
    yield lambda handler: signal.signal(signal.SIGINT, handler)
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_a_program_that_ends_by_it(handler):
    handler(signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        let_ctrl_c_through(KeyboardInterrupt())


@pytest.mark.parametrize("error", [SystemExit(1), GeneratorExit(), ValueError("no")], ids=repr)
def test_whatever_else_is_raised_is_the_codes_own(handler, error):
    handler(signal.default_int_handler)
    let_ctrl_c_through(error)


def test_where_ctrl_c_has_a_handler_of_its_own_the_code_has_raised_it(handler):
    handler(lambda number, frame: None)
    let_ctrl_c_through(KeyboardInterrupt())


def test_on_another_thread_nobody_can_press_it(handler):
    handler(signal.default_int_handler)
    passed = []
    thread = threading.Thread(target=lambda: passed.append(let_ctrl_c_through(KeyboardInterrupt())))
    thread.start()
    thread.join()
    assert passed == [None]


def test_a_thread_is_inside_until_the_outermost_is_left():
    with user_code():
        with user_code():
            assert inside_user_code()
        assert inside_user_code()
    assert not inside_user_code()
