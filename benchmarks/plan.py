"""What is measured, in which order. Pure.

The machine drifts: so the systems take turns, each round visits all of them, and only figures of one round are
compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Turn:
    """One system's visit: its cluster is started, loaded at each level, checked and stopped."""

    round: int
    system: str
    nodes: int
    in_flight: tuple[int, ...]


def turns(
    systems: Sequence[str],
    nodes: Sequence[int],
    in_flight: Sequence[int],
    rounds: int,
    limits: dict[str, int] | None = None,
) -> Iterator[Turn]:
    """All turns of a comparison: A B C, A B C, … for each size of cluster.

    Args:
        limits: the most in flight that a system is asked for, where it has such a limit.
    """
    for size in nodes:
        for number in range(1, rounds + 1):
            for system in systems:
                most = (limits or {}).get(system)
                levels = tuple(level for level in in_flight if most is None or level <= most)
                if levels:
                    yield Turn(number, system, size, levels)


def seconds_of(planned: Sequence[Turn], *, seconds: float, overhead_seconds: float, start_seconds: float) -> float:
    """How long it takes, about."""
    return sum(start_seconds + len(turn.in_flight) * (seconds + overhead_seconds) for turn in planned)
