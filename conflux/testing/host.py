"""A machine: a disk that stays, a node that comes and goes, and clocks that nobody should trust."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from msgspec import structs

from conflux.discovery.interface import SeenPeers
from conflux.errors import DiskFull, MalformedValue, StorageFailed
from conflux.node import directory as directories
from conflux.node.node import Node
from conflux.raft.effects import RoleChanged
from conflux.raft.entry import Entry
from conflux.storage.memory import MemoryStorage
from conflux.store.dumps import copied, dumped
from conflux.store.machine import Machine
from conflux.testing.clock import SimulatedClock
from conflux.testing.disk import Platter, SimulatedCrash, SimulatedDisk
from conflux.testing.ends import NodeEnd
from conflux.testing.violation import Violation, require

if TYPE_CHECKING:
    from conflux.testing.cluster import SimulatedCluster
    from conflux.testing.embedded import EmbeddedClient

IDLE_TURNS_MAX = 2000  # with nothing coming in, going to disk, or new to a client: more is a loop that spins


class Host:
    """One machine of a simulated cluster.

    Attributes:
        node: the node that runs here; None while the machine is down.
        opened: how often a node was started here.
        embedded: clients that live and die with the node.
    """

    def __init__(self, cluster: SimulatedCluster, label: str, join: str | None = None) -> None:
        self.label = label
        self._join = join
        self.identity = f"{cluster.random.getrandbits(128):032x}"
        self.platter = Platter()
        self.node: Node | None = None
        self.opened = 0
        self.embedded: list[EmbeddedClient] = []
        self.paused_until_s = 0.0
        self.down_until_s = 0.0
        self.away_until_s = 0.0  # down, paused or cut off until then
        self._cluster = cluster
        self._address = f"{label}:1"
        self._busy_until_s = 0.0
        self._turn_s = 0.0  # when the next turn is planned; a plan for another time is void
        self._idle_turns = 0
        self.clock = SimulatedClock(cluster.schedule)
        self._end: NodeEnd | None = None
        self._disk: SimulatedDisk | None = None
        self._make_directory()

    def _make_directory(self) -> None:
        directories.create(
            self.platter.storage,
            self._cluster.weather.options(self.label, self._join),
            self._cluster.app,
            identity=self.identity,
            public_key=self.label,
            secret_key=self.label,
        )

    def adopt(self, identity: str, storage: MemoryStorage) -> None:
        """Its disk holds a node that was made elsewhere."""
        self.identity, self.platter.storage = identity, storage

    @property
    def address(self) -> str:
        """Where its node is, or was last."""
        return self._address

    def take_over(self, other: Host) -> None:
        """Have the address of another machine, which gets this one's. Neither has a node that runs."""
        self._address, other._address = other._address, self._address
        other._cluster.moved_to(other._address)

    # -- coming and going ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start a node from what is on the disk."""
        cluster, weather = self._cluster, self._cluster.weather
        random = cluster.random
        self.opened += 1
        if self.opened > 1 and random.random() < weather.addresses_change:
            self._address = f"{self.label}:{self.opened}"
            cluster.counts["restarts at another address"] += 1
            cluster.moved_to(self._address)
        skew = 0.0 if cluster.healed else weather.clock_skew
        self.clock = SimulatedClock(
            cluster.schedule,
            rate=1.0 + random.uniform(-skew, skew),
            offset_s=random.uniform(0.0, 1000.0) if self.opened > 1 else 0.0,
            wall_offset_s=random.uniform(-weather.wall_skew_s, weather.wall_skew_s),
            read_cost_s=0.0 if cluster.healed else weather.clock_read_cost_s,
        )
        self._end = cluster.network.open_node(self.label, self._address, self.clock, self.wake)
        self._end.key = cluster.suffix
        self._disk = SimulatedDisk(self.platter, self.clock, random, self._written)
        self.node = Node(
            weather.options(self.label, self._join),
            cluster.app,
            directories.read(self._disk),
            self._end,
            self.clock,
            Random(random.getrandbits(64)),
            discovery=SeenPeers(lambda: list(cluster.network.nodes)),
        )
        self.node.on_applied = self._applied
        self.node.on_role_changed = self._role_changed
        self.node.on_installed = self._installed
        self.node.draw_token = lambda: f"{random.getrandbits(128):032x}"
        cluster.trace.note(self.label, "starts", self.opened, self._address)
        cluster.started(self)
        if self.node.machine.index:
            self._tell_began(self.node.machine)
        self._plan(cluster.schedule.now_s)

    def begin_anew(self) -> None:
        """Its node was removed: another one, with a directory of its own, wants to join from here."""
        self.stop("begins anew")
        self.identity = f"{self._cluster.random.getrandbits(128):032x}"
        self._cluster.trace.names[self.identity] = self.label
        knobs = self.platter.knobs
        self.platter, self._join = Platter(), ""
        self.platter.knobs = knobs
        self._make_directory()
        self.start()

    def stop(self, why: str) -> None:
        """The node is gone, between two turns or in the middle of one."""
        if self.node is None or self._end is None:
            return
        cluster = self._cluster
        cluster.trace.note(self.label, why)
        cluster.counts[why] += 1
        cluster.transfers.goes_down(self)
        self.node = None
        self._turn_s = 0.0
        for client in self.embedded:
            client.die()
        self._end.close()

    # -- turns ---------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something came in: turn as soon as the machine is free."""
        if self.node is not None:
            self._plan(max(self._cluster.schedule.now_s, self._busy_until_s))

    def pause(self, until_s: float) -> None:
        """The process stands still, as after SIGSTOP; what comes in waits."""
        self.paused_until_s = max(self.paused_until_s, until_s)

    def restore_from_encoding(self) -> None:
        """From now on the node goes on from what its own state's encoding says, as if it had come from a snapshot."""
        replica = self.node.replica if self.node is not None else None
        if replica is None:
            return
        machine = replica.machine
        app = self._cluster.app
        try:
            state = copied(app, machine.state)
        except MalformedValue as error:
            raise Violation(f"a state does not come back from its encoding, on {self.label}: {error}") from error
        same = dumped(app, state) == dumped(app, machine.state)
        require(same, "a state comes back from its encoding as it was, on {}: {}", self.label, state)
        replica.machine = structs.replace(machine, state=state)
        self._cluster.counts["states restored"] += 1

    def heal(self) -> None:
        """The machine is well again, and stays so."""
        self.paused_until_s = 0.0
        self.clock.read_cost_s = 0.0
        self.wake()

    def _plan(self, time_s: float) -> None:
        time_s = max(time_s, self.paused_until_s)
        if not self._turn_s or time_s < self._turn_s:
            self._turn_s = time_s
            self._cluster.schedule.at(time_s, self._turn, time_s)

    def _turn(self, planned_s: float) -> None:
        if planned_s != self._turn_s or self.node is None:
            return
        self._turn_s = 0.0
        now_s = self._cluster.schedule.now_s
        if now_s < self.paused_until_s:
            self._plan(self.paused_until_s)
            return
        try:
            wait_s = self._turn_node(self.node)
        except SimulatedCrash:
            self._ended("crashes during a write", now_s)
        except DiskFull:
            raise
        except StorageFailed:
            self._ended("ends: its disk failed", now_s)
        else:
            self._busy_until_s = now_s + self.clock.busy_s
            self.clock.busy_s = 0.0
            has_frames = self._end is not None and self._end.has_frames
            self._plan(self._busy_until_s + (0.0 if has_frames else wait_s / self.clock.rate))

    def _turn_node(self, node: Node) -> float:
        assert self._end is not None and self._disk is not None
        before, told_before = self._end.frames_taken + self._disk.syncs, self._end.news_told
        self.clock.busy_s += self._cluster.weather.turn_cost_s
        for client in self.embedded:
            client.turn()
        node.turn()
        wait_s = node.wait_s()
        for client in self.embedded:
            wait_s = min(wait_s, client.wait_s())
        worked = self._end.frames_taken + self._disk.syncs - before
        self._cluster.worked(self, worked)
        has_told = self._end.news_told > told_before
        self._idle_turns = 0 if worked or has_told or wait_s > 0 else self._idle_turns + 1
        if self._idle_turns:
            require(self._idle_turns < IDLE_TURNS_MAX, "{} turns and turns, and nothing comes in", self.label)
        return wait_s

    def _ended(self, why: str, now_s: float) -> None:
        self.clock.busy_s = 0.0
        self.stop(why)
        self._cluster.restart_later(self)

    # -- what is told --------------------------------------------------------------------------------------------

    def _written(self, term: int, vote: str | None, entries: Any) -> None:
        for tell in self._cluster.tell_written:
            tell(self, term, vote, entries)

    def _applied(self, entry: Entry, machine: Machine) -> None:
        for tell in self._cluster.tell_applied:
            tell(self, entry, machine)

    def _installed(self, machine: Machine) -> None:
        self._cluster.trace.note(self.label, "installs", machine.index, machine.revision)
        self._cluster.counts["snapshots installed"] += 1
        self._cluster.transfers.installed(self, machine.index)
        self._tell_began(machine)

    def _tell_began(self, machine: Machine) -> None:
        for tell in self._cluster.tell_began:
            tell(self, machine)

    def _role_changed(self, change: RoleChanged) -> None:
        self._cluster.trace.note(self.label, "is", change.role.value, change.term, change.leader)
        self._cluster.transfers.leader_changed(self, change.leader)
        for tell in self._cluster.tell_role_changed:
            tell(self, change)
