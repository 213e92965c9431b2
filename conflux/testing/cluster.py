"""A cluster of real nodes in one thread: machines, network, clients, and the schedule that drives them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from conflux.app import App
from conflux.client.committed import Committed
from conflux.raft.effects import RoleChanged, RoleName
from conflux.testing.checkers import Checker
from conflux.testing.clients import SimulatedClient
from conflux.testing.clock import Schedule
from conflux.testing.disk import DiskKnobs
from conflux.testing.embedded import EmbeddedClient
from conflux.testing.faults import Faults
from conflux.testing.history import Call, History
from conflux.testing.host import Host
from conflux.testing.network import NetworkKnobs, SimulatedNetwork
from conflux.testing.trace import Trace
from conflux.testing.transfers import Transfers
from conflux.testing.weather import Weather
from conflux.testing.workload import DrawCall

PATIENCE = 5  # how much longer than usual clients do nothing where one that would act has too much unfinished
SECONDS_PER_STEP_MAX = 0.01  # simulated: where less happens, a run ends before it has all its steps


class SimulatedCluster:
    """The world of one run. Every choice comes from `random`; one seed is one history.

    Args:
        beside: a cluster in whose world this one is: time and network are the same.

    Attributes:
        suffix: of the names of its machines and clients, which tells clusters of one world apart; also its key.
        refound: asks for another cluster, made out of this one's state in the way that is named.
        steps: messages, requests and disk completions that nodes have handled.
        idle_turns: turns of nodes in which there was none of these, only time that passed.
        counts: how often what happened.
        healed: nothing breaks any more.
    """

    def __init__(
        self,
        app: App[Any, Any],
        draw_call: DrawCall,
        weather: Weather,
        random: Random,
        trace: Trace,
        *,
        suffix: str = "",
        beside: SimulatedCluster | None = None,
    ) -> None:
        self.suffix = suffix
        self.refound: Callable[[str], None] = lambda kind: None
        self.app = app
        self.weather = weather
        self.random = random
        self.trace = trace
        self.steps = 0
        self.idle_turns = 0
        self.counts: Counter[str] = Counter([f"runs of {weather.nodes} node{'s' if weather.nodes > 1 else ''}"])
        self.healed = False
        self.schedule: Schedule = beside.schedule if beside is not None else Schedule()
        trace.now_s = lambda: self.schedule.now_s
        self.history = History(trace.now_s, self._answered)
        self.network: SimulatedNetwork = (
            beside.network if beside is not None else SimulatedNetwork(self.schedule, random, trace.frame)
        )
        self.watch_with([])
        self.hosts = self._make_hosts()
        self.transfers = Transfers(self.hosts, self.counts)
        trace.names.update({host.identity: host.label for host in self.hosts})
        self._draw_call = draw_call
        self._calls_made = 0
        self._set_knobs(weather.network, weather.disk)
        self.clients = [self._new_client(f"c{number}{suffix}") for number in range(1, weather.clients.clients + 1)]
        self.faults = Faults(self)
        for host in self.hosts:
            host.down_until_s = self.schedule.now_s + random.random() * weather.start_spread_s
            self.schedule.at(host.down_until_s, self.start, host)
        self.schedule.at(self.schedule.now_s, self._clients_act)

    def watch_with(self, checkers: Iterable[Checker]) -> None:
        """Let these watch from now on."""
        self.checkers = [*checkers]
        self.tell_turned = self._told("turned")
        self.tell_written = self._told("written")
        self.tell_applied = self._told("applied")
        self.tell_began = self._told("began")
        self.tell_role_changed = [*self._told("role_changed"), self._count_role]
        self.tell_answered = self._told("answered")

    # -- what can be seen ----------------------------------------------------------------------------------------

    @property
    def hosts_up(self) -> list[Host]:
        """Those on which a node runs."""
        return [host for host in self.hosts if host.node is not None]

    @property
    def leaders(self) -> list[Host]:
        """Those that think that they lead and serve."""
        return [host for host in self.hosts_up if host.node is not None and host.node.is_leading]

    def addresses(self) -> list[str]:
        """Where its nodes are, or will be."""
        return sorted(host.address for host in self.hosts_up) or [host.address for host in self.hosts]

    # -- running -------------------------------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        """Let so many steps happen; fewer where nodes are down for most of the time."""
        end, end_s = self.steps + steps, self.schedule.now_s + steps * SECONDS_PER_STEP_MAX
        schedule, run_next = self.schedule, self.schedule.run_next
        while self.steps < end and schedule.now_s < end_s:
            run_next()

    def run_until(self, condition: Callable[[], bool], deadline_s: float) -> bool:
        """Let time pass until `condition` holds. False: it did not in time."""
        while not condition():
            if self.schedule.now_s >= deadline_s:
                return False
            self.schedule.run_next()
        return True

    def heal(self) -> None:
        """From now on nothing breaks: whatever is still wrong must mend itself."""
        self.trace.note("world", "heals")
        self.healed = True
        self._set_knobs(NetworkKnobs(), DiskKnobs())
        self.network.mend_all()
        for host in self.hosts:
            host.platter.full_until_s = host.platter.stalled_until_s = 0.0
            host.heal()
            if host.node is None:
                self.start(host)

    def draw_fresh_call(self) -> tuple[str, list[Any]]:
        """A call that was never made before."""
        self._calls_made += 1
        return self._draw_call(self.random, self._calls_made)

    def new_host(self) -> Host:
        """One more machine, whose node wants to join."""
        host = Host(self, f"n{len(self.hosts) + 1}{self.suffix}", join="")
        host.platter.knobs = self.hosts[0].platter.knobs
        self.hosts.append(host)
        self.trace.names[host.identity] = host.label
        self.start(host)
        self.moved_to(f"{host.label}:1")
        return host

    def new_client(self, name: str, *, watches: bool = False) -> SimulatedClient:
        """One more client, which does nothing by itself."""
        return SimulatedClient(self, name, watches=watches)

    # -- what hosts tell -----------------------------------------------------------------------------------------

    def started(self, host: Host) -> None:
        """A node was started."""
        assert host.node is not None
        wanted = self.hosts.index(host) < self.weather.clients.embedded
        name = f"e{host.label[1:]}.{host.opened}"
        host.embedded = [EmbeddedClient(self, name, host.label, host.node, host.clock)] if wanted else []

    def moved_to(self, address: str) -> None:
        """A node has a new address: someone tells the clients."""
        for client in self.clients:
            client.link.learn([address])

    def worked(self, host: Host, steps: int) -> None:
        """A node had a turn in which it handled so much."""
        self.count_work(steps)
        for tell in self.tell_turned:
            tell(host)

    def count_work(self, steps: int) -> None:
        """A node had a turn, here or in a cluster that was made of this one: a run's length counts all."""
        self.steps += steps
        if not steps:
            self.idle_turns += 1

    def start(self, host: Host) -> None:
        """Start a node on a machine that is down, unless it shall be down for longer."""
        if host.node is None and (self.healed or self.schedule.now_s >= host.down_until_s):
            host.start()

    def restart_later(self, host: Host) -> None:
        """A node ended by itself: someone starts it again."""
        longest_s = 0.01 if self.healed else self.weather.fault_s_max
        host.down_until_s = self.schedule.now_s + self.random.random() * longest_s
        self.schedule.at(host.down_until_s, self.start, host)

    def repeats_request(self) -> bool:
        """True where a client shall send a request twice."""
        chance = self.weather.clients.repeats if self.weather.network.duplicates_requests else 0.0
        return chance > 0 and not self.healed and self.random.random() < chance

    # -- inside --------------------------------------------------------------------------------------------------

    def _make_hosts(self) -> list[Host]:
        count = self.weather.nodes + self.weather.extra_candidates
        return [Host(self, f"n{number}") for number in range(1, count + 1)]

    def _set_knobs(self, network: NetworkKnobs, disk: DiskKnobs) -> None:
        self.network.knobs = network
        for host in self.hosts:
            host.platter.knobs = disk

    def _told(self, event: str) -> list[Callable[..., None]]:
        """The checkers that want to know of an event."""
        return [
            getattr(checker, event)
            for checker in self.checkers
            if getattr(type(checker), event) is not getattr(Checker, event)
        ]

    def _answered(self, call: Call) -> None:
        kind, result = type(call.result).__name__, call.result
        revision = result.revision if isinstance(result, Committed) else None
        shown = (call.number, call.method, call.args[:1], result)
        self.trace.note(call.client, "is told", call.number, kind, revision, shown=shown)
        self.counts[f"calls: {kind}"] += 1
        for tell in self.tell_answered:
            tell(call)

    def _count_role(self, host: Host, change: RoleChanged) -> None:
        if change.role is RoleName.LEADER:
            self.counts["elections won"] += 1

    # -- what clients do -----------------------------------------------------------------------------------------

    def _new_client(self, name: str) -> SimulatedClient:
        return SimulatedClient(self, name, watches=self.random.random() < self.weather.clients.watchers)

    def _clients_act(self, _argument: Any = None) -> None:
        """One client does one thing; then a while passes."""
        if self.healed:
            return
        random, knobs = self.random, self.weather.clients
        everyone: list[SimulatedClient | EmbeddedClient] = [*self.clients]
        if knobs.embedded:
            everyone += [client for host in self.hosts_up for client in host.embedded]
        client = random.choice(everyone)
        patience = PATIENCE
        if client.unfinished < knobs.unfinished_max:
            self._act(client)
            patience = 1
        pause_s = patience * random.expovariate(len(everyone) / knobs.pause_s)
        self.schedule.at(self.schedule.now_s + pause_s, self._clients_act)

    def _act(self, client: SimulatedClient | EmbeddedClient) -> None:
        random, knobs = self.random, self.weather.clients
        kind = random.random()
        if isinstance(client, SimulatedClient) and random.random() < knobs.renewals:
            self.counts["clients that began anew"] += 1
            client.begin_anew()
        elif kind < knobs.reads:
            client.read(linearizable=True)
        elif kind < knobs.reads + knobs.local_reads:
            client.read(linearizable=False)
        else:
            for _ in range(random.randint(1, knobs.burst_max)):
                self._perform(client)
        if isinstance(client, SimulatedClient):
            client.wake()

    def _perform(self, client: SimulatedClient | EmbeddedClient) -> None:
        random, knobs = self.random, self.weather.clients
        method, args = self.draw_fresh_call()
        deadline_s = random.random() * knobs.deadline_s_max if random.random() < knobs.deadline else None
        client.perform(method, args, deadline_s, appended=random.random() < knobs.appended)
