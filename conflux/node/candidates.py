"""`Candidates`: nodes that want to join this cluster, as far as they were heard lately. Hints: only the log admits."""

from __future__ import annotations

from dataclasses import dataclass

from conflux import limits
from conflux.wire.peers import Candidate

SILENT_SECONDS = 5.0  # one that isn't heard for so long is none any more
PASS_ON_SECONDS = 0.5  # it greets every member many times a second: the leader need not hear of each


@dataclass(frozen=True, slots=True)
class _Heard:
    candidate: Candidate
    at_s: float
    passed_on_s: float


class Candidates:
    """Those heard by this node, itself or through another member."""

    def __init__(self) -> None:
        self._heard: dict[str, _Heard] = {}

    def hear(self, candidate: Candidate, now_s: float) -> bool:
        """One says that it is there. True where that is to be passed on to the leader, which may not have heard it."""
        identity = candidate.founder.identity
        before = self._heard.get(identity)
        if before is None and len(self._heard) >= limits.CANDIDATES_MAX:
            return False
        is_news = before is None or before.candidate != candidate or now_s - before.passed_on_s >= PASS_ON_SECONDS
        self._heard[identity] = _Heard(candidate, now_s, now_s if before is None or is_news else before.passed_on_s)
        return is_news

    def all(self, now_s: float) -> list[Candidate]:
        """Those who are still there, by label."""
        self._heard = {each: heard for each, heard in self._heard.items() if now_s - heard.at_s <= SILENT_SECONDS}
        return sorted((heard.candidate for heard in self._heard.values()), key=lambda each: each.founder.label)

    def find(self, name: str, now_s: float) -> Candidate | None:
        """The one of this label, identity, or unique beginning of an identity."""
        everyone = self.all(now_s)
        exact = [each for each in everyone if name in (each.founder.label, each.founder.identity)]
        found = exact or [each for each in everyone if name and each.founder.identity.startswith(name)]
        return found[0] if len(found) == 1 else None
