"""Percentiles, medians, spreads and ratios of what was measured. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9, "max": 100.0}


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of some runs, and how far they lie apart."""

    median: float
    low: float
    high: float
    runs: int

    def as_json(self) -> dict[str, float]:
        return {"median": self.median, "low": self.low, "high": self.high, "runs": self.runs}


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of the ordered values don't exceed (nearest rank)."""
    if not ordered:
        raise ValueError("no values")
    rank = -(-len(ordered) * percent // 100)  # rounded up
    return ordered[max(0, min(len(ordered), int(rank)) - 1)]


def latencies_ms(seconds: Iterable[float]) -> dict[str, float]:
    """The percentiles of some latencies; empty without any."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    return {name: round(percentile(ordered, percent) * 1000, 4) for name, percent in PERCENTILES.items()}


def spread(values: Sequence[float]) -> Spread:
    """Median, least and greatest."""
    return Spread(statistics.median(values), min(values), max(values), len(values))


def paired_ratios(ours: Sequence[float | None], theirs: Sequence[float | None]) -> list[float]:
    """Ours over theirs, round by round: what was measured next to each other is compared, and nothing else."""
    return [one / other for one, other in zip(ours, theirs, strict=False) if one is not None and other]


def ratio(ours: Sequence[float | None], theirs: Sequence[float | None]) -> Spread | None:
    """The spread of the rounds' ratios; None where no round has both."""
    ratios = paired_ratios(ours, theirs)
    return spread(ratios) if ratios else None


def outage_seconds(answered_at: Iterable[float], killed_at: float, until: float) -> float | None:
    """From a kill to the answer that ends the longest silence after it; None if none does.

    The first answer after the kill won't do: it may have been on its way already.

    Args:
        until: when the last call was made.
    """
    times = sorted(answered_at)
    before = max((each for each in times if each <= killed_at), default=killed_at)
    after = [each for each in times if each > killed_at]
    longest, ended = 0.0, killed_at
    for each in after if after and after[-1] >= until else [*after, until]:
        if each - before > longest:
            longest, ended = each - before, each
        before = each
    return ended - killed_at if ended in after else None
