"""`Simulation`: one run of a cluster in simulated weather, from one seed, with everything checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from conflux.app import App
from conflux.client.committed import Committed
from conflux.node.links import GREETING_SECONDS
from conflux.testing.changes import count_changes
from conflux.testing.checkers import all_checkers
from conflux.testing.cluster import SimulatedCluster
from conflux.testing.drawing import calls_of
from conflux.testing.elsewhere import check_order_elsewhere, digest_of
from conflux.testing.history import Call
from conflux.testing.judge import Judge, check_calls, check_order, check_watch
from conflux.testing.linearizability import Append, ListRead, check_append_only
from conflux.testing.purity import PureReducer
from conflux.testing.registers import check_registers, draw_registers_call, registers
from conflux.testing.trace import Trace
from conflux.testing.violation import Violation, require
from conflux.testing.weather import Weather
from conflux.testing.workload import DrawCall, draw_journal_call, journal

TIMEOUTS_TO_RECOVER = 10  # longest election time-outs in which a healed cluster must serve
SECONDS_TO_FINISH = 20.0  # in which everything that clients have begun must have ended, after that


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
            self.commits, checkers = all_checkers(self.cluster.hosts, self._app)
            self.cluster.watch_with([*checkers, purity] if app is not None else checkers)
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
        counts = self.cluster.counts + self.cluster.network.counts
        for host in self.cluster.hosts:
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
            self.cluster.heal()
            self.cluster.run_until(lambda: False, self.cluster.network.arrived_s)
            if self._can_form():
                self._recover()
                self._finish()
            self._judge()

    # -- inside --------------------------------------------------------------------------------------------------

    def _can_form(self) -> bool:
        """False where too many nodes want to form the cluster and have not done so yet: then they never may."""
        return not self.weather.extra_candidates or self._is_formed()

    def _is_formed(self) -> bool:
        formed = [host for host in self.cluster.hosts if host.node is not None and host.node.directory.formed]
        return len(formed) == self.weather.nodes

    def _recover(self) -> None:
        """A fresh write and a linearizable read, on one leader, and all nodes level with it."""
        cluster = self.cluster
        longest_s = self.weather.election_timeout_ms[1] / 1000
        # Beside elections: who changed its address must be found, and a cluster that is not formed must form.
        deadline_s = cluster.schedule.now_s + TIMEOUTS_TO_RECOVER * longest_s + 2 * GREETING_SECONDS + 1.0
        client = cluster.new_client("last")
        method, args = cluster.draw_fresh_call()
        fresh = client.perform(method, args, None)
        client.wake()
        self._require_in_time(lambda: fresh.result is not None, deadline_s, "a healed cluster serves a write soon")
        before = len(cluster.history.reads)
        client.read(linearizable=True)
        client.wake()
        self._require_in_time(
            lambda: len(cluster.history.reads) > before and not client.unfinished,
            deadline_s,
            "a healed cluster serves a read soon",
        )

    def _finish(self) -> None:
        """Nothing that clients began hangs, every node is level, and every watch has seen everything."""
        cluster = self.cluster
        deadline_s = cluster.schedule.now_s + SECONDS_TO_FINISH
        everyone = [*cluster.clients, *(client for host in self._members() for client in host.embedded)]

        def is_over() -> bool:
            return not any(client.unfinished for client in everyone)

        self._require_in_time(is_over, deadline_s, "everything that a client began ends")
        self._require_in_time(self._is_level, deadline_s, "all nodes of a healed cluster are level")
        digests = {digest_of(self._app, host.node.machine.state) for host in self._members() if host.node is not None}
        require(len(digests) == 1, "the states of a healed cluster have one hash")
        require(len(cluster.leaders) == 1, f"one leader: {[host.label for host in cluster.leaders]}")
        self._require_in_time(self._have_seen_all, deadline_s, "every watch sees everything")

    def _is_level(self) -> bool:
        machines = [host.node.machine for host in self._members() if host.node is not None]
        last = len(self.commits.log)
        return len({machine.log_hash for machine in machines}) == 1 and machines[0].index == last

    def _members(self) -> list[Any]:
        """The machines of the cluster's members, as the committed log has them at last."""
        machines = self.commits.machines
        if not machines:
            return [host for host in self.cluster.hosts if host.node is None or host.node.directory.formed]
        return [host for host in self.cluster.hosts if host.identity in machines[-1].membership.members]

    def _have_seen_all(self) -> bool:
        last = self.commits.machines[-1].revision
        watches = self.cluster.history.watches
        return all(w.first_revision + len(w.events) == last + 1 for w in watches if w.first_revision and not w.is_over)

    def _require_in_time(self, condition: Callable[[], bool], deadline_s: float, sentence: str) -> None:
        if not self.cluster.run_until(condition, deadline_s):
            raise Violation(f"{sentence}: {self._state()}")

    def _state(self) -> str:
        """A line a node, for whoever looks for what went wrong."""
        lines = []
        for host in self.cluster.hosts:
            node = host.node
            if node is None or node.replica is None:
                lines.append(f"{host.label}: {'down' if node is None else node.waiting_for()}")
                continue
            raft, machine = node.replica.raft, node.machine
            lines.append(
                f"{host.label}: {raft.role.name} of {raft.term}, log to {raft.log.last_index}, committed to "
                f"{raft.commit_index}, folded to {machine.index}, revision {machine.revision}, {node.problem()}"
            )
        return "\n  ".join(["", *lines])

    def _judge(self) -> None:
        history = self.cluster.history
        judge = Judge(self._app, history)
        judge.run_again(self.commits.log)
        check_calls(judge, history.calls, refusals_are_proof=not self.weather.network.duplicates_requests)
        reads = check_order(judge, history)
        for watched in history.watches:
            check_watch(judge, watched)
        if self._is_own and self.weather.registers:
            proof = not self.weather.network.duplicates_requests
            self.cluster.counts += check_registers(judge, history, reads, refusals_are_proof=proof)
        elif self._is_own:
            self._check_journal(judge)
        else:
            check_order_elsewhere(self._app, [action for _, action, _ in judge.events], judge.states_of_revisions)
        for checker in self.cluster.checkers:
            checker.ended()
        self.cluster.counts += count_changes(self.commits.machines)

    def _check_journal(self, judge: Judge) -> None:
        """The same once more, from what clients saw alone."""
        history = self.cluster.history
        appends = [_append(call) for call in history.calls]
        now_s = self.cluster.schedule.now_s
        reads = [ListRead(read.state, read.invoked_s, read.returned_s) for read in history.reads if read.linearizable]
        check_append_only([a for a in appends if a], [*reads, ListRead(judge.states[-1], now_s, now_s)])


def _append(call: Call) -> Append | None:
    """What a client knows of a call that may have appended."""
    committed = isinstance(call.result, Committed) and not call.appended
    acknowledged = committed and getattr(call.result, "action", None) is not None
    if committed and not acknowledged:
        return None
    return Append(call.args[0], call.invoked_s, call.returned_s, acknowledged)
