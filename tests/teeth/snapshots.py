"""Errors of snapshots: what they hold, when the log may go, and what is put in its place."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conflux.node import node
from conflux.node.replica import Replica
from conflux.node.snapshots import Snapshotter
from conflux.raft import snapshots
from conflux.raft.effects import SnapshotOffered
from conflux.raft.log import Log
from conflux.store import image
from conflux.store.records import noop_payload
from conflux.store.session_table import SessionTable
from conflux.testing import Weather
from tests.node import test_snapshots as of_nodes
from tests.raft import test_snapshots as of_cores
from tests.teeth.hunts import Case, Nodes
from tests.teeth.mutant import changed, mutant

FAULTS = {"crash": 3.0, "crash the leader": 1.0, "take a snapshot": 4.0, "isolate the leader": 1.0, "cold start": 0.5}


def many_snapshots(weather: Weather) -> Weather:
    """A snapshot every few entries, in small chunks, and nodes that fall behind."""
    bounds = {
        ("conflux.limits", "HASH_POINT_BYTES_MIN"): 1,
        ("conflux.node.snapshots", "CHUNK_BYTES"): 20,
        ("conflux.node.feeding", "HELD_SECONDS_MAX"): 0.0,
    }
    return replace(weather, faults=FAULTS, bounds={**weather.bounds, **bounds}, snapshot_entries=5, snapshot_bytes=2000)


MANY = Nodes(many_snapshots, label="many snapshots")


@mutant("snapshots", codes="H1", hunt=MANY)
def the_log_is_cut_before_the_snapshot_is_durable(patch: pytest.MonkeyPatch) -> None:
    """The log goes as soon as a snapshot is begun."""
    whole = Snapshotter._begin

    def hasty(self, machine):
        whole(self, machine)
        if self._writer is not None and machine.index > self._replica.raft.log.snapshot_index:
            self._replica.raft.snapshot_taken(machine.index)
            self._replica.cut_log(machine.index, self._replica.raft.log.term_at(machine.index))

    patch.setattr(Snapshotter, "_begin", hasty)


@mutant(
    "snapshots", codes="H2", hunt=Case(of_cores.test_H2_a_stale_snapshot_is_answered_with_what_is_committed), quick=True
)
def a_stale_snapshot_is_fetched(patch: pytest.MonkeyPatch) -> None:
    """A follower takes up an offer of what it has committed."""

    def eager(raft, leader, message):
        if raft.heard_from_leader(leader):
            raft.send_late(SnapshotOffered(leader=leader, index=message.index, term=message.term))

    patch.setattr(snapshots, "on_snapshot_offer", eager)


@mutant("snapshots", codes="H3", hunt=Case(of_cores.test_H3_what_follows_the_snapshot_in_the_log_stays), quick=True)
def an_install_drops_what_follows(patch: pytest.MonkeyPatch) -> None:
    """An install takes the whole log with it, though what follows was acknowledged."""
    whole = snapshots.install

    def greedy(raft, index, term, configuration):
        with pytest.MonkeyPatch.context() as meanwhile:
            meanwhile.setattr(Log, "matches", lambda log, index, term: False)
            whole(raft, index, term, configuration)

    patch.setattr(snapshots, "install", greedy)


@mutant("snapshots", codes="H8", hunt=MANY)
def a_snapshot_without_sessions(patch: pytest.MonkeyPatch) -> None:
    """A snapshot holds the state, and nothing of who asked for what."""
    fields, body = image.encode_fields, image.encode_body
    patch.setattr(image, "encode_fields", lambda machine, app: fields(changed(machine, sessions=SessionTable()), app))
    patch.setattr(image, "encode_body", lambda machine, app: body(changed(machine, sessions=SessionTable()), app))


@mutant(
    "snapshots",
    codes="G9",
    hunt=Case(of_nodes.test_G9_a_snapshot_holds_the_members_of_its_index_and_not_those_in_force),
    quick=True,
)
def a_snapshot_with_members_that_are_not_committed(patch: pytest.MonkeyPatch) -> None:
    """A snapshot holds the members in force when it is written, not those of its index."""
    whole = Snapshotter._begin
    patch.setattr(
        Snapshotter,
        "_begin",
        lambda self, machine: whole(self, changed(machine, membership=self._replica.raft.configuration)),
    )


@mutant("snapshots", codes="H5", hunt=MANY, quick=True)
def a_restart_folds_entries_again(patch: pytest.MonkeyPatch) -> None:
    """A node that starts from a snapshot folds the last entry that this includes once more."""
    whole = node.restored_machine

    def restored(storage, app):
        machine = whole(storage, app)
        base = storage.restored().snapshot_index
        return machine and changed(machine, index=max(base, machine.index - 1))

    patch.setattr(node, "restored_machine", restored)


@mutant(
    "snapshots",
    codes="H5",
    hunt=Case(of_nodes.test_a_leader_whose_log_is_empty_behind_a_snapshot_counts_revisions_on),
    quick=True,
)
def revisions_begin_anew_behind_a_snapshot(patch: pytest.MonkeyPatch) -> None:
    """A leader whose log begins behind a snapshot counts revisions from one."""

    def forgetful(self, last):
        return noop_payload(last, app_version=self._app.version, wall_time_us=self._clock.wall_us())

    patch.setattr(Replica, "_noop_payload", forgetful)
