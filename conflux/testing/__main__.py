"""Run clusters in simulated weather: `python -m conflux.testing --seed 7 --steps 20000 --trace`."""

from __future__ import annotations

import argparse
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import Pool

from conflux.testing.simulation import Simulation
from conflux.testing.weather import FAULTS

# What should happen sometimes over many seeds: a simulator that never does it tests nothing of it.
SOMETIMES = (
    *(f"fault: {fault}" for fault in FAULTS),
    "calls: Committed",
    "calls: MethodRejected",
    "calls: ReducerFailed",
    "calls: UnknownMethod",
    "calls: OutcomeUnknown",
    "calls: NoLeader",
    "calls: Busy",
    "calls: NotReady",
    "calls: SessionExpired",
    "calls: Closed",
    "clients that began anew",
    "crashes",
    "crashes during a write",
    "crashes during a write, kept",
    "crashes during a write, lost",
    "disk failures",
    "elections won",
    "ends: its disk failed",
    "frames duplicated",
    "frames held by a cut, then delivered",
    "frames into a cut",
    "frames late",
    "frames lost",
    "frames that outlived their receiver",
    "frames to nobody",
    "restarts at another address",
    "slow syncs",
    "writes refused: disk full",
)


@dataclass(slots=True)
class Report:
    """What came of one seed."""

    seed: int
    steps: int
    seconds: float
    digest: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    problem: str = ""


def run_seed(job: tuple[int, int, bool]) -> Report:
    """Run one seed to its end."""
    seed, steps, trace = job
    began = time.process_time()
    simulation = Simulation(seed=seed, tell=_say if trace else None)
    problem = ""
    try:
        with simulation:
            simulation.run(steps)
    except Exception as error:  # whatever it is, the seed that does it is what is asked for
        frames = "".join(traceback.format_exception(error)[-6:])
        problem = f"{type(error).__name__}: {error}\n{frames if trace else ''}"
    seconds = time.process_time() - began
    return Report(seed, simulation.steps, seconds, simulation.digest, simulation.counts, problem)


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    options = _parser().parse_args(arguments)
    first, _, last = options.seeds.partition(":")
    seeds = range(int(first), int(last or first) + 1) if options.seeds else [options.seed]
    jobs = [(seed, options.steps, options.trace) for seed in seeds]
    total = Report(0, 0, 0.0)
    failed = 0
    for report in _reports(jobs, options.jobs):
        total.steps += report.steps
        total.seconds += report.seconds
        total.counts += report.counts
        if report.problem:
            failed += 1
            _say(f"seed {report.seed}: {report.problem}")
            _say(f"  python -m conflux.testing --seed {report.seed} --steps {options.steps} --trace")
        elif len(jobs) == 1:
            _say(f"seed {report.seed}: trace {report.digest}")
    _summary(total, len(jobs), failed)
    return 1 if failed else 0


def _reports(jobs: list[tuple[int, int, bool]], processes: int) -> Iterator[Report]:
    if processes == 1:
        yield from map(run_seed, jobs)
        return
    with Pool(processes) as pool:
        yield from pool.imap_unordered(run_seed, jobs)


def _summary(total: Report, seeds: int, failed: int) -> None:
    for name, count in sorted(total.counts.items()):
        _say(f"{count:10,} {name}")
    never = [name for name in SOMETIMES if not total.counts[name]]
    if never and seeds > 1:
        _say(f"never happened: {', '.join(never)}")
    speed = total.steps / max(total.seconds, 1e-9)
    _say(f"{seeds} seeds, {failed} failed; {total.steps:,} steps, {speed:,.0f} a second on one core")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m conflux.testing", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="run this seed")
    parser.add_argument("--seeds", default="", metavar="A:B", help="run all seeds from A to B")
    parser.add_argument("--steps", type=int, default=5000, help="steps a seed, before it is healed")
    parser.add_argument("--jobs", type=int, default=1, help="processes that run seeds at the same time")
    parser.add_argument("--trace", action="store_true", help="show everything that happens")
    return parser


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
