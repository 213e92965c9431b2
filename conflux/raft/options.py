"""The core's options. Time is counted in ticks; how long a tick lasts is the shell's affair."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a node's core behaves. Every node of a cluster may have its own."""

    election_ticks_min: int = 60  # a follower waits a random time in min..max for its leader
    election_ticks_max: int = 100
    heartbeat_ticks: int = 10  # a leader's pause between rounds of heartbeats
    append_bytes_max: int = 768 * 1024  # payload in one Append; a larger entry goes alone
    inflight_messages_max: int = 64  # Appends on the way to one follower
    inflight_bytes_max: int = 8 * 1024 * 1024
    uncommitted_entries_max: int = 256  # a leader takes no proposal beyond either
    uncommitted_bytes_max: int = 16 * 1024 * 1024
    tail_cache_bytes_max: int = 16 * 1024 * 1024  # newest entries kept in memory for followers

    def __post_init__(self) -> None:
        problems = [f"{name} must be at least 1" for name in self.__slots__ if getattr(self, name) < 1]
        if self.election_ticks_max < self.election_ticks_min:
            problems.append("election_ticks_max must not be below election_ticks_min")
        if self.heartbeat_ticks >= self.election_ticks_min:
            problems.append("heartbeat_ticks must be below election_ticks_min")
        if problems:
            raise ValueError(", ".join(problems))
