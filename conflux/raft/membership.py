"""Changes of membership, one server at a time: chapter 4 of the thesis, with its correction of 2015.

Two majorities of configurations that differ by one voter always share a voter, so no joint phase is needed. That holds
only between neighbours: a change waits until the one before it is committed, and until this leader has committed an
entry of its own term, for else two leaders could each build on a change that the other doesn't know (raft-dev, 2015).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conflux.raft.configuration import Configuration
from conflux.raft.effects import ConfigurationChanged
from conflux.raft.entry import Entry, Kind
from conflux.raft.invariant import invariant
from conflux.raft.messages import Append
from conflux.raft.progress import Progress
from conflux.raft.roles import Leader

if TYPE_CHECKING:
    from conflux.raft.core import Raft


def may_change(raft: Raft) -> bool:
    """True on a leader that may propose a change now."""
    return raft.may_propose and raft.serves and raft.configurations.newest_index <= raft.commit_index


def read(raft: Raft, payload: bytes) -> Configuration:
    """What a membership entry puts in force."""
    configuration = raft.configuration_of(payload)
    invariant(configuration is not None, "a membership entry of the log can be read")
    assert configuration is not None
    return configuration


def is_readable(raft: Raft, append: Append) -> bool:
    """True where every membership entry of a message can be read: the network must not trip an invariant."""
    return all(
        raft.configuration_of(entry.payload) is not None for entry in append.entries if entry.kind is Kind.MEMBERSHIP
    )


def check_step(before: Configuration, after: Configuration) -> None:
    """Refuse a change of more than one voter, or to none."""
    invariant(len(after.voters) > 0, "a cluster has a voter")
    invariant(not set(after.voters) & set(after.learners), "a member is a voter or a learner")
    invariant(len(set(before.voters) ^ set(after.voters)) <= 1, "voters change one at a time")


def entry_appended(raft: Raft, entry: Entry) -> None:
    """A membership entry is in the log: from now on its configuration is in force."""
    raft.configurations.append(entry.index, read(raft, entry.payload))
    configuration_changed(raft)


def configuration_changed(raft: Raft) -> None:
    """Another configuration is in force: a leader follows it, and the shell is told."""
    if isinstance(raft.role, Leader):
        _follow(raft, raft.role)
    raft.send_late(ConfigurationChanged(raft.configuration))


def resign_when_removed(raft: Raft) -> None:
    """A leader that is no voter any more leads until that is committed, without counting itself (thesis 4.2.2).

    To be called on a leader.
    """
    if raft.is_voter or raft.commit_index < raft.configurations.newest_index:
        return
    raft.announce_commit()  # nobody else could tell the others soon
    raft.become_follower(raft.term, leader=None)


def _follow(raft: Raft, role: Leader) -> None:
    """Have progress for every other member, and for nobody else."""
    others = [member for member in raft.configuration.members if member != raft.identity]
    new = raft.log.last_index + 1
    role.progress = {member: role.progress.get(member) or Progress(next_index=new) for member in others}
