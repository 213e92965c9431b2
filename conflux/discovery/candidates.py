"""Which nodes may be where, as strangers say: bounded, forgetful, and no forger can empty it.

Rule: what comes in can add and can refresh, never remove. Two things remove: not being heard of for KEEP_SECONDS, and
newcomers where there is no room left. Anybody can send newcomers by the thousand, so they have half of the room for
themselves: who came before a flood stays, and who comes during it is in with the luck of the draw, again and again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeVar

from conflux import limits
from conflux.discovery.combined import interleave
from conflux.discovery.record import Sighting

KEEP_SECONDS = 600.0  # after it was last heard of: a goodbye or a forged record must not cost a node its candidate
PLACES_MAX = 16  # a candidate's addresses: of several interfaces, of lives before, of forgers

Key = TypeVar("Key")


class Hints(Generic[Key]):
    """A bounded set of keys with the time each was last heard, in the order they came."""

    def __init__(self, most: int, chance: random.Random) -> None:
        self._most = most
        self._chance = chance
        self._heard_s: dict[Key, float] = {}

    def hear(self, key: Key, now_s: float) -> Key | None:
        """Note that `key` was heard of. Returns the key that had to go for it, if one had to."""
        displaced = None
        if key not in self._heard_s and len(self._heard_s) >= self._most:
            displaced = self._chance.choice(list(self._heard_s)[self._most // 2 :])
            del self._heard_s[displaced]
        self._heard_s[key] = now_s
        return displaced

    def forget(self, before_s: float) -> list[Key]:
        """Drop what was not heard of since; returns it."""
        old = [key for key, heard_s in self._heard_s.items() if heard_s < before_s]
        for key in old:
            del self._heard_s[key]
        return old

    def __iter__(self) -> Iterator[Key]:
        return iter(self._heard_s)

    def __len__(self) -> int:
        return len(self._heard_s)

    def __contains__(self, key: object) -> bool:
        return key in self._heard_s


class Place(NamedTuple):
    """Where one life of a node is said to be."""

    incarnation: str
    address: str


class Candidates:
    """Where each identity may be."""

    def __init__(self, chance: random.Random) -> None:
        self.displaced = 0  # identities, by newcomers
        self._chance = chance
        self._identities: Hints[str] = Hints(limits.CANDIDATES_MAX, chance)
        self._places: dict[str, Hints[Place]] = {}

    def hear(self, sighting: Sighting, now_s: float) -> None:
        """Note what was said of a node."""
        displaced = self._identities.hear(sighting.identity, now_s)
        if displaced is not None:
            self.displaced += 1
            del self._places[displaced]
        places = self._places.setdefault(sighting.identity, Hints(PLACES_MAX, self._chance))
        for address in sighting.addresses:
            places.hear(Place(sighting.incarnation, address), now_s)

    def forget(self, now_s: float) -> None:
        """Drop who, and which place, was not heard of for KEEP_SECONDS."""
        for identity in self._identities.forget(now_s - KEEP_SECONDS):
            del self._places[identity]
        for places in self._places.values():
            places.forget(now_s - KEEP_SECONDS)

    def instances(self) -> list[str]:
        """The instances that are still believed in: whoever hears of changes may look after them."""
        return [
            f"{identity}-{incarnation}"
            for identity, places in self._places.items()
            for incarnation in dict.fromkeys(place.incarnation for place in places)
        ]

    def addresses(self, rank: Callable[[str], int]) -> list[str]:
        """One address of each identity, then a second of each …, whoever came first leading.

        Args:
            rank: how far away an address is: the near ones are tried before the far ones.
        """
        return interleave(self.by_node(rank), limits.CANDIDATES_MAX)

    def by_node(self, rank: Callable[[str], int]) -> list[list[str]]:
        """The addresses of each identity, in the order in which they are tried."""
        return [_in_turn(places, rank) for places in self._places.values()]

    def __len__(self) -> int:
        return len(self._identities)


def _in_turn(places: Hints[Place], rank: Callable[[str], int]) -> list[str]:
    """A node's addresses: of its newest life first, near before far."""
    lives = list(dict.fromkeys(place.incarnation for place in places))
    ordered = sorted(places, key=lambda place: (-lives.index(place.incarnation), rank(place.address)))
    return [place.address for place in ordered]
