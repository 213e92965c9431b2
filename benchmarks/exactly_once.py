"""Does a state hold each acknowledged action exactly once? Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable


def verdict(state: Iterable[str], acknowledged: Iterable[str], uncertain: Iterable[str] = ()) -> list[str]:
    """What is wrong with a state, in words; nothing, if each acknowledged payload is there once.

    Args:
        uncertain: payloads whose outcome the client never learned: each may be there, once.
    """
    counts = Counter(state)
    expected = set(acknowledged)
    problems = []
    if missing := sum(1 for each in expected if each not in counts):
        problems.append(f"{missing} acknowledged actions are missing")
    if repeated := sum(1 for count in counts.values() if count > 1):
        problems.append(f"{repeated} actions are there more than once")
    if foreign := len(counts.keys() - expected - set(uncertain)):
        problems.append(f"{foreign} actions are there that nobody asked for")
    return problems
