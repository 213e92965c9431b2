"""`Raft`: one node's consensus core. Events go in through its doors, effects come out of `take_effects`.

Rule 1: every change of role, term and vote is made by one of the `become_*` methods of this file.
Rule 2: a message from a past or a future term is dealt with in `step`, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import assert_never

from conflux.raft import election, heartbeats, membership, reads, replication, snapshots, transfer
from conflux.raft.configuration import Configuration
from conflux.raft.configurations import Configurations
from conflux.raft.effects import (
    Commit,
    ConfigurationChanged,
    Effect,
    Persist,
    ReadFailed,
    ReadReady,
    RoleChanged,
    RoleName,
    Send,
    SnapshotOffered,
    Truncated,
)
from conflux.raft.entry import Entry, Kind
from conflux.raft.invariant import invariant
from conflux.raft.log import Log
from conflux.raft.messages import (
    Accepted,
    Append,
    Envelope,
    Heartbeat,
    HeartbeatReply,
    Message,
    NodeId,
    Rejected,
    SnapshotOffer,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from conflux.raft.options import Options
from conflux.raft.progress import Progress
from conflux.raft.roles import Candidate, Follower, Leader, PreCandidate, Role
from conflux.raft.sanity import TERM_LEAP_MAX, is_sane

ONE_AT_A_TIME = "a list of effects is carried out to its end before the next event"

NoopPayload = Callable[[bytes | None], bytes]  # payload of the log's last entry (None: empty log) → a no-op's payload
ConfigurationOf = Callable[[bytes], Configuration | None]  # a membership entry's payload → what it puts in force


def _no_membership_entries(payload: bytes) -> None:
    """For cores whose configuration never changes."""


class Raft:
    """The consensus core of one node: no clock, socket, disk or thread. It assumes of no effect that it happened.

    Args:
        identity: this node's.
        configuration: the members as of the newest snapshot's end, or as the cluster was formed.
        changes: (index, configuration) of the log's membership entries behind it, ascending.
        term, vote, commit_index: as they were found on disk.
        log: the log as it was found on disk.
        snapshot: (index, term) of the newest snapshot on disk, which lies in the log or at its beginning.
        random: draws election time-outs; one seed gives one history.
        noop_payload: makes the payload of the entry that begins a term.
        configuration_of: reads a membership entry's payload; None where it is none.
    """

    def __init__(
        self,
        *,
        identity: NodeId,
        configuration: Configuration,
        options: Options,
        log: Log,
        random: Random,
        noop_payload: NoopPayload,
        configuration_of: ConfigurationOf = _no_membership_entries,
        changes: Iterable[tuple[int, Configuration]] = (),
        snapshot: tuple[int, int] | None = None,
        term: int = 0,
        vote: NodeId | None = None,
        commit_index: int = 0,
    ) -> None:
        invariant(commit_index <= log.last_index, "the commit index found on disk is a hint that is never too high")
        self.identity = identity
        self.configuration_of = configuration_of
        self.options = options
        self.log = log
        self.term = term
        self.vote = vote
        self.newest_snapshot = snapshot or (log.snapshot_index, log.snapshot_term)
        invariant(log.matches(*self.newest_snapshot), "the newest snapshot lies in the log or at its beginning")
        self.configurations = Configurations(configuration, self.newest_snapshot[0], changes)
        self.commit_index = max(commit_index, self.newest_snapshot[0])
        self.applied_index = self.newest_snapshot[0]
        self.role: Role = Follower(leader=None)
        self.leader_silence = options.election_ticks_max  # ticks since a leader was heard: no lease at the start
        self.election_elapsed = 0
        self.election_timeout = 0
        self.has_news = True  # something came in since effects were taken: there may be more of them
        self._random = random
        self._noop_payload = noop_payload
        self._hard_state_dirty = False
        self._persisting: Persist | None = None
        self._committed_out = self.applied_index  # highest index handed out in a Commit
        self._early: list[Effect] = []  # may leave before the sync
        self._late: list[Effect] = []  # must not
        self._role_shown: tuple[RoleName, int, NodeId | None] | None = None
        self.draw_election_timeout()

    # -- what can be seen ----------------------------------------------------------------------------------------

    @property
    def leader(self) -> NodeId | None:
        """The leader of this term as far as this node knows."""
        match self.role:
            case Leader():
                return self.identity
            case Follower(leader=leader):
                return leader
            case _:
                return None

    @property
    def configuration(self) -> Configuration:
        """The members that are in force: the newest ones of the log, committed or not."""
        return self.configurations.current

    @property
    def is_voter(self) -> bool:
        return self.identity in self.configurations.current.voters

    @property
    def may_propose(self) -> bool:
        """True where `propose` would take an entry now."""
        role, options = self.role, self.options
        return (
            isinstance(role, Leader)
            and role.transferee is None
            and len(role.uncommitted) < options.uncommitted_entries_max
            and role.uncommitted_bytes < options.uncommitted_bytes_max
        )

    @property
    def serves(self) -> bool:
        """True on a leader that has committed an entry of its term: it then knows all that is committed."""
        return isinstance(self.role, Leader) and self.commit_index >= self.role.noop_index

    @property
    def may_change_membership(self) -> bool:
        """True where `change_membership` would take a change now."""
        return membership.may_change(self)

    @property
    def commit_owed_from(self) -> int | None:
        """On a leader while followers know less of what is committed than they could: the least that one was told.

        None where all were told what they may know. See `announce_commit`.
        """
        return heartbeats.commit_owed_from(self, self.role) if isinstance(self.role, Leader) else None

    def ticks_to_timer(self) -> int:
        """How many ticks from now `tick` has something to do; a shell may sleep that long."""
        if isinstance(self.role, Leader):
            return replication.ticks_to_timer(self, self.role)
        return max(1, self.election_timeout - self.election_elapsed)

    # -- the doors -----------------------------------------------------------------------------------------------

    def step(self, envelope: Envelope) -> None:
        """Take a message from another node. What makes no sense is dropped."""
        self._take_event()
        message = envelope.message
        if envelope.term > self.term + TERM_LEAP_MAX:
            return None
        if envelope.receiver != self.identity or envelope.sender == self.identity or not is_sane(envelope):
            return None
        if isinstance(message, Append) and not membership.is_readable(self, message):
            return None
        if isinstance(message, VoteRequest) and message.pre:
            return election.on_pre_vote_request(self, envelope, message)
        if isinstance(message, VoteReply) and message.pre:
            return election.on_pre_vote_reply(self, envelope, message)
        if envelope.term < self.term:
            return self._answer_the_past(envelope)
        if envelope.term > self.term:
            if isinstance(message, VoteRequest) and not message.transfer and self.hears_a_leader():
                return None  # thesis 4.2.3: a leader that lives is not disturbed, and the term stays
            self.become_follower(envelope.term, leader=None)
        return self._dispatch(envelope, message)

    def tick(self, count: int = 1) -> None:
        """Let `count` ticks pass."""
        self._take_event()
        for _ in range(count):
            self.leader_silence += 1
            if isinstance(self.role, Leader):
                replication.tick_leader(self, self.role)
            else:
                self.election_elapsed += 1
                if self.election_elapsed >= self.election_timeout:
                    election.campaign(self)

    def propose(self, payload: bytes, kind: Kind = Kind.RECORDS) -> tuple[int, int]:
        """Append an entry to the leader's log; `may_propose` must be true.

        Returns:
            (index, term) of the entry, which is fixed from now on.
        """
        self._take_event()
        invariant(self.may_propose, "only a leader with room proposes")
        entry = replication.append_own(self, payload, kind)
        return entry.index, entry.term

    def change_membership(self, payload: bytes) -> tuple[int, int]:
        """Append a membership entry; `may_change_membership` must be true, and one voter at most may come or go.

        Returns:
            (index, term) of the entry, whose configuration is in force from now on.
        """
        self._take_event()
        invariant(self.may_change_membership, "only one change is under way, and none before the term's no-op")
        membership.check_step(self.configuration, membership.read(self, payload))
        entry = replication.append_own(self, payload, Kind.MEMBERSHIP)
        return entry.index, entry.term

    def persisted(self, term: int, index: int) -> None:
        """The last Persist is on disk, synced, with this term and last index."""
        persist = self._persisting
        invariant(persist is not None, "persisted() answers a Persist")
        assert persist is not None
        invariant((term, index) == (persist.term, persist.last_index), "persisted() names the Persist that it answers")
        self._persisting = None
        self.log.stable_index = index
        if isinstance(self.role, Candidate):
            self.has_news = True
            election.count_vote(self, self.identity, granted=True)
        elif isinstance(self.role, Leader) and index > self.commit_index:
            self.has_news = True
            replication.advance_commit(self, self.role)

    def applied(self, index: int) -> None:
        """Entries up to `index` are folded; what only they needed may be forgotten."""
        invariant(self.applied_index <= index <= self.commit_index, "only committed entries are applied, in order")
        self.applied_index = index
        self.log.forget(index)

    def snapshot_taken(self, index: int) -> None:
        """A snapshot of all entries up to `index`, which are applied, is on disk: followers may be offered it."""
        self.has_news = True
        invariant(self.newest_snapshot[0] <= index <= self.applied_index, "a snapshot includes what is applied")
        self.newest_snapshot = (index, self.log.term_at(index))

    def compact(self, index: int) -> None:
        """The log on disk begins behind `index` now, which a snapshot includes."""
        self._take_event()
        invariant(index <= self.newest_snapshot[0], "only what a snapshot includes is dropped")
        self.log.compact(index)
        self.configurations.compact(index)

    def install_snapshot(self, index: int, term: int, configuration: Configuration) -> None:
        """The leader's snapshot is on disk and the base of the log there. It must be ahead of the commit index.

        Args:
            configuration: the one that the snapshot holds.
        """
        self._take_event()
        snapshots.install(self, index, term, configuration)

    def read_index(self, context: int) -> None:
        """Ask for a linearizable read: ReadReady or ReadFailed will name `context`."""
        self.has_news = True
        if isinstance(self.role, Leader):
            self.role.unconfirmed.append(context)
        else:
            self.send_late(ReadFailed((context,)))

    def transfer_leadership(self, target: NodeId) -> bool:
        """Hand leadership to `target` once its log is level (thesis 3.10). False where that can't be begun."""
        self.has_news = True
        return isinstance(self.role, Leader) and transfer.begin(self, self.role, target)

    def most_level_voter(self) -> NodeId | None:
        """On a leader: the voter to hand over to: of those that were heard lately the one whose log is nearest."""
        return transfer.most_level_voter(self, self.role) if isinstance(self.role, Leader) else None

    def step_down(self) -> None:
        """Give up leadership, for reasons the shell knows: its disk is too slow to lead."""
        self.has_news = True
        if isinstance(self.role, Leader):
            self.become_follower(self.term, leader=None)

    def announce_commit(self) -> None:
        """Tell followers of a commit index that no Append has carried yet; to be called once none is about to."""
        self.has_news = True
        if isinstance(self.role, Leader):
            heartbeats.announce_commit(self, self.role)

    def take_effects(self) -> list[Effect]:
        """All that is to be done for what came in since the last call, in order; to be carried out to its end."""
        invariant(self._persisting is None, ONE_AT_A_TIME)
        if not self.has_news:
            return []
        self.has_news = False
        if isinstance(self.role, Leader):
            reads.begin_round(self, self.role)
            replication.replicate(self, self.role)
            membership.resign_when_removed(self)
        effects, self._early = self._early, []
        stable_index = self.log.stable_index  # once the effects are carried out
        if self._hard_state_dirty or stable_index < self.log.last_index:
            self._persisting = self._persist()
            effects.append(self._persisting)
            stable_index = self._persisting.last_index
        effects += self._late
        self._late = []
        committed = min(self.commit_index, stable_index)
        if committed > self._committed_out:
            effects.append(Commit(self._committed_out + 1, committed))
            self._committed_out = committed
        shown = (self.role.name, self.term, self.leader)
        if shown != self._role_shown:
            self._role_shown = shown
            effects.append(RoleChanged(role=self.role.name, term=self.term, leader=self.leader))
        return effects

    # -- transitions ---------------------------------------------------------------------------------------------

    def become_follower(self, term: int, leader: NodeId | None) -> None:
        """Follow `leader`, or wait for one, in `term`."""
        invariant(term >= self.term, "the term never falls")
        if isinstance(self.role, Leader):
            reads.fail_all(self, self.role)
            self.leader_silence = self.options.election_ticks_max  # it heard no leader but itself
        if term > self.term:
            self.term = term
            self.vote = None
            self._hard_state_dirty = True
        if not isinstance(self.role, Follower):
            self.draw_election_timeout()  # a mere later term is no reason to wait longer (figure 2, followers)
        self.role = Follower(leader=leader)

    def become_pre_candidate(self) -> None:
        """Ask whether an election would be won, with the term as it is."""
        invariant(not isinstance(self.role, Leader), "a leader has no need of an election")
        invariant(self.is_voter, "only voters stand for election")
        self.role = PreCandidate()
        self.draw_election_timeout()

    def become_candidate(self) -> None:
        """Stand for election in the next term. The own vote counts once it is on disk."""
        invariant(not isinstance(self.role, Leader), "a leader has no need of an election")
        invariant(self.is_voter, "only voters stand for election")
        self.term += 1
        self.vote = self.identity
        self._hard_state_dirty = True
        self.role = Candidate()
        self.draw_election_timeout()

    def become_leader(self) -> None:
        """Lead this term, and begin it with a no-op (section 8)."""
        invariant(isinstance(self.role, Candidate), "only a candidate becomes leader")
        others = [member for member in self.configuration.members if member != self.identity]
        next_index = self.log.last_index + 1
        self.role = Leader(
            progress={member: Progress(next_index=next_index) for member in others},
            noop_index=next_index,
        )
        replication.append_own(self, self._noop_payload(self.log.last_payload()), Kind.NOOP)
        heartbeats.broadcast(self, self.role)

    # -- helpers of the rooms beside this one ----------------------------------------------------------------------

    def hears_a_leader(self) -> bool:
        """True while a leader is known to live: within the shortest election time-out since it was heard."""
        if isinstance(self.role, Leader):
            return True  # check-quorum ends this where it is an illusion
        return self.leader_silence < self.options.election_ticks_min

    def heard_from_leader(self, leader: NodeId) -> bool:
        """The leader of this term sent a message. False where that can't be: this node leads it."""
        if isinstance(self.role, Leader):
            return False
        if not (isinstance(self.role, Follower) and self.role.leader == leader):
            self.become_follower(self.term, leader)
        self.leader_silence = 0
        self.election_elapsed = 0
        return True

    def grant_vote(self, candidate: NodeId) -> None:
        """Vote for `candidate` in this term."""
        invariant(self.vote in (None, candidate), "one vote a term")
        if self.vote is None:
            self.vote = candidate
            self._hard_state_dirty = True
        self.election_elapsed = 0

    def draw_election_timeout(self) -> None:
        """Wait anew, for another random time (section 5.2)."""
        self.election_elapsed = 0
        self.election_timeout = self._random.randint(self.options.election_ticks_min, self.options.election_ticks_max)

    def append(self, entry: Entry) -> None:
        """Add an entry to the log; a configuration in it is in force at once."""
        self.log.append(entry)
        if entry.kind is Kind.MEMBERSHIP:
            membership.entry_appended(self, entry)

    def truncate_from(self, first: int) -> None:
        """Drop entries that conflict with the leader's."""
        invariant(first > self.commit_index, "a committed entry is never dropped")
        self.log.truncate_from(first)
        self._late.append(Truncated(first))
        if self.configurations.truncate(first):
            membership.configuration_changed(self)

    def commit_to(self, index: int) -> None:
        """Entries up to `index` are committed."""
        invariant(index <= self.log.last_index, "only entries of the log are committed")
        if index > self.commit_index:
            self.commit_index = index

    def jump_to(self, index: int) -> None:
        """A snapshot that ends at `index` took the place of what would have been committed and applied up to there."""
        self.commit_index = self.applied_index = self._committed_out = index

    def send_early(self, receiver: NodeId, message: Message) -> None:
        """Send what promises nothing about this node's disk: a leader's appends and heartbeats."""
        self._early.append(Send(Envelope(self.identity, receiver, self.term, message)))

    def send_late(self, effect: ReadReady | ReadFailed | ConfigurationChanged | SnapshotOffered) -> None:
        """Hand out an effect that stands behind the sync."""
        self._late.append(effect)

    def reply(self, receiver: NodeId, message: Message, *, term: int | None = None) -> None:
        """Send what must not leave before this turn's sync; `term` is another than ours only in pre-votes."""
        self._late.append(Send(Envelope(self.identity, receiver, self.term if term is None else term, message)))

    # -- inside --------------------------------------------------------------------------------------------------

    def _dispatch(self, envelope: Envelope, message: Message) -> None:
        match message:
            case VoteRequest():
                election.on_vote_request(self, envelope.sender, message)
            case VoteReply():
                election.on_vote_reply(self, envelope.sender, message)
            case Append():
                replication.on_append(self, envelope.sender, message)
            case Accepted():
                replication.on_accepted(self, envelope.sender, message)
            case Rejected():
                replication.on_rejected(self, envelope.sender, message)
            case Heartbeat():
                replication.on_heartbeat(self, envelope.sender, message)
            case HeartbeatReply():
                replication.on_heartbeat_reply(self, envelope.sender, message)
            case SnapshotOffer():
                snapshots.on_snapshot_offer(self, envelope.sender, message)
            case TimeoutNow():
                transfer.on_timeout_now(self, envelope.sender)
            case _:
                assert_never(message)

    def _answer_the_past(self, envelope: Envelope) -> None:
        """Tell a leader or candidate of a past term that it is over; drop all other late messages."""
        match envelope.message:
            case Append() | Heartbeat() | SnapshotOffer():
                # Without this a node whose term ran ahead could never be led again: its vote requests are
                # refused while a leader lives, and it refuses that leader's term (etcd's check-quorum note).
                self.reply(envelope.sender, HeartbeatReply(round=0))
            case VoteRequest():
                self.reply(envelope.sender, VoteReply(pre=False, granted=False))
            case _:
                pass

    def _persist(self) -> Persist:
        self._hard_state_dirty = False
        return Persist(
            term=self.term,
            vote=self.vote,
            entries=self.log.unstable(),
            commit_index=self.commit_index,
            last_index=self.log.last_index,
        )

    def _take_event(self) -> None:
        """Something comes in by a door: `take_effects` has something to look for again."""
        invariant(self._persisting is None, ONE_AT_A_TIME)
        self.has_news = True
