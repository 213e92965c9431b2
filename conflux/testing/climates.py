"""Climates: weather in which one thing happens all the time, made out of any weather that was drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from conflux.testing.weather import CHANGES, Weather

LOSS_PAUSE_S = 3.0

Climate = Callable[[Weather, Random], Weather]


def any_weather(drawn: Weather, _random: Random) -> Weather:
    """As it was drawn."""
    return drawn


def members(drawn: Weather, _random: Random) -> Weather:
    """Members that come and go all the time, and snapshots after a few entries."""
    changes = dict.fromkeys(CHANGES, 4.0)
    faults = {fault: 0.2 * weight for fault, weight in drawn.faults.items()} | changes
    pause_s = drawn.election_timeout_ms[1] / 1000 / 10
    return replace(drawn, faults=faults, fault_pause_s=pause_s, snapshot_entries=5, snapshot_bytes=1000, renewals=True)


def churn(drawn: Weather, random: Random) -> Weather:
    """Members change at each moment, and who was away for one has to be given a snapshot.

    Everything is small and quick, so that most of what a run does is this: few members, few calls, logs that are cut
    after a few entries, operators who know what they ask for, and accidents that are rare and soon over.
    """
    heartbeat_ms = random.choice([50, 100, 100])
    return replace(
        drawn,
        nodes=random.choice([1, 2, 2, 3, 3, 3, 4, 5]),
        extra_candidates=0,
        heartbeat_interval_ms=heartbeat_ms,
        election_timeout_ms=(heartbeat_ms * random.choice([2, 3, 6]), heartbeat_ms * random.choice([7, 10])),
        settle_s=0.0,
        start_spread_s=0.0,
        calm_s=0.3,
        clients=replace(
            drawn.clients,
            clients=2,
            embedded=0,
            pause_s=random.choice([0.03, 0.1, 0.3]),
            burst_max=1,
            unfinished_max=2,
            reads=0.1,
            watchers=0.3,
        ),
        network=replace(
            drawn.network,
            delay_s_min=0.00005,
            delay_s_max=0.001,
            loss=min(drawn.network.loss, 0.02),
            late_s_max=heartbeat_ms / 1000,
        ),
        disk=replace(drawn.disk, sync_s=0.00005, slow_s_max=0.02),
        turn_cost_s=0.00002,
        clock_read_cost_s=0.0,
        addresses_change=min(drawn.addresses_change, 0.1),
        bounds=drawn.bounds | _small_snapshots(random),
        faults=_bustle(drawn.faults, random),
        fault_pause_s=0.01,
        fault_s_max=0.7,
        snapshot_entries=3,
        snapshot_bytes=300,
        renewals=True,
        registers=random.random() < 0.5,
        quick_operators=True,
    )


def _bustle(accidents: dict[str, float], random: Random) -> dict[str, float]:
    """Kinds of faults: changes, members that are away for a while, and now and then what the drawn weather has."""
    harsh = random.choice([0.0, 0.0003, 0.001, 0.01])
    # Where members go at once nobody is away for long enough to fall behind; where they stay, some do.
    bustle = random.choice([0.1, 0.5, 1.0, 2.0])
    brief = dict.fromkeys(("crash the leader", "cut one link", "isolate the leader"), 0.002)
    return {
        **{fault: harsh * weight for fault, weight in accidents.items()},
        **brief,
        "add a node": 6.0 * bustle,
        "remove a node": 4.0 * bustle,
        "replace a node": bustle,
        "promote a node": bustle,
        "take a snapshot": 0.5,
        "a follower is away": 1.0,
    }


def _small_snapshots(random: Random) -> dict[tuple[str, str], Any]:
    """Bounds: a snapshot may be taken at each entry, in many chunks; nobody waits for long, or greets too often."""
    return {
        ("conflux.limits", "HASH_POINT_BYTES_MIN"): 1,
        ("conflux.node.snapshots", "CHUNK_BYTES"): random.choice([100, 300, 1000]),
        ("conflux.node.installing", "WINDOW_CHUNKS_MAX"): random.choice([1, 16]),
        ("conflux.node.installing", "PATIENCE_SECONDS"): 0.1,
        ("conflux.node.installing", "AGAIN_SECONDS"): 0.1,
        ("conflux.node.feeding", "HELD_SECONDS_MAX"): random.choice([0.0, 600.0]),
        ("conflux.node.feeding", "FORGOTTEN_SECONDS"): random.choice([0.2, 0.2, 10.0]),
        ("conflux.node.links", "GREETING_SECONDS_FORMING"): 1.0,
        ("conflux.node.links", "GREETING_SECONDS_MISSING"): 1.0,
    }


def recover(drawn: Weather, random: Random) -> Weather:
    """Clusters that lose a majority for good and are recovered, and others that begin with a backup of them."""
    before = members(drawn, random) if random.random() < 0.3 else drawn
    pause_s = min(before.fault_pause_s, 0.5)
    # A few times in a run, whose clusters shall have done something before.
    more = sum(before.faults.values()) * min(0.25, pause_s / LOSS_PAUSE_S)
    return replace(
        before,
        fault_pause_s=pause_s,
        faults=before.faults | {"lose a majority": more, "restore a backup": more / 2},
        snapshot_entries=random.choice([5, 50, 10_000]),
        bounds=before.bounds | {("conflux.limits", "HASH_POINT_BYTES_MIN"): random.choice([1, 500])},
    )


CLIMATES: dict[str, Climate] = {"any": any_weather, "members": members, "churn": churn, "recover": recover}
