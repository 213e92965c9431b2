"""Errors of membership: who is a member, since when, and who counts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from conflux.node import replica
from conflux.raft import membership, replication
from conflux.raft.configuration import majority
from conflux.raft.configurations import Configurations
from conflux.store.membership import Membership
from conflux.testing import Weather
from tests.node import test_members
from tests.raft import test_membership
from tests.teeth.hunts import Case, Nodes
from tests.teeth.mutant import changed, mutant

FAULTS = {
    "add a node": 3.0,
    "remove a node": 2.0,
    "replace a node": 1.0,
    "promote a node": 1.0,
    "crash the leader": 2.0,
    "isolate the leader": 2.0,
    "crash": 1.0,
}


def members_come_and_go(weather: Weather) -> Weather:
    """Operators change the members all the time, and leaders fall."""
    return replace(weather, faults=FAULTS)


COMING_AND_GOING = Nodes(members_come_and_go, label="members that come and go")


@mutant("members", codes="G8", hunt=Case(test_membership.test_a_change_of_two_voters_at_once_is_refused), quick=True)
def two_voters_at_once(patch: pytest.MonkeyPatch) -> None:
    """One change may add or remove several voters."""
    patch.setattr(membership, "check_step", lambda before, after: None)


@mutant(
    "members", codes="G1", hunt=Case(test_membership.test_G1_no_change_before_the_terms_no_op_is_committed), quick=True
)
def a_change_before_the_no_op(patch: pytest.MonkeyPatch) -> None:
    """A new leader changes the members before it has committed anything of its term."""
    patch.setattr(
        membership,
        "may_change",
        lambda raft: raft.may_propose and raft.configurations.newest_index <= raft.commit_index,
    )


@mutant("members", codes="G2", hunt=Case(test_membership.test_G2_no_second_change_while_one_is_uncommitted), quick=True)
def two_changes_at_once(patch: pytest.MonkeyPatch) -> None:
    """A leader does not wait until the change before is committed."""
    patch.setattr(membership, "may_change", lambda raft: raft.may_propose and raft.serves)


@mutant("members", codes="G3", hunt=Case(test_membership.test_G3_a_cut_log_takes_its_configuration_back), quick=True)
def a_cut_log_keeps_its_configuration(patch: pytest.MonkeyPatch) -> None:
    """Members that a dropped entry put in force stay in force."""

    def truncate(configurations, first):
        index, current = configurations._all[-1]
        configurations._all[-1] = (min(index, first - 1), current)
        return False

    patch.setattr(Configurations, "truncate", truncate)


@mutant("members", codes="G3", hunt=COMING_AND_GOING)
def a_restart_forgets_changes_that_are_not_folded(patch: pytest.MonkeyPatch) -> None:
    """A node starts with the members of its snapshot, whatever the log behind it says."""
    patch.setattr(replica, "_changes", lambda storage, restored, after: [])


@mutant(
    "members",
    codes="G4",
    hunt=Case(test_membership.test_G4_a_leader_that_removes_itself_counts_without_itself),
    quick=True,
)
def a_removed_leader_counts_itself(patch: pytest.MonkeyPatch) -> None:
    """A leader that is no voter any more still counts its own copy."""

    def quorum_index(values, configuration):
        reached = sorted(values.values(), reverse=True)
        return reached[majority(len(configuration.voters)) - 1]

    patch.setattr(replication, "quorum_index", quorum_index)


@mutant("members", codes="G4", hunt=Case(test_membership.test_G4_and_steps_down_once_that_is_committed), quick=True)
def a_removed_leader_stays(patch: pytest.MonkeyPatch) -> None:
    """A leader that was removed leads on."""
    patch.setattr(membership, "resign_when_removed", lambda raft: None)


@mutant("members", codes="G6", hunt=Case(test_membership.test_a_learner_gets_the_log_and_does_not_count), quick=True)
def a_learner_counts(patch: pytest.MonkeyPatch) -> None:
    """An entry is committed by the copies of learners."""

    def quorum_index(values, configuration):
        reached = sorted((values.get(member, 0) for member in configuration.members), reverse=True)
        return reached[majority(len(configuration.voters)) - 1]

    patch.setattr(replication, "quorum_index", quorum_index)


@mutant("members", codes="G7", hunt=Case(test_members.test_G7_a_removed_identity_never_returns), quick=True)
def a_removed_identity_returns(patch: pytest.MonkeyPatch) -> None:
    """Who was removed may be let in again under the same identity."""
    whole = Membership.without
    patch.setattr(Membership, "without", lambda self, identity: changed(whole(self, identity), removed=()))
