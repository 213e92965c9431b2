"""A network in one thread: channels between simulated nodes and clients, and all that may go wrong between them.

A frame arrives whole, once or not at all, and in order on its link: what `conflux.transport.interface` promises. The
knobs for duplication and reordering break even that.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Any

from conflux import limits
from conflux.raft.invariant import invariant
from conflux.testing.clock import Schedule, SimulatedClock
from conflux.testing.ends import ClientEnd, ClientLink, NodeEnd
from conflux.wire.clients import CLIENTS

_FORWARD = b"\x11"  # the kind of frame that carries a client's request from node to node
_PERFORM = b"\x02"  # the kind of frame that holds calls of a client
_STATUS = b"\x47"  # the kind of frame that holds a process id
Link = tuple[str, str]  # (place a frame leaves, place it goes to); a place is a node's or a client's name


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkKnobs:
    """How bad the network is. Chances are per frame; the defaults are a good network."""

    delay_s_min: float = 0.0002
    delay_s_max: float = 0.001
    loss: float = 0.0
    late: float = 0.0  # chance of a frame to take up to `late_s_max`
    late_s_max: float = 0.1
    duplication: float = 0.0
    duplicates_requests: bool = False  # clients' requests too: then a refusal is no proof that nothing was applied
    reordering: bool = False  # links are not first in, first out
    refuses: float = 0.0  # chance that a sender is told at once when its link is down
    survives_restart: float = 0.5  # chance of a frame on its way to reach whoever is at that address then


@dataclass(slots=True)
class Cut:
    """Links that carry nothing until the cut is mended."""

    links: frozenset[Link]
    holds: bool  # frames wait in it, and arrive in one burst afterwards
    held: list[tuple[Link, Callable[[Any], None], Any]]


class SimulatedNetwork:
    """Carries frames between the ends that it makes.

    Args:
        arrived: told of each frame that arrives: where from, where to, the frame, whether both are nodes.
    """

    def __init__(self, schedule: Schedule, random: Random, arrived: Callable[[str, str, bytes, bool], None]) -> None:
        self.knobs = NetworkKnobs()
        self.counts: Counter[str] = Counter()
        self.nodes: dict[str, NodeEnd] = {}  # by address
        self.lose_request_until_s = 0.0
        self._schedule = schedule
        self._random = random
        self._arrived = arrived
        self._cuts: list[Cut] = []
        self._last_due: dict[tuple[str, str, bool], float] = {}
        self._made = 0

    # -- ends ----------------------------------------------------------------------------------------------------

    def open_node(self, place: str, address: str, clock: SimulatedClock, wake: Callable[[], None]) -> NodeEnd:
        """A node's end: a `Channel`."""
        invariant(address not in self.nodes, "an address belongs to one node at a time")
        end = NodeEnd(self, place, address, clock, wake)
        self.nodes[address] = end
        return end

    def open_client(self, place: str, clock: SimulatedClock, wake: Callable[[], None]) -> ClientEnd:
        """A client's end: a `ClientChannel`."""
        return ClientEnd(self, place, clock, wake)

    def leave(self, end: NodeEnd) -> None:
        """A node is gone, and what waited in its own queues with it."""
        self.nodes.pop(end.address, None)
        for cut in self._cuts:
            cut.held = [held for held in cut.held if held[0][0] != end.place]

    @property
    def arrived_s(self) -> float:
        """When the last of all that is on its way arrives: one late frame holds up its whole link."""
        return max(self._last_due.values(), default=0.0)

    def new_handle(self) -> bytes:
        """A client's handle, never used before."""
        self._made += 1
        return self._made.to_bytes(8, "big")

    # -- cuts ----------------------------------------------------------------------------------------------------

    def cut(self, links: Iterable[Link], *, holds: bool) -> Cut:
        """Cut these links, each in one direction, until `mend`."""
        made = Cut(frozenset(links), holds, [])
        self._cuts.append(made)
        return made

    def mend(self, cut: Cut) -> None:
        """Mend a cut; what it held arrives in a burst. Mending twice is harmless."""
        if cut not in self._cuts:
            return
        self._cuts.remove(cut)
        self.counts["frames held by a cut, then delivered"] += len(cut.held)
        for link, deliver, flight in cut.held:
            self._plan(link, self._schedule.now_s, deliver, flight)

    def mend_all(self) -> None:
        """Mend every cut."""
        for cut in [*self._cuts]:
            self.mend(cut)

    # -- carrying ------------------------------------------------------------------------------------------------

    def to_node(self, source: str, leaves_s: float, address: str, frame: bytes, link: ClientLink | None) -> bool:
        """Carry a frame to whoever is at `address`. False: its sender knows that it can't be."""
        invariant(len(frame) <= limits.FRAME_BYTES_MAX, "a frame is no longer than limits.FRAME_BYTES_MAX")
        target = self.nodes.get(address)
        if target is None:
            self.counts["frames to nobody"] += 1
            return self._random.random() >= self.knobs.refuses and link is None
        if target.is_full or (link is not None and self._refuses(target, link)):
            return False
        if link is not None and self._loses(frame):
            return True
        flight = (source, target, address, frame, link)
        repeats = self.knobs.duplicates_requests or (link is None and frame[1:2] != _FORWARD)
        return self._carry((source, target.place), leaves_s, self._arrive_at_node, flight, repeats=repeats)

    def _refuses(self, end: NodeEnd, link: ClientLink) -> bool:
        """True where a client has the key of another cluster."""
        if link.client.key == end.key:
            return False
        self.counts["frames refused for their key"] += 1
        return True

    def _loses(self, frame: bytes) -> bool:
        """One request out of a session's window is lost: what its client sent before and sends after it arrives."""
        if self._schedule.now_s >= self.lose_request_until_s or frame[1:2] != _PERFORM:
            return False
        request = CLIENTS.decode_from_client(frame)
        if request.first_sequence == request.first_unanswered:
            return False
        self.lose_request_until_s = 0.0
        self.counts["requests lost within a session's window"] += 1
        return True

    def to_client(self, source: str, leaves_s: float, link: ClientLink, frame: bytes) -> bool:
        """Carry a frame back to a client."""
        invariant(len(frame) <= limits.FRAME_BYTES_MAX, "a frame is no longer than limits.FRAME_BYTES_MAX")
        flight = (source, link, frame)
        return self._carry((source, link.client.place), leaves_s, self._arrive_at_client, flight, repeats=True)

    def _carry(
        self, link: Link, leaves_s: float, deliver: Callable[[Any], None], flight: Any, *, repeats: bool
    ) -> bool:
        knobs, random = self.knobs, self._random
        if self._cuts and (cut := self._cut_over(link)):
            return self._into_cut(cut, link, deliver, flight)
        if knobs.loss and random.random() < knobs.loss:
            self.counts["frames lost"] += 1
            return True
        self._plan(link, leaves_s, deliver, flight)
        if repeats and knobs.duplication and random.random() < knobs.duplication:
            self.counts["frames duplicated"] += 1
            self._plan(link, leaves_s, deliver, flight)
        return True

    def _plan(self, link: Link, leaves_s: float, deliver: Callable[[Any], None], flight: Any) -> None:
        knobs, random = self.knobs, self._random
        longest = knobs.delay_s_max
        if knobs.late and random.random() < knobs.late:
            longest = knobs.late_s_max
            self.counts["frames late"] += 1
        due_s = leaves_s + knobs.delay_s_min + random.random() * (longest - knobs.delay_s_min)
        if not knobs.reordering:
            key = (*link, type(flight[1]) is NodeEnd and flight[-1] is None)
            due_s = self._last_due[key] = max(due_s, self._last_due.get(key, 0.0))
        elif due_s < self._last_due.get(link_key := (*link, False), 0.0):
            self.counts["frames out of order"] += 1
        else:
            self._last_due[link_key] = due_s
        self._schedule.at(due_s, deliver, flight)

    def _cut_over(self, link: Link) -> Cut | None:
        return next((cut for cut in self._cuts if link in cut.links), None)

    def _into_cut(self, cut: Cut, link: Link, deliver: Callable[[Any], None], flight: Any) -> bool:
        self.counts["frames into a cut"] += 1
        if cut.holds and len(cut.held) < limits.SEND_HIGH_WATER_MARK:
            cut.held.append((link, deliver, flight))
            return True
        return self._random.random() >= self.knobs.refuses

    # -- arriving ------------------------------------------------------------------------------------------------

    def _arrive_at_node(self, flight: tuple[str, NodeEnd, str, bytes, ClientLink | None]) -> None:
        source, target, address, frame, link = flight
        now = self.nodes.get(address)
        if now is None or (now is not target and self._random.random() >= self.knobs.survives_restart):
            self.counts["frames to nobody"] += 1
            return
        if now is not target and link is not None and self._refuses(now, link):
            return
        if now is not target:
            self.counts["frames that outlived their receiver"] += 1
        if link is None:
            now.take_from_peer(frame)
        elif link.is_open:
            now.take_from_client(link, frame)
        self._arrived(source, now.place, frame, link is None)

    def _arrive_at_client(self, flight: tuple[str, ClientLink, bytes]) -> None:
        source, link, frame = flight
        if link.is_open:
            link.client.take(link.address, frame)
            # A report of a node's status names this process: no two runs of a seed would be the same.
            self._arrived(source, link.client.place, frame if frame[1:2] != _STATUS else b"", False)
