"""Errors of a client's side of exactly once."""

from __future__ import annotations

import pytest

from conflux.client.requester import Requester
from tests.teeth.hunts import Nodes
from tests.teeth.mutant import changed, mutant


@mutant("client", codes="F1", hunt=Nodes(), quick=True)
def what_was_sent_counts_as_not_applied(patch: pytest.MonkeyPatch) -> None:
    """A call that ran out of time on its way is called not applied."""
    patch.setattr(Requester, "_may_be_applied", lambda self, sequence: False)


@mutant("client", codes="F2", hunt=Nodes(), quick=True)
def a_repeat_is_a_new_call(patch: pytest.MonkeyPatch) -> None:
    """What is sent again goes out in a new session, under a new number."""
    whole = Requester.restart

    def restart(self, now_s):
        calls = [call for call in self._calls if call.caller is not None]
        self._calls.clear()
        self._session_expired()
        self._queue.extendleft(reversed(calls))
        whole(self, now_s)

    patch.setattr(Requester, "restart", restart)


@mutant("client", codes="F2", hunt=Nodes())
def answers_go_to_the_next_call(patch: pytest.MonkeyPatch) -> None:
    """Of several answers in a frame, each is given to the call after its own."""
    whole = Requester._answered

    def shifted(self, answers, now_s):
        outcomes = answers.outcomes
        whole(self, changed(answers, outcomes=[*outcomes[1:], *outcomes[:1]]), now_s)

    patch.setattr(Requester, "_answered", shifted)


@mutant("client", codes="F8", hunt=Nodes())
def calls_overtake_each_other(patch: pytest.MonkeyPatch) -> None:
    """The call that came last leaves first."""
    whole = Requester.submit

    def overtaking(self, *calls):
        whole(self, *calls)
        self._queue.rotate(1)

    patch.setattr(Requester, "submit", overtaking)


@mutant("client", codes="F1", hunt=Nodes())
def a_closed_client_says_that_nothing_happened(patch: pytest.MonkeyPatch) -> None:
    """Whoever closes a client is told that calls on their way were never made."""
    whole = Requester.close

    def sure(self, error):
        self._frames.clear()
        whole(self, error)

    patch.setattr(Requester, "close", sure)
