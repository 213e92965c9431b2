"""`conflux simulate`: clusters in simulated weather, from seeds."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from conflux.cli import output
from conflux.cli.options import Settings, command
from conflux.errors import OptionsError

if TYPE_CHECKING:
    from conflux.testing.campaign import Job, Report

PROGRESS_SECONDS = 2.0
SHRINK_SECONDS = 60.0
HASH_SEED = "0"


@command(
    "simulate",
    examples=[
        "conflux simulate --seeds 200 --jobs 2",
        "conflux simulate --app shop:app --minutes 5",
        "conflux simulate --seed 7 --trace",
    ],
)
@click.option(
    "--app", envvar="CONFLUX_APP", show_envvar=True, metavar="MODULE:ATTR", help="Default: an app of its own."
)
@click.option("--app-dir", metavar="DIR", help="Where to look for the app's module first; default: here.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="The first seed; alone, only this one.")
@click.option("--seeds", type=click.IntRange(min=1), help="How many seeds to run.")
@click.option("--steps", type=click.IntRange(min=1), default=5000, show_default=True, help="Steps of each run.")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Begin no run after so long.")
@click.option("--jobs", type=click.IntRange(min=1), default=1, help="Processes that run seeds side by side.")
@click.option("--without", metavar="FAULT", multiple=True, help="Leave this kind of fault out; repeatable.")
@click.option(
    "--weather",
    type=click.Choice(["any", "members", "churn", "recover"]),
    default="any",
    show_default=True,
    help="members: they come and go all the time, and snapshots are taken after a few entries. churn: hardly anything "
    "else happens, and who was away for a moment needs a snapshot. recover: "
    "clusters lose a majority and are recovered, or begin with a backup, beside the old ones.",
)
@click.option("--trace", is_flag=True, help="Print everything that happens in the run of --seed.")
def simulate(
    settings: Settings,
    app: str | None,
    app_dir: str | None,
    seed: int,
    seeds: int | None,
    steps: int,
    minutes: float | None,
    jobs: int,
    without: tuple[str, ...],
    weather: str,
    trace: bool,
) -> int:
    """Run clusters in simulated weather and judge all that happens.

    Each seed is a cluster of 1 to 9 real nodes in one thread, with a network that loses, delays and cuts, disks that
    fail, machines that crash and pause, and clients that try again. The same seed is the same run, everywhere. What
    must never happen is looked for after each step and at the end; a run in which it does is told with the command
    that shows it, cut down to the fewest faults and steps that still fail. Status 1 then.
    """
    _fix_hashes()
    from conflux.testing import campaign

    if trace and seeds is not None:
        raise OptionsError("--trace shows one run: give --seed alone")
    first = campaign.Job(seed=seed, steps=steps, app=app, app_dir=app_dir, without=without, weather=weather)
    _refuse_unknown(without)
    if trace:
        report = campaign.run(first, output.print_line)
        if report.problem:
            _tell(report)
        return _finish(settings, report, [report] if report.problem else [], shrinks=False)
    count = seeds if seeds is not None else (1 if minutes is None else sys.maxsize)
    end_s = time.monotonic() + 60 * minutes if minutes is not None else None
    total = campaign.Report(first, runs=0)
    failed = list(_failures(settings, campaign.run_all(_jobs(first, count, end_s), jobs), total, count))
    if total.runs == 1 and not failed:
        output.note(f"seed {seed}: trace {total.digest}", verbosity=settings.verbosity)
    return _finish(settings, total, failed)


def _fix_hashes() -> None:
    """Let strings have the same hashes in every run: a reducer that looks at a set's order fails the same way again."""
    if os.environ.get("PYTHONHASHSEED", "random") == "random":
        sys.stdout.flush()
        os.environ["PYTHONHASHSEED"] = HASH_SEED
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _refuse_unknown(faults: tuple[str, ...]) -> None:
    from conflux.testing.weather import FAULTS, OF_CLIMATES

    known = (*FAULTS, *OF_CLIMATES)
    for fault in faults:
        if fault not in known:
            raise OptionsError(f"there is no fault {fault!r}", hint=f"There are: {', '.join(known)}.")


def _jobs(first: Job, count: int, end_s: float | None) -> Iterator[Job]:
    from dataclasses import replace

    for number in range(count):
        if end_s is not None and time.monotonic() >= end_s:
            return
        yield replace(first, seed=first.seed + number)


def _failures(settings: Settings, reports: Iterator[Report], total: Report, count: int) -> Iterator[Report]:
    """Sum up, tell how far it is, and give those that failed."""
    shown_s = time.monotonic()
    failed = 0
    for report in reports:
        total.add(report)
        total.digest = report.digest
        if report.problem:
            failed += 1
            _tell(report)
            yield report
        if time.monotonic() - shown_s >= PROGRESS_SECONDS:
            shown_s = time.monotonic()
            of = f" of {count:,}" if count < sys.maxsize else ""
            text = f"{total.runs:,}{of} seeds, {failed} failed; {total.steps:,} steps"
            output.note(text, verbosity=settings.verbosity)


def _tell(report: Report) -> None:
    output.complain(f"seed {report.job.seed}: {report.problem}")
    output.complain(f"  {report.job.command()}")


def _finish(settings: Settings, total: Report, failed: list[Report], *, shrinks: bool = True) -> int:
    """Counts, then the failures once more; gives the exit status."""
    from conflux.testing import campaign

    smallest = None
    if failed and shrinks:
        output.note("looking for the smallest run that still fails …", verbosity=settings.verbosity)
        smallest = campaign.shrink(failed[0].job, SHRINK_SECONDS)
    if settings.json:
        output.print_json(_as_json(total, failed, smallest))
    else:
        _print(total, failed, smallest)
    return 1 if failed else 0


def _print(total: Report, failed: list[Report], smallest: Job | None) -> None:
    for name, number in sorted(total.counts.items()):
        output.print_line(f"{number:12,} {name}")
    if total.runs > 1 and (never := total.never()):
        output.print_line(f"never happened: {', '.join(never)}")
    speed = total.steps / max(total.seconds, 1e-9)
    output.print_line(
        f"{total.runs:,} seeds, {len(failed)} failed; {total.steps:,} steps and {total.idle_turns:,} idle turns, "
        f"{speed:,.0f} steps a second of one core"
    )
    for report in failed:
        output.print_line(f"failed: {report.job.command()}")
    if smallest is not None:
        output.print_line(f"smallest: {smallest.command()}")


def _as_json(total: Report, failed: list[Report], smallest: Job | None) -> dict[str, object]:
    return {
        "seeds": total.runs,
        "failed": [
            {"seed": report.job.seed, "problem": report.problem, "command": report.job.command()} for report in failed
        ],
        "smallest": smallest.command() if smallest else None,
        "steps": total.steps,
        "idle_turns": total.idle_turns,
        "seconds": round(total.seconds, 3),
        "counts": dict(sorted(total.counts.items())),
        "never": total.never() if total.runs > 1 else [],
    }
