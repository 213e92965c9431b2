"""Errors of backups, and of clusters that are made anew out of what is left of one."""

from __future__ import annotations

import os
from dataclasses import replace
from types import SimpleNamespace

import pytest

from conflux.node import directory as directories
from conflux.node import formation, joining, refounding, standing, survivors
from conflux.node.backups import Backups
from conflux.node.desk import Desk
from conflux.node.refounding import NewNode
from conflux.node.survivors import Findings
from conflux.storage import saved
from conflux.store import image
from conflux.testing import Weather
from conflux.wire.clients import BackUp
from tests.node import test_backups, test_survivors
from tests.storage import test_saved
from tests.teeth.hunts import Case, Nodes
from tests.teeth.mutant import changed, mutant


def majorities_are_lost(weather: Weather) -> Weather:
    """Leaders are cut off for long, and clusters are made of what a minority holds."""
    longest_s = weather.election_timeout_ms[1] / 1000
    faults = {"isolate the leader": 3.0, "lose a majority": 1.0, "crash the leader": 0.3}
    weather = replace(weather, nodes=5, faults=faults, fault_pause_s=2 * longest_s, fault_s_max=5 * longest_s)
    return replace(weather, snapshot_entries=10_000)


def with_other_members(weather: Weather) -> Weather:
    """As above, of clusters whose members have changed."""
    weather = majorities_are_lost(weather)
    return replace(weather, faults=weather.faults | {"add a node": 2.0, "remove a node": 2.0}, renewals=True)


def backups_are_made(weather: Weather) -> Weather:
    """Clusters are saved all the time, and others begin with that."""
    bounds = {**weather.bounds, ("conflux.limits", "HASH_POINT_BYTES_MIN"): 1}
    faults = {"isolate the leader": 2.0, "crash the leader": 1.0, "restore a backup": 1.0}
    return replace(weather, faults=faults, bounds=bounds, fault_pause_s=0.3)


LOST = Nodes(majorities_are_lost, label="majorities that are lost")
LOST_AND_CHANGED = Nodes(with_other_members, label="members that come and go, majorities that are lost")
SAVED = Nodes(backups_are_made, label="backups of which clusters are made")
NOTHING_IN_COMMON = Case(
    test_backups.test_clusters_that_are_made_of_the_same_have_nothing_in_common_by_which_nodes_would_meet
)


@mutant(
    "recovery",
    hunt=Case(
        test_survivors.test_the_most_advanced_is_the_one_that_all_others_would_vote_for,
        ({"a": (1, 1, 1), "b": (1, 2)}, "b"),
    ),
    quick=True,
)
def the_longest_log_is_recovered(patch: pytest.MonkeyPatch) -> None:
    """Of what is left the longest log counts as the most advanced, whatever its last term."""

    def findings(*, survivors, problems):
        longest = sorted(survivors, key=lambda each: (each.last_index, each.last_term), reverse=True)
        return Findings(survivors=tuple(longest), problems=problems)

    patch.setattr(survivors, "Findings", findings)


@mutant("recovery", hunt=Case(test_survivors.test_what_is_not_known_to_be_committed_is_said_to_be_kept), quick=True)
def only_what_is_known_to_be_committed_is_recovered(patch: pytest.MonkeyPatch) -> None:
    """The end of a log is left behind: of what its node knew of commits, the last is never on its disk."""

    def findings(*, survivors, problems):
        cut = (changed(each, last_index=max(each.first_index - 1, each.commit_index)) for each in survivors)
        return Findings(survivors=tuple(cut), problems=problems)

    patch.setattr(survivors, "Findings", findings)


@mutant("recovery", hunt=LOST, quick=True)
def all_that_is_left_is_taken_for_committed(patch: pytest.MonkeyPatch) -> None:
    """Acknowledged entries are said to be missing only behind the log that is left, not where others took its place."""
    patch.setattr(Findings, "missing_behind", property(lambda self: None if self.is_complete else self.best.last_index))


@mutant(
    "recovery",
    hunt=Case(test_survivors.test_a_change_of_the_members_that_may_have_been_undone_is_not_counted_on),
    quick=True,
)
def a_change_that_may_be_undone_is_counted_on(patch: pytest.MonkeyPatch) -> None:
    """Who could have gone on alone is worked out from the newest members, though they may never have been in force."""

    def could_decide(self):
        here = {each.identity for each in self.survivors if each.damage is None}
        members = self.best.membership
        return members if members.has_quorum({*members.voters} - here) else None

    patch.setattr(Findings, "could_decide", property(could_decide))


@mutant("recovery", hunt=LOST_AND_CHANGED)
def a_recovered_log_keeps_the_old_members(patch: pytest.MonkeyPatch) -> None:
    """The new nodes wait for a majority of those whom the log names."""

    def write_log(storages, plan, base, entries, members):
        for batch in refounding._batches(entries):
            for storage in storages:
                storage.persist(term=plan.term, vote=None, entries=batch, commit_index=batch[-1].index)

    patch.setattr(refounding, "_write_log", write_log)


@mutant("recovery", hunt=SAVED, quick=True)
def a_restored_snapshot_keeps_the_old_members(patch: pytest.MonkeyPatch) -> None:
    """The new nodes wait for a majority of those who made the snapshot."""
    patch.setattr(image, "with_members", lambda packed, members: packed)


@mutant("recovery", hunt=NOTHING_IN_COMMON, quick=True)
def a_cluster_is_known_by_its_name_alone(patch: pytest.MonkeyPatch) -> None:
    """A cluster that is made anew has the id of the old one, and who wants to join that one may end up in it."""
    whole = directories.cluster_id
    for module in (directories, formation, joining, standing):
        patch.setattr(module, "cluster_id", lambda proposal: whole(changed(proposal, founders=())))


@mutant("recovery", hunt=NOTHING_IN_COMMON, quick=True)
def new_nodes_have_the_identities_of_old_ones(patch: pytest.MonkeyPatch) -> None:
    """A node's identity is worked out from its label, so that one that comes back is a member of the new cluster."""
    whole = NewNode.__init__

    def init(self, label, identity="", *pair):
        whole(self, label, label.encode().hex().rjust(32, "0"), *pair)

    patch.setattr(NewNode, "__init__", init)


@mutant(
    "recovery",
    hunt=Case(test_survivors.test_an_old_cluster_stays_in_its_place_where_no_new_one_can_be_made),
    quick=True,
)
def the_old_cluster_goes_before_the_new_one_is_there(patch: pytest.MonkeyPatch) -> None:
    """The old directories are set aside first, and what goes wrong after that leaves nothing in their place."""
    whole = refounding.refound

    def refound(plan, base, entries=(), *, aside=None, **more):
        if aside is not None and plan.cluster_dir.exists():
            os.rename(plan.cluster_dir, aside)
        return whole(plan, base, entries, aside=aside, **more)

    patch.setattr(refounding, "refound", refound)


@mutant("recovery", hunt=Case(test_backups.test_a_snapshot_that_was_under_way_before_is_not_enough), quick=True)
def a_backup_takes_the_snapshot_that_is_under_way(patch: pytest.MonkeyPatch) -> None:
    """Who asks for a backup is given a snapshot that was begun before."""
    whole = Backups.begin

    def begin(self, origin, ask):
        replica, self._replica = self._replica, SimpleNamespace(machine=SimpleNamespace(index=0))
        try:
            whole(self, origin, ask)
        finally:
            self._replica = replica

    patch.setattr(Backups, "begin", begin)


@mutant("recovery", hunt=SAVED)
def a_backup_is_made_without_asking_the_leader(patch: pytest.MonkeyPatch) -> None:
    """A node that lags behind saves what it has, though more was acknowledged before."""
    whole = Desk._back_up

    def back_up(self, origin, message):
        if isinstance(message, BackUp) and self.backups is not None:
            self.backups.begin(origin, message)
        else:
            whole(self, origin, message)

    patch.setattr(Desk, "_back_up", back_up)


@mutant("recovery", hunt=Case(test_saved.test_what_is_given_up_leaves_nothing), quick=True)
def a_backup_is_not_held_against_its_checksum(patch: pytest.MonkeyPatch) -> None:
    """What came of a snapshot is saved, and taken for the whole of it."""
    patch.setattr(saved, "_checked", lambda snapshot, chunks, what: iter(chunks))
