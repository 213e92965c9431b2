"""What a step costs, as a ratio to a fixed loop of pure Python: that holds on a slower machine, and on a busy one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

BASELINE = Path(__file__).parent / "baseline.json"
LOOP_STEPS = 1000
LOOP_ROUNDS = 50
CASE_ROUND_SECONDS = 0.001

ByTheLoop: TypeAlias = Callable[..., None]  # takes a step, and how many units of work it is (1)


def load_baseline() -> dict[str, float]:
    """The ratios that were measured when the baseline was last made, by the names of the cases."""
    found: dict[str, float] = json.loads(BASELINE.read_text("utf-8"))
    return found


def save_baseline(ratios: dict[str, float]) -> None:
    """Make these the baseline; a case that was not measured keeps what it has."""
    rounded = {name: round(ratio, 3) for name, ratio in (load_baseline() | ratios).items()}
    BASELINE.write_text(json.dumps(rounded, indent=1) + "\n", "utf-8")


def loop_step_seconds() -> float:
    """Processor time of one of the loop's steps, here and now: the least of the rounds, since noise only adds."""
    return min(_round_seconds() for _ in range(LOOP_ROUNDS)) / LOOP_STEPS


def regression(name: str, ratio: float, baseline: dict[str, float], tolerance: float) -> str | None:
    """Why a ratio is too large, in words; None where it isn't."""
    if name not in baseline:
        return f"{name}: there is no baseline, say --update"
    if ratio > baseline[name] * tolerance:
        return f"{name}: {ratio:.2f} steps of the loop, and was {baseline[name]:.2f}"
    return None


def _round_seconds() -> float:
    began = time.process_time()
    total = 0
    for number in range(LOOP_STEPS):
        total += number & 7
    return time.process_time() - began
