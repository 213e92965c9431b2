"""What a checker raises."""

from __future__ import annotations

from typing import Any


class Violation(AssertionError):
    """The history is one that must not be."""


def require(condition: object, sentence: str, *facts: Any) -> None:
    """Raise Violation unless `condition` holds.

    Args:
        sentence: what should have been true, with a `{}` for each of `facts`; put together only where it is not.
    """
    if not condition:
        raise Violation(sentence.format(*facts))
