"""What must be true of a core after every event. Named functions: the simulator runs them all after each step."""

from __future__ import annotations

from collections.abc import Callable

from conflux.raft.core import Raft
from conflux.raft.invariant import invariant
from conflux.raft.roles import Candidate, Leader


def indices_are_in_order(raft: Raft) -> None:
    invariant(raft.log.snapshot_index <= raft.applied_index, "applied is never behind the snapshot")
    invariant(raft.applied_index <= raft.commit_index, "only committed entries are applied")
    invariant(raft.commit_index <= raft.log.last_index, "only entries of the log are committed")
    invariant(raft.log.stable_index <= raft.log.last_index, "only entries of the log are on disk")


def term_covers_the_log(raft: Raft) -> None:
    invariant(raft.log.last_term <= raft.term, "no entry is of a later term than the node")


def terms_rise_along_the_log(raft: Raft) -> None:
    rising = raft.log.terms_rise
    invariant(rising, "terms and their first indices rise along the log")


def configuration_is_the_logs(raft: Raft) -> None:
    newest = raft.configurations.newest_index
    invariant(newest <= raft.log.last_index, "the configuration in force stands in the log or before it")
    invariant(not set(raft.configuration.voters) & set(raft.configuration.learners), "a voter is no learner")


def snapshot_lies_in_the_log(raft: Raft) -> None:
    invariant(raft.newest_snapshot[0] <= raft.applied_index, "a snapshot includes only what is applied")
    invariant(raft.log.matches(*raft.newest_snapshot), "the newest snapshot ends in the log or at its beginning")


def candidate_voted_for_itself(raft: Raft) -> None:
    if isinstance(raft.role, Candidate | Leader):
        invariant(raft.vote == raft.identity, "candidates and leaders voted for themselves")


def leader_knows_its_followers(raft: Raft) -> None:
    if not isinstance(raft.role, Leader):
        return
    others = {member for member in raft.configuration.members if member != raft.identity}
    invariant(set(raft.role.progress) == others, "a leader has progress for every other member")
    for progress in raft.role.progress.values():
        invariant(progress.match_index < progress.next_index, "what matches is not sent again")
        invariant(progress.match_index <= raft.log.last_index, "a follower matches only what the leader has")
        invariant(progress.next_index <= raft.log.last_index + 1, "the next entry is in the log or comes next")
        invariant(progress.inflight_bytes >= 0, "bytes in flight are never negative")


def leader_began_its_term_with_a_noop(raft: Raft) -> None:
    if isinstance(raft.role, Leader) and raft.role.noop_index > raft.log.snapshot_index:
        invariant(raft.log.term_at(raft.role.noop_index) == raft.term, "the no-op is of the leader's term")


INVARIANTS: tuple[Callable[[Raft], None], ...] = (
    indices_are_in_order,
    term_covers_the_log,
    terms_rise_along_the_log,
    configuration_is_the_logs,
    snapshot_lies_in_the_log,
    candidate_voted_for_itself,
    leader_knows_its_followers,
    leader_began_its_term_with_a_noop,
)


def check(raft: Raft) -> None:
    """Run every invariant."""
    for rule in INVARIANTS:
        rule(raft)
