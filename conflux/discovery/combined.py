"""Several ways of finding nodes as one, none before another."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from itertools import chain, islice, zip_longest

from conflux import limits
from conflux.discovery.interface import Discovery


class CombinedDiscovery:
    """What several discoveries say, equal in rank: the first of each, then the second of each, and so on.

    So neither can a flood on the LAN push out the addresses that someone wrote down, nor do those, long out of date,
    keep a node from what the LAN says.
    """

    def __init__(self, *discoveries: Discovery) -> None:
        self._discoveries = discoveries

    def addresses(self) -> list[str]:
        return interleave([discovery.addresses() for discovery in self._discoveries], limits.CANDIDATES_MAX)

    def remarks(self) -> list[str]:
        return [remark for discovery in self._discoveries for remark in discovery.remarks()]

    def unreached(self, silent: Collection[str]) -> list[str]:
        columns = [discovery.unreached(silent) for discovery in self._discoveries]
        return interleave(columns, limits.CANDIDATES_MAX)

    def close(self) -> None:
        for discovery in self._discoveries:
            discovery.close()


def interleave(columns: Sequence[Iterable[str]], most: int) -> list[str]:
    """The first of each column, then the second of each …: each text once, at most `most` of them."""
    rows = zip_longest(*columns)
    texts = dict.fromkeys(text for text in chain.from_iterable(rows) if text is not None)
    return list(islice(texts, most))
