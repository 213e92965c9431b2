"""What a node is started with."""

from __future__ import annotations

import re
from dataclasses import dataclass

from conflux import limits
from conflux.errors import OptionsError
from conflux.raft.options import Options as RaftOptions

CLUSTER_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
TICK_MS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeOptions:
    """One node of one cluster."""

    cluster: str  # its name
    label: str  # the node's, unique among the members
    size: int  # of the cluster when it is formed
    election_timeout_ms: tuple[int, int] = (300, 500)
    heartbeat_interval_ms: int = 50
    join: str | None = None  # wants to join a formed cluster: by this token, or by an operator's hand (""); size 0 then
    snapshot_entries: int = limits.SNAPSHOT_ENTRIES  # the log's length at which a snapshot is taken
    snapshot_bytes: int = limits.SNAPSHOT_BYTES  # and its size
    settle_s: float = 2.0  # how long the candidates of a formation must stay the same; 0 where all were named

    def __post_init__(self) -> None:
        if problems := self.problems():
            raise OptionsError(f"Invalid options: {'; '.join(problems)}")

    def problems(self) -> list[str]:
        """Everything that is wrong, a sentence each."""
        shortest, longest = self.election_timeout_ms
        rules = [
            (CLUSTER_NAME.fullmatch(self.cluster), f"cluster name {self.cluster!r} must match {CLUSTER_NAME.pattern}"),
            (LABEL.fullmatch(self.label), f"id {self.label!r} must match {LABEL.pattern}"),
            (
                self.join is not None or 1 <= self.size <= limits.MEMBERS_MAX,
                f"cluster size {self.size} must be 1 to {limits.MEMBERS_MAX}",
            ),
            (self.heartbeat_interval_ms >= TICK_MS, f"heartbeat interval must be at least {TICK_MS} ms"),
            (shortest <= longest, f"election time-out {shortest}:{longest} must not end before it begins"),
            (shortest >= 2 * self.heartbeat_interval_ms, "election time-out must be at least two heartbeat intervals"),
        ]
        return [sentence for holds, sentence in rules if not holds]

    def raft_options(self) -> RaftOptions:
        """The core's options, in ticks."""
        shortest, longest = self.election_timeout_ms
        return RaftOptions(
            election_ticks_min=shortest // TICK_MS,
            election_ticks_max=longest // TICK_MS,
            heartbeat_ticks=self.heartbeat_interval_ms // TICK_MS,
            append_bytes_max=limits.APPEND_BYTES_MAX,
            inflight_messages_max=limits.INFLIGHT_MESSAGES_MAX,
            inflight_bytes_max=limits.INFLIGHT_BYTES_MAX,
            uncommitted_entries_max=limits.UNCOMMITTED_ENTRIES_MAX,
            uncommitted_bytes_max=limits.UNCOMMITTED_BYTES_MAX,
            tail_cache_bytes_max=limits.TAIL_CACHE_BYTES_MAX,
        )
