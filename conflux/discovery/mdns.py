"""Finding nodes on a LAN with no address given: mDNS, through zeroconf.

What is heard is a hint for dialling and nothing else. Anybody on the LAN can say anything: that a node is gone, that it
is elsewhere, that there are thousands. The answer to all of it is the same: keep what was known, try what is new, up to
a limit, and let the handshake with the cluster's key decide who is who.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Collection

from conflux.discovery.candidates import Candidates, Hints
from conflux.discovery.interfaces import InterfaceAddress, nearness
from conflux.discovery.lookout import Lookout
from conflux.discovery.record import INSECURE, Announcement, Sighting
from conflux.discovery.search import FoundCluster, find_clusters
from conflux.transport.address import Address

__all__ = ["FoundCluster", "MdnsDiscovery", "find_clusters"]

IGNORED_MAX = 256  # strangers that are remembered, so that each is counted once
REMARK_SECONDS = 30.0  # a neighbour that wasn't heard of for so long is not spoken of any more
COUNTED = (
    *("other_keys", "other_clusters", "malformed", "too_many"),
    *("announcements", "queries", "sessions", "failures"),
)


class MdnsDiscovery:
    """Announces this node and finds those of the same cluster name and key.

    Args:
        cluster: its name.
        fingerprint: of the cluster's key; None for a cluster without one, told apart by its name alone.
        identity: this node's.
        address: HOST:PORT as others are to reach it; 0.0.0.0 or [::] announces the addresses of all interfaces.
        label: for people with an mDNS browser.
        loopback: listen on this machine's loopback interface and nowhere else, as tests do.

    Raises:
        ValueError: something that can't be announced; a loopback address above all, which would lead others nowhere.
    """

    def __init__(
        self,
        *,
        cluster: str,
        fingerprint: str | None,
        identity: str,
        address: str,
        label: str = "",
        loopback: bool = False,
    ) -> None:
        own = Announcement(
            cluster=cluster,
            fingerprint=fingerprint if fingerprint is not None else INSECURE,
            identity=identity,
            address=Address.parse(address),
            label=label,
        )
        self._own = own
        self._counts: Counter[str] = Counter()
        self._remark = ""  # on a neighbour of our name with another key
        self._remark_heard_s = 0.0
        self._candidates = Candidates(random.Random())
        self._ignored: Hints[tuple[str, ...]] = Hints(IGNORED_MAX, random.Random())
        self._local: tuple[InterfaceAddress, ...] = ()
        self._addresses: list[str] = []  # replaced, never changed: the node reads it from its own thread
        self._by_node: list[list[str]] = []  # likewise
        self._lookout = Lookout(self, announcement=own, counts=self._counts, loopback=loopback)
        self._lookout.start()

    def addresses(self) -> list[str]:
        return self._addresses

    def remarks(self) -> list[str]:
        is_fresh = time.monotonic() - self._remark_heard_s < REMARK_SECONDS
        return [self._remark] if self._remark and is_fresh else []

    def unreached(self, silent: Collection[str]) -> list[str]:
        return [addresses[0] for addresses in self._by_node if addresses and all(each in silent for each in addresses)]

    def close(self) -> None:
        self._lookout.close()

    def counters(self) -> dict[str, int]:
        """What was seen and done since the start.

        `other_keys`, `other_clusters`, `malformed`, `too_many`: heard and ignored. `displaced`: candidates that had to
        go for newer ones. `announcements`, `queries`, `sessions`, `failures`: how this node's own part went.
        `candidates`, `addresses`: how many there are now.
        """
        counted = {name: self._counts[name] for name in COUNTED}
        sizes = {"candidates": len(self._candidates), "addresses": len(self._addresses)}
        return counted | sizes | {"displaced": self._candidates.displaced}

    # What the lookout's thread calls.

    def hear(self, sightings: list[Sighting]) -> None:
        if sum(self._is_candidate(sighting) for sighting in sightings):
            self._publish()

    def instances(self) -> list[str]:
        return self._candidates.instances()

    def swept(self, local: tuple[InterfaceAddress, ...]) -> None:
        self._local = local
        self._candidates.forget(time.monotonic())
        self._publish()

    def _is_candidate(self, sighting: Sighting) -> bool:
        """Take note of what was said, as a candidate or as something to ignore."""
        own = self._own
        if sighting.cluster != own.cluster:
            self._ignore("other_clusters", sighting)
        elif sighting.fingerprint != own.fingerprint:
            self._remark = (
                f"another cluster {own.cluster!r} is on this network, with the key {sighting.fingerprint}: "
                f"ours is {own.fingerprint}"
            )
            self._remark_heard_s = time.monotonic()
            if self._ignore("other_keys", sighting):
                self._lookout.complain(
                    "key",
                    "another cluster of the name %s is on this LAN: its key is %s, ours is %s (heard from %s)",
                    *(own.cluster, sighting.fingerprint, own.fingerprint, ", ".join(sighting.addresses) or "nowhere"),
                )
        elif sighting.identity != own.identity and sighting.addresses:
            self._candidates.hear(sighting, time.monotonic())
            return True
        return False

    def _ignore(self, cause: str, sighting: Sighting) -> bool:
        """True: it is the first time that this one is ignored."""
        key = (sighting.instance, sighting.cluster, sighting.fingerprint)
        is_new = key not in self._ignored
        self._ignored.hear(key, time.monotonic())
        self._counts[cause] += is_new
        return is_new

    def _publish(self) -> None:
        rank = nearness(self._local)
        self._by_node = self._candidates.by_node(rank)
        self._addresses = self._candidates.addresses(rank)
