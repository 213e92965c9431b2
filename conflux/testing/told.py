"""`Told`: the caller of a simulated call."""

from __future__ import annotations

from typing import Protocol
from weakref import ref

from conflux.client.call import Result
from conflux.client.committed import Unread
from conflux.testing.history import Call


class Book(Protocol):
    """Where the ends of calls are noted."""

    def end(self, call: Call, result: Result) -> None:
        """A call's caller is told."""


class Told:
    """Has a book note what became of a call.

    The book is no part of it: the collector does not look at calls on their way (`conflux.client.call`), so those that
    nobody answers would keep a whole run for ever.
    """

    def __init__(self, book: Book, call: Call) -> None:
        self._book = ref(book)
        self._call = call

    def settle(self, result: Result | Unread) -> None:
        """Hear what became of it."""
        if (book := self._book()) is not None:
            book.end(self._call, result.read() if isinstance(result, Unread) else result)
