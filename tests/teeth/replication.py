"""Errors of the log: what is taken, kept, counted and told."""

from __future__ import annotations

import pytest

from conflux.raft import replication
from conflux.raft.configuration import quorum_index
from conflux.raft.core import Raft
from conflux.raft.effects import Persist
from conflux.raft.log import Log
from conflux.raft.messages import Accepted, Heartbeat
from conflux.raft.roles import Leader
from tests.raft import test_failures, test_paper
from tests.raft.harness import append
from tests.teeth.hunts import Case, Cores
from tests.teeth.mutant import changed, mutant

FIGURE_8 = test_paper.test_figure_8_an_entry_that_was_only_counted_is_not_committed_and_may_be_overwritten


@mutant("replication", codes="A4", hunt=Case(FIGURE_8), quick=True)
def commit_by_counting_old_terms(patch: pytest.MonkeyPatch) -> None:
    """An entry of an earlier term is committed once a majority holds it."""

    def counting(raft, role):
        reached = {peer: progress.match_index for peer, progress in role.progress.items()}
        index = quorum_index({**reached, raft.identity: raft.log.stable_index}, raft.configuration)
        raft.commit_to(index)
        while role.uncommitted and role.uncommitted[0][0] <= index:
            role.uncommitted_bytes -= role.uncommitted.popleft()[1]

    patch.setattr(replication, "advance_commit", counting)


@mutant("replication", codes="A10 A11", hunt=Cores("leaders"))
def own_entry_counts_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    """A leader counts itself before the entry is on its disk."""
    whole = Raft.take_effects

    def hasty(raft):
        if isinstance(raft.role, Leader):
            stable, raft.log.stable_index = raft.log.stable_index, raft.log.last_index
            replication.advance_commit(raft, raft.role)
            raft.log.stable_index = stable
        return whole(raft)

    patch.setattr(Raft, "take_effects", hasty)


@mutant("replication", codes="A6", hunt=Cores(), quick=True)
def truncation_on_a_stale_append(patch: pytest.MonkeyPatch) -> None:
    """A late, shorter append cuts the log behind it."""
    whole = replication.on_append

    def eager(raft, leader, append):
        whole(raft, leader, append)
        end = append.prev_index + len(append.entries)
        if raft.commit_index <= end < raft.log.last_index and append.entries:
            raft.log.truncate_from(append.entries[-1].index)  # and put the last one back, so that it is written
            raft.log.append(append.entries[-1])

    patch.setattr(replication, "on_append", eager)


@mutant("replication", codes="A7", hunt=Cores())
def commit_past_the_match(patch: pytest.MonkeyPatch) -> None:
    """A follower commits up to its own last entry, not to what the message has verified."""
    whole = replication.on_append

    def trusting(raft, leader, append):
        whole(raft, leader, append)
        raft.commit_to(min(append.commit_index, raft.log.last_index))

    patch.setattr(replication, "on_append", trusting)


@mutant("replication", codes="A7 D7", hunt=Cores())
def heartbeats_name_the_whole_commit_index(patch: pytest.MonkeyPatch) -> None:
    """A heartbeat commits entries of a follower that nobody has compared."""
    whole = Raft.send_early

    def generous(raft, receiver, message):
        if isinstance(message, Heartbeat):
            message = changed(message, commit_index=raft.commit_index)
        whole(raft, receiver, message)

    patch.setattr(Raft, "send_early", generous)


@mutant("replication", codes="D7", hunt=Cores(), quick=True)
def no_consistency_check(patch: pytest.MonkeyPatch) -> None:
    """A follower does not compare the entry before those that it is sent."""
    patch.setattr(Log, "matches", lambda log, index, term: True)


@mutant("replication", codes="A6", hunt=Cores(), quick=True)
def conflicts_are_kept(patch: pytest.MonkeyPatch) -> None:
    """A follower keeps its entries where the leader's differ."""
    whole = replication._take
    patch.setattr(replication, "_take", lambda raft, e: whole(raft, e) if e.index > raft.log.last_index else None)


@mutant("replication", codes="D8", hunt=Cores())
def only_the_last_conflict_is_cut(patch: pytest.MonkeyPatch) -> None:
    """The log is cut at the last of several conflicting entries."""
    whole, take = replication.on_append, replication._take
    last_conflict = 0

    def on_append(raft, leader, append):
        nonlocal last_conflict
        there = [entry for entry in append.entries if entry.index <= raft.log.last_index]
        conflicts = [entry.index for entry in there if raft.log.term_at(entry.index) != entry.term]
        last_conflict = max(conflicts, default=0)
        whole(raft, leader, append)

    patch.setattr(replication, "on_append", on_append)
    patch.setattr(replication, "_take", lambda raft, e: take(raft, e) if e.index >= last_conflict else None)


@mutant(
    "replication",
    codes="A9",
    hunt=Case(test_failures.test_A9_an_acceptance_of_an_earlier_leadership_does_not_count),
    quick=True,
)
def stale_acceptances_accepted(patch: pytest.MonkeyPatch) -> None:
    """An acceptance of an earlier term counts."""
    whole = Raft._answer_the_past

    def careless(raft, envelope):
        if isinstance(envelope.message, Accepted):
            return raft._dispatch(envelope, envelope.message)
        return whole(raft, envelope)

    patch.setattr(Raft, "_answer_the_past", careless)


@mutant("replication", codes="A2 C21", hunt=Cores())
def replies_before_the_sync(patch: pytest.MonkeyPatch) -> None:
    """Votes and acceptances leave before they are on disk."""
    whole = Raft.take_effects

    def hasty(raft):
        return sorted(whole(raft), key=lambda effect: isinstance(effect, Persist))

    patch.setattr(Raft, "take_effects", hasty)


@mutant("replication", codes="B11", hunt=Cores())
def lost_appends_are_not_sent_again(patch: pytest.MonkeyPatch) -> None:
    """A leader believes that whatever it sent has arrived."""
    whole = replication.on_heartbeat_reply

    def sure(raft, follower, reply):
        if isinstance(raft.role, Leader) and follower in raft.role.progress:
            raft.role.progress[follower].sent_at_round = (0, 0)
        whole(raft, follower, reply)

    patch.setattr(replication, "on_heartbeat_reply", sure)


@mutant("replication", codes="C3", hunt=Cores(), quick=True)
def other_bytes_at_a_sent_index(patch: pytest.MonkeyPatch) -> None:
    """A leader writes other bytes at an index and term than it has sent."""
    whole = Raft._persist

    def otherwise(raft):
        persist = whole(raft)
        if not isinstance(raft.role, Leader):
            return persist
        entries = tuple(changed(entry, payload=entry.payload + b" again") for entry in persist.entries)
        return changed(persist, entries=entries)

    patch.setattr(Raft, "_persist", otherwise)


PROBE_IN_THE_MIDDLE = Case(
    test_failures.test_A6_what_is_already_there_is_not_truncated_by_a_late_or_shorter_append, (append((2, 1)),)
)


@mutant("replication", codes="A6 A7", hunt=PROBE_IN_THE_MIDDLE, quick=True)
def an_acceptance_names_the_end_of_the_log(patch: pytest.MonkeyPatch) -> None:
    """A follower says that its whole log is the leader's, not the part that the message has verified."""
    whole = Raft.reply

    def boasting(raft, receiver, message, *, term=None):
        if isinstance(message, Accepted):
            message = changed(message, match_index=raft.log.last_index)
        whole(raft, receiver, message, term=term)

    patch.setattr(Raft, "reply", boasting)


LEADS_AGAIN = Case(test_failures.test_A9_a_leader_that_leads_again_begins_without_what_it_knew_of_followers)


@mutant("replication", codes="A9", hunt=LEADS_AGAIN, quick=True)
def a_new_leader_trusts_what_it_knew_of_followers(patch: pytest.MonkeyPatch) -> None:
    """What followers held in a leader's earlier term is taken for what they hold now."""
    lead, follow = Raft.become_leader, Raft.become_follower

    def become_follower(raft, term, leader):
        if isinstance(raft.role, Leader):
            raft.known = {peer: progress.match_index for peer, progress in raft.role.progress.items()}
        follow(raft, term, leader)

    def become_leader(raft):
        lead(raft)
        for peer, match_index in getattr(raft, "known", {}).items():
            progress = raft.role.progress[peer]
            progress.match_index = min(match_index, raft.log.last_index - 1)
            progress.next_index = max(progress.next_index, progress.match_index + 1)

    patch.setattr(Raft, "become_follower", become_follower)
    patch.setattr(Raft, "become_leader", become_leader)
