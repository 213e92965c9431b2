"""All mutants, in the order of the table. To import it is to fill the registry."""

from __future__ import annotations

from tests.teeth import (
    archives,
    clients,
    determinism,
    disks,
    dumps,
    elections,
    formation,
    journals,
    members,
    reads,
    recoveries,
    replication,
    sessions,
    snapshots,
)
from tests.teeth.mutant import REGISTRY, Mutant

ROOMS = (
    elections,
    replication,
    members,
    reads,
    disks,
    journals,
    snapshots,
    sessions,
    clients,
    determinism,
    formation,
    archives,
    recoveries,
    dumps,
)
MUTANTS: tuple[Mutant, ...] = tuple(
    each for room in ROOMS for each in REGISTRY.values() if each.plant.__module__ == room.__name__
)
