"""`Answer`: the future of one call. Clients make them by the thousand, so one costs as little as can be.

A `Future` of the standard library has a lock, a condition and lists of its own; an answer shares one lock with all
others, and has no list before there is something to put into it: each object that lives until the answer comes is one
more for the collector to look at. Everything that takes a `concurrent.futures.Future` takes it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures._base import FINISHED, LOGGER, PENDING
from typing import Any

from conflux.client.committed import Committed, Unread
from conflux.errors import ConfluxError, MalformedValue
from conflux.usercode import let_ctrl_c_through

_lock = threading.RLock()  # held for a few instructions at a time, never while a callback runs
_take_lock, _release_lock = _lock.acquire, _lock.release  # for what is done once a call: half of what a `with` costs


class _Sleeper:
    """A thread that waits for an answer, in the form in which futures keep those who wait for them."""

    def __init__(self) -> None:
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def sleep(self, timeout: float | None) -> None:
        self._asleep.acquire(timeout=-1 if timeout is None else max(0.0, min(timeout, threading.TIMEOUT_MAX)))

    def wake(self, _future: Future[Any]) -> None:
        if self._asleep.locked():
            self._asleep.release()

    add_result = add_exception = add_cancelled = wake


class Answer(Future[Committed]):
    """Resolves to what was committed, or to why nothing was."""

    _condition = threading.Condition(_lock)
    _result: Any = None  # Committed, or Unread until somebody asks

    def __init__(self) -> None:
        """Pending. What is looked at in every answer is its own: to find what is the class's takes Python longer."""
        self._state: str = PENDING
        self._exception: BaseException | None = None
        self._done_callbacks: tuple[Callable[[Future[Committed]], object], ...] = ()
        self._waiting: Sequence[Any] = ()

    def settle(self, result: Committed | Unread | ConfluxError) -> None:
        """Resolve it, once, unless it was cancelled."""
        _take_lock()
        try:
            if self._state != PENDING:
                return
            if isinstance(result, ConfluxError):
                self._exception = result
            else:
                self._result = result
            self._state = FINISHED
            if self._waiting:
                self._wake_who_waits()
        finally:
            _release_lock()
        for callback in self._done_callbacks:  # as a future calls them, and `sys.exit()` in one ends nobody's thread
            try:
                callback(self)
            except BaseException as error:
                let_ctrl_c_through(error)
                LOGGER.exception("exception calling callback for %r", self)

    def add_done_callback(self, fn: Callable[[Future[Committed]], object]) -> None:
        """See `concurrent.futures.Future`."""
        _take_lock()
        try:
            if self._state == PENDING:
                self._done_callbacks += (fn,)
                return
        finally:
            _release_lock()
        super().add_done_callback(fn)  # it is called at once

    def result(self, timeout: float | None = None) -> Committed:
        """See `concurrent.futures.Future`."""
        if self._state == PENDING:
            self._sleep(timeout)
        if type(self._result) is Unread:
            self._read(self._result)
        return super().result(0)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """See `concurrent.futures.Future`."""
        if self._state == FINISHED:
            return self._exception
        if self._state == PENDING:
            self._sleep(timeout)
        return super().exception(0)

    def cancel(self) -> bool:
        """Give the answer up; the call goes on. See `concurrent.futures.Future`."""
        cancelled = super().cancel()
        if cancelled:
            self._tell_cancelled()
        return cancelled

    @property
    def _waiters(self) -> list[Any]:  # type: ignore[override]
        """Who waits for it; the standard library's `wait` and `as_completed` put themselves into this list."""
        if not isinstance(self._waiting, list):
            self._waiting = []
        return self._waiting

    def _wake_who_waits(self) -> None:
        for waiter in self._waiting:
            waiter.add_result(self) if self._exception is None else waiter.add_exception(self)

    def _tell_cancelled(self) -> None:
        if self.cancelled() and self._state != "CANCELLED_AND_NOTIFIED":
            self.set_running_or_notify_cancel()

    def _read(self, unread: Unread) -> None:
        found = unread.read()
        if isinstance(found, MalformedValue):
            self._exception = found
        self._result = found

    def _sleep(self, timeout: float | None) -> None:
        sleeper = _Sleeper()
        with _lock:
            if self._state != PENDING:
                return
            self._waiters.append(sleeper)
        sleeper.sleep(timeout)
        with _lock:
            self._waiters.remove(sleeper)
