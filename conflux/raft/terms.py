"""The terms of a log's entries, held as runs: what every node must know of all entries without reading them."""

from __future__ import annotations

from bisect import bisect_right
from operator import lt

from conflux.raft.invariant import invariant


class TermRuns:
    """Terms never fall along a log, so the first index of each term says it all."""

    def __init__(self, runs: tuple[tuple[int, int], ...] = ()) -> None:
        self._starts = [start for start, _ in runs]
        self._terms = [term for _, term in runs]

    def at(self, index: int) -> int:
        """Term of the entry at `index`, which is in the log."""
        return self._terms[bisect_right(self._starts, index) - 1]

    def append(self, index: int, term: int) -> None:
        """The entry at `index`, the log's new last, has this term."""
        if self._terms and self._terms[-1] == term:
            return
        invariant(not self._terms or term > self._terms[-1], "terms never fall along the log")
        self._starts.append(index)
        self._terms.append(term)

    def truncate(self, first: int) -> None:
        """Forget all entries from `first` on."""
        while self._starts and self._starts[-1] >= first:
            self._starts.pop()
            self._terms.pop()

    def forget(self, index: int) -> None:
        """Forget what only entries up to `index` need; the run that goes on behind it stays whole."""
        gone = max(0, bisect_right(self._starts, index + 1) - 1)
        del self._starts[:gone], self._terms[:gone]

    def first_index_of_run(self, index: int) -> int:
        """First index of the run of equal terms that `index` belongs to."""
        return self._starts[bisect_right(self._starts, index) - 1]

    def last_index_at_or_below(self, term: int, last_index: int) -> int:
        """Highest index whose term is at most `term`, in a log that ends at `last_index`; 0 where there is none."""
        run = bisect_right(self._terms, term)
        if run == 0:
            return 0
        return self._starts[run] - 1 if run < len(self._starts) else last_index

    def rise(self) -> bool:
        """True where first indices and terms both rise."""
        starts, terms = self._starts, self._terms
        return all(map(lt, starts, starts[1:])) and all(map(lt, terms, terms[1:]))

    def runs(self) -> tuple[tuple[int, int], ...]:
        """(first index, term) of each run, ascending."""
        return tuple(zip(self._starts, self._terms, strict=True))
