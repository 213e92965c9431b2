"""How a client finds its cluster on a LAN: it asks, listens for a moment, and says nothing of itself."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass

from conflux.discovery.candidates import Candidates
from conflux.discovery.interfaces import InterfaceAddress, nearness
from conflux.discovery.lookout import Lookout
from conflux.discovery.record import Sighting

CLUSTERS_MAX = 16
SETTLE_SECONDS = 0.3  # between the first node of a cluster that is found and the others


@dataclass(frozen=True, slots=True)
class FoundCluster:
    """A cluster that somebody announces under our key's fingerprint. The handshake shows whether it holds the key."""

    name: str
    addresses: tuple[str, ...]


def find_clusters(
    *, fingerprint: str, cluster: str | None, seconds: float, loopback: bool = False
) -> list[FoundCluster]:
    """Look for clusters whose key is held, saying nothing but the question. Sorted by name.

    Args:
        fingerprint: of the key that is held.
        cluster: the name of the one that is wanted; None for all, which takes all of `seconds`.
        seconds: how long to look; a wanted cluster is handed over as soon as it is found.
        loopback: look on this machine's loopback interface and nowhere else, as tests do.
    """
    search = _Search(fingerprint, cluster)
    lookout = Lookout(search, announcement=None, counts=Counter(), loopback=loopback)
    lookout.start()
    try:
        deadline_s = time.monotonic() + seconds
        if search.found.wait(seconds):
            time.sleep(max(0.0, min(SETTLE_SECONDS, deadline_s - time.monotonic())))
    finally:
        lookout.close()
    return search.clusters()


class _Search:
    """What a client's lookout has heard of."""

    def __init__(self, fingerprint: str, cluster: str | None) -> None:
        self.found = threading.Event()  # the one that is wanted
        self._fingerprint = fingerprint
        self._cluster = cluster
        self._candidates: dict[str, Candidates] = {}
        self._lock = threading.Lock()
        self._local: tuple[InterfaceAddress, ...] = ()

    def hear(self, sightings: list[Sighting]) -> None:
        for sighting in sightings:
            self._hear(sighting)

    def instances(self) -> list[str]:
        return []

    def swept(self, local: tuple[InterfaceAddress, ...]) -> None:
        self._local = local

    def _hear(self, sighting: Sighting) -> None:
        is_wanted = self._cluster is None or sighting.cluster == self._cluster
        if sighting.fingerprint != self._fingerprint or not is_wanted or not sighting.addresses:
            return
        with self._lock:
            if len(self._candidates) < CLUSTERS_MAX:
                self._candidates.setdefault(sighting.cluster, Candidates(random.Random()))
            if sighting.cluster in self._candidates:
                self._candidates[sighting.cluster].hear(sighting, time.monotonic())
        if self._cluster is not None:
            self.found.set()

    def clusters(self) -> list[FoundCluster]:
        """What was found, with the nearest addresses of each node first."""
        rank = nearness(self._local)
        with self._lock:
            return [FoundCluster(name, tuple(each.addresses(rank))) for name, each in sorted(self._candidates.items())]
