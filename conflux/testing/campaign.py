"""Many seeds, one after another or side by side: what came of each, how often what happened, how to see it again."""

from __future__ import annotations

import gc
import shlex
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count, islice
from multiprocessing import get_context
from queue import SimpleQueue
from random import Random

from conflux.app import load_app
from conflux.testing.climates import CLIMATES
from conflux.testing.simulation import Simulation
from conflux.testing.sometimes import expected
from conflux.testing.weather import FAULTS, OF_CLIMATES, Weather
from conflux.testing.workload import DrawCall

YOUNG_OBJECTS_MAX = 50_000  # before the collector looks at them: what a run makes stays until its end
RUNS_PER_COLLECTION = 10  # what a run made is full of cycles, a megabyte of them
STEPS = 5000
AHEAD = 2  # jobs that a process has, with the one that it is at
_runs = count(1)  # of this process: by seeds, one of two processes might get all the odd ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run: everything that decides what happens in it."""

    seed: int
    steps: int = STEPS
    app: str | None = None  # MODULE:ATTR; None: the simulation's own
    app_dir: str | None = None
    without: tuple[str, ...] = ()  # kinds of faults that are left out
    weather: str = "any"  # one of CLIMATES

    def draw_weather(self) -> Weather:
        """The weather of this run."""
        drawn = Weather.draw(Random(self.seed))
        return CLIMATES[self.weather](drawn, Random(f"{self.weather} {self.seed}")).without(self.without)

    def command(self) -> str:
        """The command that runs it again, and shows all of it."""
        words = ["conflux", "simulate", "--seed", str(self.seed), "--steps", str(self.steps)]
        for option, value in (("--app", self.app), ("--app-dir", self.app_dir)):
            words += [option, value] if value else []
        words += ["--weather", self.weather] if self.weather != "any" else []
        for fault in self.without:
            words += ["--without", fault]
        return shlex.join([*words, "--trace"])


@dataclass(slots=True)
class Report:
    """What came of one run, or of all."""

    job: Job
    runs: int = 1
    steps: int = 0
    idle_turns: int = 0
    seconds: float = 0.0  # of the processor
    digest: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    problem: str = ""
    frames: str = ""  # of Python's stack, where something was raised

    def add(self, other: Report) -> None:
        """Sum up."""
        self.runs += other.runs
        self.steps += other.steps
        self.idle_turns += other.idle_turns
        self.seconds += other.seconds
        self.counts += other.counts

    def never(self) -> list[str]:
        """What should have happened sometimes, and did not."""
        names = expected(self.job.weather, own_app=self.job.app is None)
        return [name for name in names if not self.counts[name]]


def run(job: Job, tell: Callable[[str], None] | None = None) -> Report:
    """Run a seed to its end."""
    began = time.process_time()
    report = Report(job)
    simulation = _simulation_of(job, tell)
    try:
        with simulation:
            simulation.run(job.steps)
    except BrokenPipeError:
        raise  # whoever read the trace has gone
    except Exception as error:  # whatever it is, the seed that does it is what is asked for
        report.problem = f"{type(error).__name__}: {error}"
        report.frames = "".join(traceback.format_exception(error)[-6:])
    report.steps, report.digest, report.counts = simulation.steps, simulation.digest, simulation.counts
    report.idle_turns = simulation.cluster.idle_turns
    del simulation
    if next(_runs) % RUNS_PER_COLLECTION == 0:
        gc.collect()
    report.seconds = time.process_time() - began
    return report


def run_all(jobs: Iterator[Job], processes: int) -> Iterator[Report]:
    """Run all by so many processes; gives what came of each, as they end. Takes few more than are running."""
    gc.set_threshold(YOUNG_OBJECTS_MAX)
    if processes == 1:
        yield from map(run, jobs)
        return
    # A fork has this process's hashes of strings: an order that depends on them is the same when a seed runs again.
    with get_context("fork").Pool(processes, _ignore_signals) as pool:
        ended: SimpleQueue[Report | BaseException] = SimpleQueue()

        def begin(count: int) -> int:
            chosen = [*islice(jobs, count)]
            for job in chosen:
                pool.apply_async(run, [job], callback=ended.put, error_callback=ended.put)
            return len(chosen)

        running = begin(AHEAD * processes)
        while running:
            report = ended.get()
            if isinstance(report, BaseException):
                raise report
            running += begin(1) - 1
            yield report


def _ignore_signals() -> None:
    """Ctrl-C goes to all processes of a terminal, and is this one's parent's to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def shrink(job: Job, seconds: float, tell: Callable[[str], None] = lambda line: None) -> Job:
    """The fewest kinds of faults and the shortest run that still fail, as far as `seconds` allow to look."""
    end_s = time.monotonic() + seconds

    def fails(smaller: Job) -> Report | None:
        if time.monotonic() >= end_s:
            return None
        report = run(smaller)
        return report if report.problem else None

    report = run(job)
    best = _cut_short(job, report)
    for fault in (*FAULTS, *OF_CLIMATES):
        smaller = replace(best, without=(*best.without, fault))
        if fault in job.draw_weather().faults and (report_ := fails(smaller)):
            best = _cut_short(smaller, report_)
            tell(f"still fails without: {fault}")
    while best.steps > 1 and (shorter := fails(replace(best, steps=best.steps // 2))):
        best = _cut_short(replace(best, steps=best.steps // 2), shorter)
        tell(f"still fails within {best.steps} steps")
    return best


def _cut_short(job: Job, report: Report) -> Job:
    """Nothing that comes after the failure is needed for it."""
    return replace(job, steps=max(1, min(job.steps, report.steps)))


def _simulation_of(job: Job, tell: Callable[[str], None] | None) -> Simulation:
    weather = job.draw_weather()
    if job.app is None:
        return Simulation(seed=job.seed, weather=weather, tell=tell)
    app = load_app(job.app, job.app_dir)
    return Simulation(app, seed=job.seed, weather=weather, draw_call=draw_call_beside(job.app), tell=tell)


def draw_call_beside(spec: str) -> DrawCall | None:
    """The function `draw_call` of the app's own module, where it has one."""
    found: DrawCall | None = getattr(sys.modules[spec.partition(":")[0]], "draw_call", None)
    return found
