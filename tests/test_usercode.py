"""Whose doing an exception is that a user's method or reducer lets out."""

from __future__ import annotations

import signal
import threading

import pytest

from conflux.usercode import RaisesKeyboardInterrupt, inside_user_code, let_ctrl_c_through, user_code


class Raises(RaisesKeyboardInterrupt):
    def __call__(self, number, frame):
        raise KeyboardInterrupt


@pytest.fixture
def handler():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield lambda handler, number=signal.SIGINT: signal.signal(number, handler)
    for number, handler in before.items():
        signal.signal(number, handler)


def test_ctrl_c_ends_a_program_that_ends_by_it(handler):
    handler(signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        let_ctrl_c_through(KeyboardInterrupt())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_so_does_another_signal_whose_handler_raises_the_same(handler, number):
    handler(signal.SIG_IGN)
    handler(Raises(), number)
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
