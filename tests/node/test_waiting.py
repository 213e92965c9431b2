"""Requests that wait are bounded in calls and in bytes, and what is taken out makes room again."""

from __future__ import annotations

import pytest

from conflux import limits
from conflux.node.origin import HERE
from conflux.node.waiting import Waiting
from conflux.wire.clients import OpenSession, Perform


def perform(calls: int, size: int = 0) -> Perform:
    return Perform(1, 1, 0, 0, [("append", b"x" * size)] * calls)


def test_calls_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WAITING_REQUESTS_MAX", 5)
    waiting = Waiting()
    assert waiting.add(HERE, perform(4)) and waiting.add(HERE, OpenSession(2))
    assert not waiting.add(HERE, perform(1)) and len(waiting) == 2
    assert waiting.take() == (HERE, perform(4))
    assert waiting.add(HERE, perform(4))


def test_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WAITING_BYTES_MAX", 100)
    waiting = Waiting()
    assert waiting.add(HERE, perform(2, 40))
    assert not waiting.add(HERE, perform(1, 21)) and waiting.add(HERE, perform(1, 20))
    waiting.take()
    assert waiting.add(HERE, perform(1, 80))


def test_what_is_put_back_is_next_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "WAITING_REQUESTS_MAX", 3)
    waiting = Waiting()
    assert waiting.add(HERE, perform(2)) and waiting.add(HERE, OpenSession(9))
    waiting.take()
    waiting.put_back(HERE, perform(2))
    assert not waiting.add(HERE, perform(1))
    assert waiting.take() == (HERE, perform(2)) and waiting.take() == (HERE, OpenSession(9))
