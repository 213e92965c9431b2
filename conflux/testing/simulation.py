"""`Simulation`: one run of a cluster in simulated weather, from one seed, with everything checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from conflux.app import App
from conflux.testing.checkers import Checker
from conflux.testing.cluster import SimulatedCluster
from conflux.testing.drawing import calls_of
from conflux.testing.purity import PureReducer
from conflux.testing.recovery import lose_majority, recover
from conflux.testing.refounded import RefoundedCluster
from conflux.testing.registers import draw_registers_call, registers
from conflux.testing.restoring import begin_backup, restore
from conflux.testing.trace import Trace
from conflux.testing.trial import Trial
from conflux.testing.weather import Weather
from conflux.testing.workload import DrawCall, draw_journal_call, journal

CLUSTERS_MAX = 3  # one, and what is made of it, and of that


class Simulation:
    """A whole cluster with its clients, network, disks and clocks, in this thread.

        with Simulation(my_app, seed=7, draw_call=lambda random, number: ("add", [number])) as simulation:
            simulation.run(5000)

    A step is a message, a request or a disk's completion that a node handled. `run` may be called more than once;
    `heal` ends the faults, waits until the cluster serves again, and judges the whole history. Leaving the `with`
    block heals, unless something was raised.

    Args:
        app: methods and reducer; default: an append-only list that takes every way out of a method.
        nodes: how many; default: drawn from the seed, 1 to 9.
        seed: everything else is drawn from it, unless `weather` says it.
        draw_call: (random, a number never used before) → a method's name and its arguments. With an app that
            says nothing of it, arguments are drawn by what its methods' parameters are annotated with.
        tell: takes the lines of a readable trace.

    Raises:
        Violation, InvariantViolated: from any method: the history is one that must not be.
    """

    def __init__(
        self,
        app: App[Any, Any] | None = None,
        nodes: int | None = None,
        seed: int = 0,
        *,
        draw_call: DrawCall | None = None,
        weather: Weather | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.seed = seed
        self.weather = weather or Weather.draw(Random(seed), nodes)
        self.trace = Trace(tell)
        self._is_own = app is None
        self._app = app or (registers() if self.weather.registers else journal())
        purity = PureReducer()
        with self.weather.applied():
            own = draw_registers_call if self.weather.registers else draw_journal_call
            call = draw_call or (own if app is None else calls_of(app.methods))
            watched = purity.watching(app) if app is not None else self._app
            # Whoever is given the weather has the same run: it is drawn beside it.
            self.cluster = SimulatedCluster(watched, call, self.weather, Random(seed), self.trace)
            self._checkers: list[Checker] = [purity] if app is not None else []
            self.trials: list[Trial] = []
            self._watch(self.cluster)
        self.commits = self.trials[0].commits
        self.judged = False

    def __enter__(self) -> Simulation:
        return self

    def __exit__(self, kind: type[BaseException] | None, *exception: object) -> None:
        if kind is None and not self.judged:
            self.heal()

    @property
    def steps(self) -> int:
        """Steps so far."""
        return self.cluster.steps

    @property
    def digest(self) -> str:
        """Hash of all that happened."""
        return self.trace.digest

    @property
    def counts(self) -> Counter[str]:
        """How often what happened."""
        counts = Counter(self.cluster.network.counts)
        for trial in self.trials:
            counts += trial.cluster.counts
            for host in trial.cluster.hosts:
                counts += host.platter.counts
        return counts

    def run(self, steps: int) -> None:
        """Let so many steps happen."""
        with self.weather.applied():
            self.cluster.run(steps)

    def heal(self) -> None:
        """End the faults; the cluster must serve again, soon, and its history must be right."""
        self.judged = True
        with self.weather.applied():
            for trial in self.trials:
                trial.cluster.heal()
            self.cluster.run_until(lambda: False, self.cluster.network.arrived_s)
            for trial in self.trials:
                if trial.can_form():
                    trial.recover()
                    trial.finish()
            for trial in self.trials:
                trial.judge()

    # -- inside --------------------------------------------------------------------------------------------------

    def _watch(self, cluster: SimulatedCluster) -> None:
        """Judge this cluster too."""
        trial = Trial(cluster, self._app, is_own=self._is_own, checkers=self._checkers)
        self.trials.append(trial)
        cluster.refound = lambda kind: self._refound(trial, kind)

    def _refound(self, trial: Trial, kind: str) -> None:
        """A cluster loses a majority and is recovered, or somebody makes another one of a backup."""
        old, commits = trial.cluster, trial.commits
        if kind == "lose a majority":
            lose_majority(old, lambda left: self._join(lambda suffix: recover(old, commits, suffix, left)))
        else:
            name = f"backup{old.suffix}{old.counts['fault: restore a backup']}"
            begin_backup(old, name, lambda *saved: self._join(lambda suffix: restore(old, commits, suffix, *saved)))

    def _join(self, make: Callable[[str], RefoundedCluster | None]) -> None:
        """One cluster more, unless there are enough, or everything is about to end."""
        if len(self.trials) < CLUSTERS_MAX and not self.cluster.healed:
            made = make(chr(ord("a") + len(self.trials)))
            if made is not None:
                self._watch(made)
