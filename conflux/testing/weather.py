"""Every knob of a simulated run, drawn from its seed: what is not drawn is a case that no run will ever meet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from random import Random
from typing import Any

from conflux import limits
from conflux.node.options import NodeOptions
from conflux.store.turn import Turn
from conflux.testing.disk import DiskKnobs
from conflux.testing.network import NetworkKnobs

# Bounds that a run may make small, so that it meets them: (module, name, values to draw from).
_BOUNDS: tuple[tuple[str, str, tuple[float, ...]], ...] = (
    ("conflux.limits", "TURN_RECORDS_MAX", (1, 2, 5, 512)),
    ("conflux.limits", "TURN_BYTES_MAX", (1, 100, limits.TURN_BYTES_MAX)),
    ("conflux.limits", "TURN_FRAMES_MAX", (1, 3, limits.TURN_FRAMES_MAX)),
    ("conflux.limits", "APPLY_SLICE_SECONDS", (0.0, limits.APPLY_SLICE_SECONDS)),
    ("conflux.limits", "APPEND_BYTES_MAX", (1, 100, limits.APPEND_BYTES_MAX)),
    ("conflux.limits", "INFLIGHT_MESSAGES_MAX", (1, 2, 64)),
    ("conflux.limits", "INFLIGHT_BYTES_MAX", (1, 1000, limits.INFLIGHT_BYTES_MAX)),
    ("conflux.limits", "UNCOMMITTED_ENTRIES_MAX", (1, 4, 256)),
    ("conflux.limits", "UNCOMMITTED_BYTES_MAX", (100, limits.UNCOMMITTED_BYTES_MAX)),
    ("conflux.limits", "TAIL_CACHE_BYTES_MAX", (1, 1000, limits.TAIL_CACHE_BYTES_MAX)),
    ("conflux.limits", "UNANSWERED_MAX", (1, 3, 1024)),
    ("conflux.limits", "HASH_POINT_BYTES_MIN", (1, 500, limits.HASH_POINT_BYTES_MIN)),
    ("conflux.limits", "WATCH_LEASE_SECONDS", (3.0, limits.WATCH_LEASE_SECONDS)),
    ("conflux.limits", "WATCH_EVENTS_PER_FRAME_MAX", (1, 1024)),
    ("conflux.node.readers", "PART_BYTES", (60, 500, 512 * limits.KIB)),
    ("conflux.node.readers", "KEPT_ENCODINGS", (1, 4)),
    ("conflux.node.readers", "KEPT_SECONDS", (0.5, 10.0)),
    ("conflux.node.watchers", "RECENT_EVENTS_MAX", (2, 8192)),
    ("conflux.node.watchers", "HISTORY_BYTES_MAX", (1, 256 * limits.KIB)),
    ("conflux.node.replica", "FOLD_BYTES_MAX", (1, limits.MIB)),
    ("conflux.node.snapshots", "CHUNK_BYTES", (20, 500, 128 * limits.KIB)),
    ("conflux.node.snapshots", "SLICE_SECONDS", (0.0, 0.001)),
    ("conflux.node.installing", "SLICE_SECONDS", (0.0, 0.002)),
    ("conflux.node.installing", "WINDOW_CHUNKS_MAX", (1, 16)),
    ("conflux.node.installing", "PATIENCE_SECONDS", (0.1, 1.0)),
    ("conflux.node.feeding", "HELD_SECONDS_MAX", (0.0, 600.0)),
    ("conflux.node.chores", "REST_TIMES", (0, 4, 100)),
    ("conflux.node.replica", "FULL_DISK_RETRY_SECONDS", (0.05, 0.5)),
)
CLUSTER = "simulated"
SIZES = (1, 2, 3, 3, 3, 3, 3, 4, 4, 5, 5, 5, 5, 6, 6, 7, 7, 8, 9)
FAULT_PAUSE_S_MIN = 0.1  # with less, a small cluster does nothing but start again
FAULTS = (
    "crash",
    "crash the leader",
    "cold start",
    "pause",
    "pause the leader",
    "partition",
    "one-way partition",
    "cut one link",
    "isolate the leader",
    "client cut off",
    "disk full",
    "all disks stall",
    "one disk stalls",
    "transfer leadership",
    "take a snapshot",
    "add a node",
    "remove a node",
    "replace a node",
    "promote a node",
    "triangle",
    "clock jumps",
    "the leader is an hour off",
    "a request is lost in its window",
    "restored from its encoding",
)
OF_CLIMATES = ("a follower is away", "lose a majority", "restore a backup")  # no part of any weather
CHANGES = ("take a snapshot", "add a node", "remove a node", "replace a node", "promote a node")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientKnobs:
    """What clients do. Times are in seconds."""

    clients: int = 3  # over the network
    embedded: int = 0  # programs that embed a node, and die with it
    pause_s: float = 0.02  # mean time between two things that a client does
    burst_max: int = 3  # calls submitted at once
    unfinished_max: int = 8  # calls that a client lets wait at most
    deadline: float = 0.5  # chance of a call to have one
    deadline_s_max: float = 1.0
    reads: float = 0.2  # share of linearizable reads
    local_reads: float = 0.1
    appended: float = 0.05  # share of calls that are content once the leader has them on its disk
    watchers: float = 0.5  # share of clients that watch
    renewals: float = 0.01  # chance, each time, of a client to close and begin anew
    repeats: float = 0.0  # chance of a request to be sent twice


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """A cluster and the world that it lives in."""

    nodes: int = 3
    extra_candidates: int = 0  # more nodes that would like to form the cluster than it has places
    election_timeout_ms: tuple[int, int] = (300, 500)
    heartbeat_interval_ms: int = 50
    settle_s: float = 0.0
    start_spread_s: float = 0.1  # nodes are started within so long
    network: NetworkKnobs = field(default_factory=NetworkKnobs)
    disk: DiskKnobs = field(default_factory=DiskKnobs)
    clients: ClientKnobs = field(default_factory=ClientKnobs)
    bounds: dict[tuple[str, str], Any] = field(default_factory=dict)
    renewals: bool = False  # a machine whose node was removed for good may begin anew, as another node
    quick_operators: bool = False  # they look at who is a member, and ask for what can be done
    snapshot_entries: int = limits.SNAPSHOT_ENTRIES
    snapshot_bytes: int = limits.SNAPSHOT_BYTES
    clock_skew: float = 0.0  # clocks run fast or slow by up to this part
    wall_skew_s: float = 3600.0
    clock_read_cost_s: float = 0.0
    turn_cost_s: float = 0.00005
    addresses_change: float = 0.0  # chance of a restarted node to have another address
    calm_s: float = 0.0  # before the first fault
    fault_pause_s: float = 1.0  # mean time between faults
    fault_s_max: float = 1.0  # how long one lasts at most
    registers: bool = False  # the simulation's own app is registers, not a journal
    faults: dict[str, float] = field(default_factory=dict)  # which, and how often against each other

    @classmethod
    def draw(cls, random: Random, nodes: int | None = None) -> Weather:
        """Draw every knob."""
        harsh = random.random() ** 0.7  # how bad this world is
        heartbeat_ms = random.choice([10, 20, 50, 50, 100])
        shortest_ms = heartbeat_ms * random.choice([2, 3, 4, 6, 10])
        longest_ms = shortest_ms + random.choice([heartbeat_ms, shortest_ms, 2 * shortest_ms])
        longest_s = longest_ms / 1000
        count = nodes or random.choice(SIZES)
        return cls(
            nodes=count,
            # Fewer than would make a second cluster: that one would be lawful.
            extra_candidates=random.randint(0, count - 1) if random.random() < 0.05 and nodes is None else 0,
            election_timeout_ms=(shortest_ms, longest_ms),
            heartbeat_interval_ms=heartbeat_ms,
            settle_s=random.choice([0.0, 0.05, 0.3]),
            start_spread_s=random.choice([0.0, 0.1, 1.0]),
            network=_draw_network(random, harsh, heartbeat_ms / 1000),
            disk=_draw_disk(random, harsh, longest_s),
            clients=_draw_clients(random),
            bounds=_draw_bounds(random, count),
            snapshot_entries=random.choice([5, 50, limits.SNAPSHOT_ENTRIES]),
            snapshot_bytes=random.choice([2000, limits.SNAPSHOT_BYTES]),
            clock_skew=random.choice([0.0, 0.01, 0.2]),
            wall_skew_s=random.choice([0.0, 1.0, 3600.0]),
            clock_read_cost_s=random.choice([0.0, 0.0, 0.00001, 0.0002]),
            turn_cost_s=random.choice([0.00002, 0.0002, 0.001]),
            addresses_change=random.choice([0.0, 0.0, 0.3, 1.0]),
            calm_s=random.choice([0.0, 0.5, 2.0]),
            fault_pause_s=max(FAULT_PAUSE_S_MIN, longest_s * random.choice([0.5, 2, 5, 20]) / max(harsh, 0.1)),
            fault_s_max=longest_s * random.choice([0.5, 2, 5]),
            faults={fault: random.random() for fault in FAULTS if random.random() < 0.6},
            registers=random.random() < 0.2,
        )

    def without(self, faults: Iterable[str]) -> Weather:
        """The same weather, without these kinds of faults."""
        left = {fault: weight for fault, weight in self.faults.items() if fault not in {*faults}}
        return replace(self, faults=left)

    def options(self, label: str, join: str | None = None) -> NodeOptions:
        """A node's options."""
        return NodeOptions(
            cluster=CLUSTER,
            label=label,
            size=self.nodes if join is None else 0,
            join=join,
            snapshot_entries=self.snapshot_entries,
            snapshot_bytes=self.snapshot_bytes,
            election_timeout_ms=self.election_timeout_ms,
            heartbeat_interval_ms=self.heartbeat_interval_ms,
            settle_s=self.settle_s,
        )

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the drawn bounds in place of the usual ones, for as long as the run lasts."""
        before = {(module, name): getattr(import_module(module), name) for module, name in self.bounds}
        defaults = Turn.open_session.__defaults__
        try:
            for (module, name), value in self.bounds.items():
                setattr(import_module(module), name, value)
            # A default argument is as old as its function.
            Turn.open_session.__defaults__ = (limits.SESSION_SECONDS,)
            yield
        finally:
            Turn.open_session.__defaults__ = defaults
            for (module, name), value in before.items():
                setattr(import_module(module), name, value)


def _draw_network(random: Random, harsh: float, heartbeat_s: float) -> NetworkKnobs:
    delay_s_min = random.choice([0.00005, 0.0005, 0.1 * heartbeat_s])
    duplicates = random.random() < 0.1
    return NetworkKnobs(
        delay_s_min=delay_s_min,
        delay_s_max=delay_s_min + random.choice([0.0001, 0.001, 0.1 * heartbeat_s, heartbeat_s]),
        loss=random.choice([0.0, 0.0, 0.005, 0.05, 0.2]) * harsh,
        late=random.choice([0.0, 0.005, 0.05]) * harsh,
        late_s_max=heartbeat_s * random.choice([3, 20, 60]),
        duplication=random.choice([0.0, 0.02, 0.2]),
        duplicates_requests=duplicates,
        reordering=random.random() < 0.2,
        refuses=random.choice([0.0, 0.5, 1.0]),
        survives_restart=random.choice([0.0, 0.5, 1.0]),
    )


def _draw_disk(random: Random, harsh: float, longest_s: float) -> DiskKnobs:
    return DiskKnobs(
        sync_s=random.choice([0.00005, 0.0005, 0.005]),
        slow=random.choice([0.0, 0.0, 0.01, 0.1]) * harsh,
        slow_s_max=longest_s * random.choice([0.1, 0.5, 2.0]),
        crash=random.choice([0.0, 0.001, 0.01]) * harsh,
        failure=random.choice([0.0, 0.0, 0.002]) * harsh,
        kept=random.random(),
    )


def _draw_clients(random: Random) -> ClientKnobs:
    return ClientKnobs(
        clients=random.choice([1, 2, 3, 5, 8]),
        embedded=random.choice([0, 0, 1, 2]),
        pause_s=random.choice([0.002, 0.01, 0.05]),
        burst_max=random.choice([1, 1, 3, 10]),
        unfinished_max=random.choice([1, 4, 20]),
        deadline=random.choice([0.0, 0.5, 1.0]),
        deadline_s_max=random.choice([0.01, 0.1, 1.0]),
        reads=random.choice([0.0, 0.1, 0.4]),
        local_reads=random.choice([0.0, 0.1]),
        appended=random.choice([0.0, 0.1]),
        watchers=random.random(),
        renewals=random.choice([0.0, 0.01]),
        repeats=random.choice([0.0, 0.1]),
    )


def _draw_bounds(random: Random, nodes: int) -> dict[tuple[str, str], Any]:
    """Each bound is mostly as usual: small ones are slow, and hide what lies behind them."""
    small = random.choice([0.0, 0.15, 0.5])
    bounds = {(module, name): random.choice(values) for module, name, values in _BOUNDS if random.random() < small}
    if nodes == 1:
        # It folds its long log again after each crash: entry by entry that would be most of what the run does.
        bounds.pop(("conflux.limits", "APPLY_SLICE_SECONDS"), None)
    if random.random() < 0.3:
        bounds["conflux.limits", "SESSION_SECONDS"] = random.choice([1, 2, 5])
    if random.random() < small:
        # Less than a client may send at once would be refused for ever.
        unanswered = bounds.get(("conflux.limits", "UNANSWERED_MAX"), limits.UNANSWERED_MAX)
        bounds["conflux.limits", "WAITING_REQUESTS_MAX"] = unanswered + random.choice([1, 10])
    return bounds
