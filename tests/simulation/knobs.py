"""Every knob of a simulated run, drawn from its seed: what is not drawn is a case that no run will ever meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from conflux.raft.options import Options

NAMES = "abcdefghi"
# With one tick a round of heartbeats is quicker than its answer: lost Appends must be sent again all the same.
HEARTBEAT_TICKS_MIN = 1


def rate(random: Random, once_in: int) -> float:
    """A chance per tick: often none, else around once in so many ticks."""
    return 0.0 if random.random() < 0.3 else random.uniform(0.2, 2.0) / once_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """A cluster and the world it lives in. Times are in ticks, rates are chances per tick."""

    world: str  # what it is meanest to
    voters: str
    learners: str
    options: Options
    duration: int
    # The network.
    loss: float
    duplication: float
    delay_max: int
    late: float  # chance of a message to come very late
    late_max: int
    in_order: bool  # links are first in, first out
    cut_holds: bool  # a cut link delivers all at once when it is mended, else it loses all
    # The machines.
    turn_messages_max: int  # messages taken in before effects are carried out
    messages_before_ticks: bool
    slow_sync: float  # chance of a sync to take time
    slow_sync_max: int
    crash_at_sync: float  # chance to die between what leaves early and the sync
    crash_at_send: float  # chance to die right after a message has left
    torn_is_synced: float  # chance that a sync under way at a crash reached the disk
    clock_skew: float
    apply_at_once: float
    # Accidents.
    partition: float
    partition_max: int
    crash: float
    crash_max: int
    pick_leader: float  # chance that an accident happens to a leader
    cold_start: float
    pause: float
    pause_max: int
    # The clients.
    propose: float
    propose_burst_max: int
    payload_max: int
    read: float
    transfer: float
    step_down: float

    @classmethod
    def draw(cls, random: Random) -> Knobs:
        count = random.choice([1, 2, 3, 3, 3, 3, 4, 5, 5, 5, 6, 7, 8, 9])
        learners = random.choice([0, 0, 0, 1, 2]) if count < 8 else 0
        harsh = random.random() ** 0.5  # how bad this world is
        knobs = cls(
            world=random.choice(["any", "leaders", "voters", "readers"]),
            voters=NAMES[:count],
            learners=NAMES[count : count + learners],
            options=draw_options(random),
            duration=random.choice([200, 400, 800]),
            loss=random.choice([0, 0.01, 0.1, 0.3]) * harsh,
            duplication=random.choice([0, 0.02, 0.2]),
            delay_max=random.choice([1, 1, 2, 3, 5, 10]),
            late=random.choice([0, 0.02, 0.2]),
            late_max=random.choice([10, 30, 60, 300]),
            in_order=random.random() < 0.3,
            cut_holds=random.random() < 0.3,
            turn_messages_max=random.choice([1, 2, 8, 1000]),
            messages_before_ticks=random.random() < 0.5,
            slow_sync=random.choice([0, 0, 0.05, 0.5]) * harsh,
            slow_sync_max=random.choice([1, 3, 15]),
            crash_at_sync=random.choice([0, 0.002, 0.02]) * harsh,
            crash_at_send=random.choice([0, 0.001, 0.01]) * harsh,
            torn_is_synced=random.random(),
            clock_skew=random.choice([0, 0.1, 0.3]),
            apply_at_once=random.choice([0.2, 1]),
            partition=rate(random, random.choice([15, 40, 100])) * harsh,
            partition_max=random.choice([10, 40, 120]),
            crash=rate(random, random.choice([10, 40, 100])) * harsh,
            crash_max=random.choice([1, 5, 20, 80]),
            pick_leader=random.random(),
            cold_start=rate(random, random.choice([50, 400])) * harsh,
            pause=rate(random, 100) * harsh,
            pause_max=random.choice([10, 50]),
            propose=random.choice([0.02, 0.2, 0.8]),
            propose_burst_max=random.choice([1, 1, 4]),
            payload_max=random.choice([1, 20, 200]),
            read=random.choice([0, 0.05, 0.3, 1]),
            transfer=rate(random, random.choice([20, 100])),
            step_down=rate(random, random.choice([30, 300])),
        )
        return replace(knobs, **MEANNESS[knobs.world](random, knobs))


def draw_options(random: Random) -> Options:
    heartbeat = random.randint(HEARTBEAT_TICKS_MIN, HEARTBEAT_TICKS_MIN + 4)
    shortest = heartbeat * random.randint(2, 3) + random.randint(2, 8)
    return Options(
        election_ticks_min=shortest,
        election_ticks_max=shortest + random.randint(4, shortest * 2),
        heartbeat_ticks=heartbeat,
        append_bytes_max=random.choice([1, 20, 100, 10_000]),
        inflight_messages_max=random.choice([1, 2, 8, 64]),
        inflight_bytes_max=random.choice([1, 100, 10_000]),
        uncommitted_entries_max=random.choice([1, 4, 64]),
        uncommitted_bytes_max=random.choice([100, 10_000]),
        tail_cache_bytes_max=random.choice([1, 100, 10_000]),
    )


def mean_to_leaders(random: Random, knobs: Knobs) -> dict[str, Any]:
    """They die while they hand out an entry, as in figure 8: few entries, one to a message, many lost."""
    count = random.choice([1, 3, 5, 5])
    return {
        "duration": random.choice([400, 800]),
        "voters": NAMES[:count],
        "learners": NAMES[1:3] if count == 1 else "",
        "loss": random.choice([0, 0.1, 0.3, 0.5]),
        "slow_sync": 0,
        "crash_at_sync": random.choice([0, 0.01, 0.05]),
        "crash_at_send": random.choice([0.005, 0.02, 0.05]),
        "pick_leader": random.choice([0, 0.5, 1]),
        "crash": random.choice([0, 0.01, 0.03]),
        "crash_max": random.choice([10, 30, 60]),
        "cold_start": 0,
        "pause": 0,
        "propose": random.choice([0, 0.02, 0.1, 0.5]),
        "step_down": random.choice([0, 0.03, 0.1]),
        "options": replace(
            knobs.options,
            append_bytes_max=random.choice([1, 20]),
            inflight_messages_max=random.choice([1, 8]),
        ),
    }


def mean_to_voters(random: Random, knobs: Knobs) -> dict[str, Any]:
    """They die right after they voted and are back at once, while time-outs are close together."""
    return {
        "voters": NAMES[: random.choice([3, 4, 5])],
        "learners": "",
        "loss": random.choice([0, 0.3]),
        "late": random.choice([0, 0.3]),
        "delay_max": random.choice([1, 3, 6]),
        "crash_at_send": random.choice([0.01, 0.03, 0.1]),
        "crash": 0,
        "crash_max": random.choice([1, 2]),
        "cold_start": 0,
        "partition": 0,
        "step_down": random.choice([0.03, 0.1]),
        "propose": 0.02,
        "options": replace(knobs.options, election_ticks_max=knobs.options.election_ticks_min + 4),
    }


def mean_to_readers(random: Random, knobs: Knobs) -> dict[str, Any]:
    """Leaders are cut off or sleep, and go on believing while others lead and write."""
    return {
        "voters": NAMES[: random.choice([2, 3, 5])],
        "learners": "",
        "loss": 0,
        "late": random.choice([0, 0.1, 0.3]),
        "late_max": random.choice([10, 30]),
        "in_order": False,
        "crash": 0,
        "crash_at_send": 0,
        "crash_at_sync": 0,
        "pick_leader": 1,
        "partition": random.choice([0, 0.03]),
        "partition_max": random.choice([30, 60]),
        "pause": random.choice([0.01, 0.03]),
        "pause_max": random.choice([30, 60]),
        "propose": 0.5,
        "read": random.choice([0.3, 1]),
        "options": replace(knobs.options, election_ticks_max=knobs.options.election_ticks_min + 4),
    }


MEANNESS: dict[str, Callable[[Random, Knobs], dict[str, Any]]] = {
    "any": lambda random, knobs: {},
    "leaders": mean_to_leaders,
    "voters": mean_to_voters,
    "readers": mean_to_readers,
}
