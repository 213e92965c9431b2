"""Transfers of snapshots that something comes between: counted, since who never cuts one tests nothing of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import TYPE_CHECKING

from conflux.testing.network import Link

if TYPE_CHECKING:
    from conflux.testing.host import Host

CUT = "snapshot transfers cut: "
INSTALLED = "snapshots installed after their transfer was cut"


class Transfers:
    """Knows which machine is in the middle of which transfer when something happens to it."""

    def __init__(self, hosts: list[Host], counts: Counter[str]) -> None:
        self._hosts = hosts
        self._counts = counts
        self._cut: dict[str, int] = {}  # by machine: index of the snapshot whose transfer was cut

    def goes_down(self, host: Host) -> None:
        """A node is about to be gone."""
        if _index(host) is not None:
            self._counts[f"{CUT}its receiver is gone"] += 1
            self._cut.pop(host.label, None)  # what had come is gone too
        for other in self._hosts:
            if _sender(other) == host.identity:
                self._note(other, "its sender is gone")

    def links_cut(self, links: Collection[Link]) -> None:
        """These links carry nothing now."""
        labels = {host.identity: host.label for host in self._hosts}
        for host in self._hosts:
            sender = labels.get(_sender(host) or "", "")
            if (host.label, sender) in links or (sender, host.label) in links:
                self._note(host, "its link is cut")

    def leader_changed(self, host: Host, leader: str | None) -> None:
        """A node hears of another leader."""
        if leader is not None and _sender(host) not in (None, leader):
            self._note(host, "there is another leader")

    def installed(self, host: Host, index: int) -> None:
        """A transfer came to its end."""
        if self._cut.pop(host.label, None) == index:
            self._counts[INSTALLED] += 1

    def _note(self, host: Host, why: str) -> None:
        index = _index(host)
        if index is not None:
            self._counts[CUT + why] += 1
            self._cut[host.label] = index


def _index(host: Host) -> int | None:
    """Which snapshot a node has a part of."""
    member = host.node.member if host.node is not None else None
    progress = member.snapshots.installer.progress() if member is not None else None
    return progress["index"] if progress is not None else None


def _sender(host: Host) -> str | None:
    """Whom a node asks for the rest of a snapshot."""
    member = host.node.member if host.node is not None else None
    return member.snapshots.installer.sender if member is not None else None
