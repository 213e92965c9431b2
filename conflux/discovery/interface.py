"""What a node asks of discovery: the `Discovery` protocol."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol


class Discovery(Protocol):
    """Knows where other nodes may be. What it says is a hint for dialling: never membership, never trusted."""

    def addresses(self) -> list[str]:
        """Addresses worth dialling now, most likely first. Asked from time to time; must not wait."""
        ...

    def remarks(self) -> list[str]:
        """What people should know of what was heard, a sentence each."""
        ...

    def unreached(self, silent: Collection[str]) -> list[str]:
        """Of the nodes it knows of, those that only have `silent` addresses: one address of each."""
        ...

    def close(self) -> None:
        """Stop looking. Calling twice is harmless."""
        ...


class StaticPeers:
    """Addresses that someone wrote down."""

    def __init__(self, addresses: tuple[str, ...] = ()) -> None:
        self._addresses = [*addresses]

    def addresses(self) -> list[str]:
        return self._addresses

    def remarks(self) -> list[str]:
        return []

    def unreached(self, silent: Collection[str]) -> list[str]:
        return [address for address in self._addresses if address in silent]

    def close(self) -> None:
        pass


class SeenPeers:
    """Addresses of whoever is up, as a function gives them: where all are seen there is nothing to remark."""

    def __init__(self, addresses: Callable[[], list[str]]) -> None:
        self._addresses = addresses

    def addresses(self) -> list[str]:
        return self._addresses()

    def remarks(self) -> list[str]:
        return []

    def unreached(self, silent: Collection[str]) -> list[str]:
        return []

    def close(self) -> None:
        pass
