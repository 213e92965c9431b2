"""What a channel counts, and how it complains: one log line a cause and minute, however often the cause comes."""

from __future__ import annotations

import logging
import time
from dataclasses import asdict, dataclass

COMPLAINT_SECONDS = 60.0
COMPLAINT_CAUSES_MAX = 256

_LOG = logging.getLogger("conflux.transport")


@dataclass(slots=True)
class Counters:
    """Counts since the channel was opened. A memory channel leaves those of handshakes at zero."""

    peer_frames_sent: int = 0
    peer_frames_dropped: int = 0  # the link is down, full, or was never dialled
    peer_frames_received: int = 0
    client_frames_sent: int = 0
    client_frames_dropped: int = 0  # at a node: the client is gone or too slow; at a client: the link is down or full
    client_frames_received: int = 0
    messages_malformed: int = 0  # from an admitted sender: not one frame, or a frame over the limit
    dials_refused: int = 0  # no address, or more than limits.PEERS_MAX of them
    handshakes_refused: int = 0  # someone came with a key that has no business at that port
    handshakes_failed: int = 0  # someone came with another cluster's key, with none, or with garbage
    handshakes_cut_short: int = 0  # someone came and went, or was silent: a command that ended early, a probe
    links_refused: int = 0  # a node that this one dialled did not take the handshake, or went away in it

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


class Complaints:
    """Log lines that a stranger can cause: at most one a cause and minute."""

    def __init__(self) -> None:
        self._next_s: dict[str, float] = {}

    def complain(self, cause: str, message: str, *arguments: object) -> None:
        """Log `message` unless `cause` was logged within the last minute."""
        now_s = time.monotonic()
        if now_s < self._next_s.get(cause, 0.0):
            return
        if len(self._next_s) >= COMPLAINT_CAUSES_MAX:
            self._next_s.clear()  # forgetting costs a few more lines, never memory
        self._next_s[cause] = now_s + COMPLAINT_SECONDS
        _LOG.warning(message, *arguments)
