"""`python -m conflux.testing --seeds 0:99 --jobs 2`: `conflux simulate` for the simulation's own app, and bare."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from conflux.testing.campaign import STEPS, Job, Report, run, run_all


def run_seed(job: tuple[int, int, bool]) -> Report:
    """Run one seed to its end; job: (seed, steps, whether to print all that happens)."""
    seed, steps, trace = job
    return run(Job(seed=seed, steps=steps), _say if trace else None)


def main(arguments: list[str] | None = None) -> int:
    """The command; gives its exit status."""
    options = _parser().parse_args(arguments)
    first, _, last = options.seeds.partition(":")
    seeds = range(int(first), int(last or first) + 1) if options.seeds else [options.seed]
    total = Report(Job(seed=seeds[0], steps=options.steps), runs=0)
    failed = []
    reports: Iterator[Report]
    if options.trace:
        reports = map(run_seed, [(seed, options.steps, True) for seed in seeds])
    else:
        reports = run_all((Job(seed=seed, steps=options.steps) for seed in seeds), options.jobs)
    for report in reports:
        total.add(report)
        if report.problem:
            failed.append(report)
            _say(f"seed {report.job.seed}: {report.problem}\n{report.frames}")
        elif len(seeds) == 1:
            _say(f"seed {report.job.seed}: trace {report.digest}")
    _summary(total, failed)
    return 1 if failed else 0


def _summary(total: Report, failed: list[Report]) -> None:
    for name, count in sorted(total.counts.items()):
        _say(f"{count:10,} {name}")
    if total.runs > 1 and (never := total.never()):
        _say(f"never happened: {', '.join(never)}")
    speed = total.steps / max(total.seconds, 1e-9)
    _say(f"{total.runs} seeds, {len(failed)} failed; {total.steps:,} steps, {speed:,.0f} a second on one core")
    for report in failed:
        _say(f"failed: {report.job.command()}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m conflux.testing", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="run this seed")
    parser.add_argument("--seeds", default="", metavar="A:B", help="run all seeds from A to B")
    parser.add_argument("--steps", type=int, default=STEPS, help="steps a seed, before it is healed")
    parser.add_argument("--jobs", type=int, default=1, help="processes that run seeds at the same time")
    parser.add_argument("--trace", action="store_true", help="show everything that happens")
    return parser


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
