"""The search for the first revision that a node folds otherwise: whom it asks, and when it gives up."""

from __future__ import annotations

from typing import Any

from conflux.node.inquiry import ASK_AGAIN_SECONDS, ATTEMPTS_MAX, Inquiry
from conflux.wire.peers import StateHashThere


class Folded:
    """A log that was folded anew: the state at each revision is known at once, or when `work` is called."""

    def __init__(self, wrong_from: int, *, at_once: bool = True) -> None:
        self.wrong_from, self.at_once = wrong_from, at_once
        self.state_hash: bytes | None = None

    def seek(self, revision: int) -> None:
        self.revision = revision
        self.state_hash = self.found() if self.at_once else None

    def work(self) -> bool:
        self.state_hash = self.found()
        return False

    def found(self) -> bytes:
        return b"right" if self.revision < self.wrong_from else b"wrong"


def inquiry(folded: Any, *peers: str) -> tuple[Inquiry, list[tuple[str, int]]]:
    asked: list[tuple[str, int]] = []
    made = Inquiry(folded, 0, 16, peers, lambda peer, ask: asked.append((peer, ask.revision)))
    return made, asked


def test_each_answer_halves_the_range() -> None:
    search, asked = inquiry(Folded(5, at_once=False), "b")
    now_s = 0.0
    while not search.is_over:
        now_s += 0.1
        search.turn(now_s)
        search.work()
        search.hear(StateHashThere(asked[-1][1], b"right"))
    assert search.first == 5
    assert asked == [("b", 16), ("b", 8), ("b", 4), ("b", 6), ("b", 5)]


def test_a_log_that_gives_the_others_state_is_not_the_cause() -> None:
    search, _ = inquiry(Folded(99), "b")
    search.turn(1.0)
    search.hear(StateHashThere(16, b"right"))
    assert search.is_over and search.is_not_the_log and search.first is None


def test_who_does_not_answer_is_followed_by_another_and_in_the_end_by_nobody() -> None:
    search, asked = inquiry(Folded(5), "b", "c")
    for attempt in range(ATTEMPTS_MAX + 1):
        search.turn((ASK_AGAIN_SECONDS + 0.1) * (attempt + 1))
    assert [peer for peer, _ in asked[:4]] == ["b", "c", "b", "c"]
    assert len(asked) == ATTEMPTS_MAX and search.is_over and search.first is None


def test_without_anybody_to_ask_it_is_over_at_once() -> None:
    search, _ = inquiry(Folded(5))
    search.turn(1.0)
    assert search.is_over


def test_an_answer_to_another_question_or_none_changes_nothing() -> None:
    search, _ = inquiry(Folded(5), "b")
    search.turn(1.0)
    search.hear(StateHashThere(8, b"right"))
    search.hear(StateHashThere(16, None))
    assert not search.is_over and search._theirs is None
