"""`invariant`: an assertion that `python -O` keeps."""

from __future__ import annotations


class InvariantViolated(AssertionError):
    """The program is wrong, not its input: the node must stop rather than go on from here."""


def invariant(condition: object, sentence: str) -> None:
    """Raise InvariantViolated with `sentence`, which says what should have been true."""
    if not condition:
        raise InvariantViolated(sentence)
