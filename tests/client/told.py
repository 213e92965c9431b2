"""`Told`: a caller that is one function."""

from __future__ import annotations

from collections.abc import Callable

from conflux.client.call import Result
from conflux.client.committed import Unread


class Told:
    """Hands what became of a call to a function, which gets it read."""

    def __init__(self, settle: Callable[[Result], object]) -> None:
        self._settle = settle

    def settle(self, result: Result | Unread) -> None:
        """Hear what became of it."""
        self._settle(result.read() if isinstance(result, Unread) else result)
