"""When has a learner caught up? Rounds, as in section 4.2.1 of the thesis.

A round sends the learner all that the log held when the round began. Where a round takes less than an election
time-out, what the learner still lacks can hardly make a new quorum wait.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _Round:
    last_index: int
    began_s: float


class CatchingUp:
    """The rounds of all learners.

    Args:
        round_s: what a round may take at most.
    """

    def __init__(self, round_s: float) -> None:
        self._round_s = round_s
        self._rounds: dict[str, _Round] = {}

    def has(self, learner: str, match_index: int, last_index: int, now_s: float) -> bool:
        """True once a round took little enough."""
        current = self._rounds.get(learner)
        if current is not None and match_index >= current.last_index:
            del self._rounds[learner]
            if now_s - current.began_s <= self._round_s:
                return True
            current = None
        if current is None:
            self._rounds[learner] = _Round(last_index, now_s)
        return False
