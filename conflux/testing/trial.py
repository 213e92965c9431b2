"""`Trial`: one cluster of a run, from its healing to the judgement of all that happened in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conflux.app import App
from conflux.client.committed import Committed
from conflux.node.links import GREETING_SECONDS
from conflux.testing.changes import count_changes
from conflux.testing.checkers import Checker, all_checkers
from conflux.testing.clients import SimulatedClient
from conflux.testing.cluster import SimulatedCluster
from conflux.testing.elsewhere import check_order_elsewhere, digest_of
from conflux.testing.embedded import EmbeddedClient
from conflux.testing.history import Call
from conflux.testing.host import Host
from conflux.testing.judge import Judge, check_calls, check_order, check_watch
from conflux.testing.linearizability import Append, ListRead, check_append_only
from conflux.testing.refounded import RefoundedCluster
from conflux.testing.registers import check_registers
from conflux.testing.violation import Violation, require

TIMEOUTS_TO_RECOVER = 10  # longest election time-outs in which a healed cluster must serve
SECONDS_TO_FINISH = 20.0  # in which everything that clients have begun must have ended, after that


class Trial:
    """Watches a cluster from its beginning.

    Args:
        app: as it is run again, which is not watched.
        is_own: it is one of the simulation's own.
        checkers: more than those that every cluster has.
    """

    def __init__(self, cluster: SimulatedCluster, app: App[Any, Any], *, is_own: bool, checkers: list[Checker]) -> None:
        self.cluster = cluster
        self.commits, own = all_checkers(cluster.hosts, app)
        if isinstance(cluster, RefoundedCluster):
            self.commits.log, self.commits.machines = list(cluster.beginning.log), list(cluster.beginning.machines)
            self.commits.terms = [entry.term for entry in self.commits.log]  # none of its leaders' is earlier
        self._began = len(self.commits.log)
        cluster.watch_with([*own, *checkers])
        self._app = app
        self._is_own = is_own

    def can_form(self) -> bool:
        """False where too many nodes want to form the cluster and have not done so yet: then they never may."""
        return not self.cluster.weather.extra_candidates or self._is_formed()

    def _is_formed(self) -> bool:
        formed = [host for host in self.cluster.hosts if host.node is not None and host.node.directory.formed]
        return len(formed) == self.cluster.weather.nodes

    def recover(self) -> None:
        """A fresh write and a linearizable read, on one leader, and all nodes level with it."""
        cluster = self.cluster
        longest_s = cluster.weather.election_timeout_ms[1] / 1000
        # Beside elections: who changed its address must be found, and a cluster that is not formed must form.
        deadline_s = cluster.schedule.now_s + TIMEOUTS_TO_RECOVER * longest_s + 2 * GREETING_SECONDS + 1.0
        client = cluster.new_client(f"last{cluster.suffix}")
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

    def finish(self) -> None:
        """Nothing that clients began hangs, every node is level, and every watch has seen everything."""
        cluster = self.cluster
        deadline_s = cluster.schedule.now_s + SECONDS_TO_FINISH
        everyone: list[SimulatedClient | EmbeddedClient] = [*cluster.clients]
        everyone += [client for host in self._members() for client in host.embedded]

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

    def _members(self) -> list[Host]:
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

    def judge(self) -> None:
        """What all callers were told is what the log says, worked out once more."""
        history, weather = self.cluster.history, self.cluster.weather
        refusals_are_proof = not weather.network.duplicates_requests
        judge = Judge(self._app, history)
        judge.run_again(self.commits.log)
        check_calls(judge, history.calls, refusals_are_proof=refusals_are_proof)
        reads = check_order(judge, history)
        for watched in history.watches:
            check_watch(judge, watched)
        if self._is_own and weather.registers:
            self.cluster.counts += check_registers(judge, history, reads, refusals_are_proof=refusals_are_proof)
        elif self._is_own:
            self._check_journal(judge)
        else:
            check_order_elsewhere(self._app, [action for _, action, _ in judge.events], judge.states_of_revisions)
        for checker in self.cluster.checkers:
            checker.ended()
        self.cluster.counts += count_changes(self.commits.machines[max(0, self._began - 1) :])

    def _check_journal(self, judge: Judge) -> None:
        """The same once more, from what clients saw alone."""
        history = self.cluster.history
        # What was begun with a cluster that this one was made of is there, or not: nobody here was told of it.
        appends = [_append(call) for call in history.calls]
        appends += [Append(call.args[0], call.invoked_s, acknowledged=False) for call in history.inherited]
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
