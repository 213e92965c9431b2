"""What a node tells others of states that it has folded before."""

from __future__ import annotations

from typing import Any

import pytest

from conflux import limits
from conflux.node.replays import Replays
from conflux.wire.peers import AskStateHash, StateHashThere
from tests.node.harness import World


@pytest.fixture
def replays() -> Replays:
    world = World(1)
    for thing in "abc":
        world.user().perform(("add", thing))
    node = world.leader()
    assert node.member is not None
    made = node.member.guard._replays
    made.told = told = []  # type: ignore[attr-defined]
    made._send = lambda peer, message: told.append((peer, message))
    return made


def answers(replays: Any) -> list[StateHashThere]:
    while replays.has_work:
        replays.work()
    return [message for _, message in replays.told]


def test_a_state_that_the_log_leads_to_is_hashed(replays: Replays) -> None:
    replays.ask("b", AskStateHash(2))
    (answer,) = answers(replays)
    assert answer.revision == 2 and answer.state_hash is not None


def test_a_state_that_is_not_there_yet_is_none(replays: Replays) -> None:
    replays.ask("b", AskStateHash(9))
    assert answers(replays) == [StateHashThere(9, None)]


def test_a_question_that_is_repeated_is_answered_once_and_a_later_one_takes_its_place(replays: Replays) -> None:
    for revision in (1, 1, 2):
        replays.ask("b", AskStateHash(revision))
    assert [answer.revision for answer in answers(replays)] == [2]


def test_so_many_ask_at_once_and_no_more(replays: Replays, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MEMBERS_MAX", 1)
    replays.ask("b", AskStateHash(1))
    replays.ask("c", AskStateHash(1))
    assert [peer for peer, _ in replays.told] == []  # type: ignore[attr-defined]
    assert len(answers(replays)) == 1
