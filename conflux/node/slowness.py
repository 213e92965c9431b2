"""`Slowness`: the user's code runs in the loop, so what takes long there is named. A leader that is away is deposed."""

from __future__ import annotations

import logging

_log = logging.getLogger("conflux.node")

NAMES_MAX = 64


class Slowness:
    """Which method, or the reducer, held up a node's loop for longest.

    Args:
        bearable_s: what takes no longer is no matter: a heartbeat interval.
    """

    def __init__(self, bearable_s: float) -> None:
        self.bearable_s = bearable_s
        self.worst: tuple[str, float] | None = None  # what it was, and how many seconds it took
        self._named: set[str] = set()

    def note(self, what: str, seconds: float) -> None:
        """It took so long, which is more than can be borne."""
        if self.worst is None or seconds > self.worst[1]:
            self.worst = (what, seconds)
        if what not in self._named and len(self._named) < NAMES_MAX:
            self._named.add(what)
            _log.warning("%s took %.3f s: while it runs, this node does nothing else", what, seconds)

    def status(self) -> dict[str, object] | None:
        """For the node's row."""
        return None if self.worst is None else {"what": self.worst[0], "seconds": round(self.worst[1], 3)}
