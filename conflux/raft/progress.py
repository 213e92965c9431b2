"""What a leader knows of one follower, and how much it may have on the way to it."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum

from conflux.raft.options import Options


class Mode(StrEnum):
    """How the leader feeds a follower."""

    PROBE = "probe"  # looks for where the logs agree: one Append at a time
    REPLICATE = "replicate"  # sends ahead of the answers


@dataclass(slots=True)
class Progress:
    """One follower, as its leader sees it."""

    next_index: int  # first entry to send next
    match_index: int = 0  # highest entry known to be on the follower's disk and equal to ours
    mode: Mode = Mode.PROBE
    probe_sent: bool = False  # in PROBE: an Append is on the way
    silence: int = 0  # ticks since it was heard
    acked_round: int = 0  # highest round of heartbeats that it answered
    commit_sent: int = 0  # highest commit index that it was told
    sent_at_round: tuple[int, int] = (0, 0)  # (round, last index sent before it): what its answer must have seen
    probe_round: int = 0  # in PROBE: the last round begun before the probe left
    inflight: deque[tuple[int, int]] = field(default_factory=deque)  # (last index, bytes) of each Append on the way
    inflight_bytes: int = 0

    def may_send(self, options: Options) -> bool:
        """True while the limits leave room for one more Append."""
        if self.mode is Mode.PROBE:
            return not self.probe_sent
        return len(self.inflight) < options.inflight_messages_max and self.inflight_bytes < options.inflight_bytes_max

    def sent(self, last_index: int, payload_bytes: int) -> None:
        """An Append that ends at `last_index` is on the way."""
        if self.mode is Mode.PROBE:
            self.probe_sent = True
            return
        self.next_index = last_index + 1
        self.inflight.append((last_index, payload_bytes))
        self.inflight_bytes += payload_bytes

    def accepted(self, match_index: int) -> None:
        """The follower holds our log up to `match_index`, which is news or not."""
        if match_index > self.match_index:
            self.match_index = match_index
        if self.next_index <= self.match_index:
            self.next_index = self.match_index + 1
        self.mode = Mode.REPLICATE
        self.probe_sent = False
        while self.inflight and self.inflight[0][0] <= self.match_index:
            self.inflight_bytes -= self.inflight.popleft()[1]

    def probe_from(self, next_index: int) -> None:
        """Look for where the logs agree, from `next_index` down."""
        self.mode = Mode.PROBE
        self.next_index = max(next_index, self.match_index + 1)
        self.probe_sent = False
        self.sent_at_round = (0, 0)
        self.inflight.clear()
        self.inflight_bytes = 0
