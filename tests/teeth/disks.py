"""Errors of the order in which things reach the disk, and of what is made of a disk that fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conflux.errors import StorageFailed
from conflux.node import replica
from conflux.raft.core import Raft
from conflux.raft.effects import Persist
from conflux.storage.memory import MemoryStorage
from conflux.testing.disk import DiskKnobs, SimulatedDisk
from conflux.testing.network import NetworkKnobs
from conflux.testing.weather import Weather
from tests.storage import test_conformance as of_storage
from tests.teeth.hunts import Case, Nodes
from tests.teeth.mutant import changed, mutant


def deadly(weather: Weather) -> Weather:
    """Machines die in the middle of writes, and what they wrote is there."""
    return replace(weather, disk=DiskKnobs(crash=0.03, kept=1.0), fault_s_max=0.05)


def deadly_and_deaf(weather: Weather) -> Weather:
    """As above, and nodes often hear of a term by its first entries."""
    disk = DiskKnobs(crash=0.1, kept=1.0)
    return replace(
        weather, disk=disk, fault_s_max=0.05, network=NetworkKnobs(loss=0.4), faults={"isolate the leader": 1.0}
    )


def failing(weather: Weather) -> Weather:
    """Writes fail, and nothing of them is there."""
    return replace(weather, disk=DiskKnobs(failure=0.01, kept=0.0), fault_s_max=0.05)


@mutant("disk", codes="C21 A2", hunt=Nodes())
def effects_are_carried_out_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    """A node sends, commits and answers first, and writes last."""
    whole = Raft.take_effects
    patch.setattr(Raft, "take_effects", lambda raft: sorted(whole(raft), key=lambda e: isinstance(e, Persist)))


@mutant("disk", codes="A2 D6", hunt=Nodes(deadly, label="deaths while writing"), quick=True)
def the_disk_forgets_votes(patch: pytest.MonkeyPatch) -> None:
    """A restart finds no vote."""
    whole = SimulatedDisk.restored
    patch.setattr(SimulatedDisk, "restored", lambda self: changed(whole(self), vote=None))


@mutant("disk", codes="A17", hunt=Nodes())
def the_commit_hint_is_too_high(patch: pytest.MonkeyPatch) -> None:
    """What is written down as committed is all that there is."""
    whole = Raft._persist

    def generous(raft):
        persist = whole(raft)
        return changed(persist, commit_index=persist.last_index)

    patch.setattr(Raft, "_persist", generous)


@mutant("disk", codes="C17", hunt=Nodes(deadly_and_deaf, label="deaths while writing, lost messages"))
def entries_and_term_are_written_one_after_the_other(patch: pytest.MonkeyPatch) -> None:
    """Entries go down in a transaction before the one of the term that they belong to."""
    whole = SimulatedDisk.persist

    def persist(self, *, term, vote, entries, commit_index):
        storage = self._platter.storage

        def write_entries():
            del storage._log[storage._position(entries[0].index) :]
            storage._log.extend(entries)

        if entries and term != storage._hard.term:
            self._sync(write_entries)
        whole(self, term=term, vote=vote, entries=entries, commit_index=commit_index)

    patch.setattr(SimulatedDisk, "persist", persist)


@mutant(
    "disk",
    codes="C17 H5",
    hunt=Case(
        of_storage.test_all_that_stands_from_the_first_new_entry_on_is_replaced,
        (150,),
        first=lambda: of_storage.in_memory(Path()),
    ),
    quick=True,
)
def what_was_cut_comes_back(patch: pytest.MonkeyPatch) -> None:
    """A write that should cut the log leaves the old entries behind the new ones."""
    whole = MemoryStorage.persist

    def persist(self, *, term, vote, entries, commit_index):
        old = self._log[self._position(entries[-1].index) + 1 :] if entries else []
        whole(self, term=term, vote=vote, entries=entries, commit_index=commit_index)
        self._log.extend(old)

    patch.setattr(MemoryStorage, "persist", persist)


@mutant("disk", codes="C4", hunt=Nodes())
def a_full_disk_counts_as_written(patch: pytest.MonkeyPatch) -> None:
    """A node whose disk is full goes on as if the write were down."""
    whole = replica.Replica._persist

    def persist(self, effect):
        whole(self, effect)
        self.disk_full = None
        return True

    patch.setattr(replica.Replica, "_persist", persist)


@mutant("disk", codes="C5", hunt=Nodes(failing, label="failing disks"), quick=True)
def a_failed_write_counts_as_written(patch: pytest.MonkeyPatch) -> None:
    """A node goes on after a write that failed."""
    whole = replica.Replica._persist

    def persist(self, effect):
        try:
            return whole(self, effect)
        except StorageFailed:
            return True

    patch.setattr(replica.Replica, "_persist", persist)
