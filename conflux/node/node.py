"""`Node`: one member of a cluster, as a loop that its owner turns.

The order of a turn is fixed: messages of peers, ticks, what they caused (persisted, answered), then requests, which
become one entry, then folding and telling. The node has no thread and no clock of its own: the simulator turns it too.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Any

from msgspec import structs

from conflux import limits
from conflux.app import App
from conflux.discovery.interface import Discovery
from conflux.errors import Closed
from conflux.node.backups import Backups
from conflux.node.candidates import Candidates
from conflux.node.changes import MemberChanges
from conflux.node.chores import Chores
from conflux.node.clock import Clock
from conflux.node.desk import Desk
from conflux.node.directory import Directory
from conflux.node.founding import Founding
from conflux.node.gate import Gate
from conflux.node.guard import Guard
from conflux.node.leadership import Leadership
from conflux.node.links import Links
from conflux.node.options import NodeOptions
from conflux.node.origin import FromClient, Origin
from conflux.node.past import Past
from conflux.node.readers import Readers
from conflux.node.replica import Replica
from conflux.node.restoring import restored_machine
from conflux.node.slowness import Slowness
from conflux.node.snapshot_work import SnapshotWork
from conflux.node.snapshots import SnapshotOptions
from conflux.node.status import StateHashes
from conflux.node.ticking import TICK_S, Ticker
from conflux.node.watchers import Watchers
from conflux.raft.core import Raft
from conflux.raft.effects import RoleChanged, SnapshotOffered
from conflux.raft.entry import Entry, Kind
from conflux.storage.archive import Archive
from conflux.store.machine import Machine
from conflux.store.membership import Membership
from conflux.transport.interface import Channel
from conflux.wire.peers import Candidate

IDLE_COMMIT_SECONDS = 0.05  # idle for so long, the commit index is written down alone
IDLE_HASH_SECONDS = 1.0  # and the state is hashed for `status`: not while the other nodes here still start
ANNOUNCE_COMMIT_SECONDS = 0.002  # for so long, the next entry may carry the commit index: a message and a wake saved
READS_LOOK_SECONDS = 0.02  # while a read waits
WAIT_SECONDS_MAX = 1.0


class Node:
    """One node.

    Args:
        directory: says who it is; its storage is this node's from now on.
        data_dir, log_file: only told, in its status.
        archive: keeps what is cut of the log.

    Raises:
        ConfluxError: the app can't run.
    """

    def __init__(
        self,
        options: NodeOptions,
        app: App[Any, Any],
        directory: Directory,
        channel: Channel,
        clock: Clock,
        random: Random,
        *,
        discovery: Discovery,
        data_dir: str | None = None,
        log_file: str | None = None,
        archive: Archive | None = None,
    ) -> None:
        now_s = clock.monotonic_s()
        self.channel = channel
        self.data_dir = data_dir
        self.log_file = log_file
        self.counts: Counter[str] = Counter()
        self.replica: Replica | None = None
        self.snapshots: SnapshotWork | None = None
        self.past: Past | None = None
        self.chores: Chores | None = None
        self.candidates = Candidates()
        self.guard: Guard | None = None
        self.ticker = Ticker(options.heartbeat_interval_ms / 1000, now_s)
        self.state_hashes = StateHashes(app)
        self.on_local_message: Callable[[Any], None] = lambda message: None
        self.on_applied: Callable[[Entry, Machine], None] = lambda entry, machine: None
        self.on_role_changed: Callable[[RoleChanged], None] = lambda change: None
        self.on_truncated: Callable[[int], None] = lambda first: None
        self.on_appended: Callable[[int], None] = lambda last: None
        self.on_installed: Callable[[Machine], None] = lambda machine: None
        self.on_members_changed: Callable[[Membership], None] = lambda membership: None
        self.draw_token: Callable[[], str] = lambda: secrets.token_hex(16)
        self.links = Links(channel, directory.self.founder, discovery, directory.addresses)
        self._options = options
        self._archive = archive
        self._app = app
        self._discovery = discovery
        self._clock = clock
        self._random = random
        self._initial = Machine.initial(app)
        self._idle_since_s = now_s
        self._progress = (0, 0)  # last and committed index when work was last done
        self._commit_owed_from: int | None = None  # the least that a follower was told, of those that could know more
        self._owes_commit_since_s = now_s  # since when that one knows less
        self._is_busy = False  # there is something to do at once, as the last turn ended
        self.desk = Desk(self)
        self.gate = Gate(self)
        self.founding = Founding(
            directory,
            self.links,
            self.counts,
            settle_s=options.settle_s,
            now_s=now_s,
            on_formed=self._become_member,
            on_removed=self._removed,
            committed=lambda: self.machine.membership,
            on_candidate=self._candidate_heard,
            join=options.join,
        )
        if directory.formed:
            self._become_member()

    # -- what can be seen ----------------------------------------------------------------------------------------

    @property
    def directory(self) -> Directory:
        """Who this node is, and how far its cluster has come."""
        return self.founding.directory

    def draw_number(self) -> int:
        """A number from 1 on that an earlier life of this node has hardly used."""
        return 1 + self._random.getrandbits(40)

    def now_s(self) -> float:
        """Now, by the node's monotonic clock."""
        return self._clock.monotonic_s()

    @property
    def is_leading(self) -> bool:
        """True on a leader that takes requests."""
        return self.desk.leadership is not None

    @property
    def machine(self) -> Machine:
        """The committed state, with its revision and sessions."""
        return self.replica.machine if self.replica else self._initial

    @property
    def is_recovering(self) -> bool:
        """True after a start, until the state is as new as this node knew it to be."""
        return self.replica is not None and self.replica.is_recovering

    def provisional_state(self) -> Any:
        """The state after all entries of this node's log, committed or not. On a leader it is at hand."""
        if self.desk.leadership is not None:
            return self.desk.leadership.provisional.state
        if self.replica is None:
            return self._initial.state
        return self.replica.fold_ahead().state

    def problem(self) -> str | None:
        """Why this node doesn't serve, in one line; None where all is well."""
        if self.replica is None:
            return self.waiting_for()
        if self.directory.removed:
            return "this node was removed from the cluster for good: stop it, and delete its directory"
        if self.founding.is_outside:
            label = self.directory.self.label
            return f"no member, as far as it knows: if that lasts, conflux members add {label}"
        if self.replica.refusal is not None:
            return str(self.replica.refusal)
        if self.replica.disk_full is not None:
            return f"disk full: {self.replica.disk_full}"
        if self.replica.raft.leader is None:
            return "no leader"
        return None

    def waiting_for(self) -> str | None:
        """While the cluster forms: who or what is missing."""
        if self.replica is not None:
            return None
        return self.founding.waiting_for()

    def membership(self) -> Membership:
        """The members, as far as they are known."""
        return self.founding.membership()

    def address_of(self, identity: str) -> str | None:
        """Where a member was last heard."""
        return self.channel.address if identity == self.directory.self.identity else self.links.addresses.get(identity)

    # -- the turn ------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """One turn of the loop. The owner then waits for up to `wait_s`, or until something comes in."""
        now_s = self._clock.monotonic_s()
        self.ticker.begin(now_s)
        frames = self.channel.receive_from_peers(limits.TURN_FRAMES_MAX)
        for frame in frames:
            self.gate.take(frame, now_s)
        ticks = self.ticker.take(self._clock.monotonic_s())
        if self.replica is None:
            self.founding.form(now_s)
        else:
            if ticks and self.replica.may_stand:
                self.replica.raft.tick(ticks)
            if frames or ticks:  # else there is nothing that clients would have to wait for
                self._flush()
        for handle, frame in self.channel.receive_from_clients(limits.TURN_FRAMES_MAX):
            self.desk.take_frame(FromClient(handle), frame)
        if self.replica is not None:
            self._serve(now_s)
        self.founding.greet(now_s)

    def wait_s(self) -> float:
        """How long the owner may wait before the next turn if nothing comes in."""
        wait_s = self._wait_s(self._clock.monotonic_s())
        self.ticker.end(wait_s)
        return wait_s

    def close(self) -> None:
        """Give everything back."""
        if self.desk.backups is not None:
            self.desk.backups.close()
        if self.past is not None:
            self.past.close(Closed("the node is closed"))
        if self.snapshots is not None:
            self.snapshots.close()
        self._discovery.close()
        self.channel.close()
        self.directory.storage.close()

    def handle(self, origin: Origin, message: Any) -> None:
        """Take a client's message."""
        self.desk.take(origin, message)

    # -- what the replica tells ----------------------------------------------------------------------------------

    def role_changed(self, change: RoleChanged) -> None:
        """See `replica.Observer`."""
        self.desk.role_changed(change)
        self.on_role_changed(change)

    def folded_already(self, index: int) -> Machine | None:
        """See `replica.Observer`."""
        return self.desk.leadership.folded_already(index) if self.desk.leadership else None

    def applied(self, entry: Entry, machine: Machine) -> None:
        """See `replica.Observer`."""
        if self.guard is not None:
            self.guard.applied(machine)
        if self.desk.leadership is not None:
            self.desk.leadership.committed(entry.index)
        if self.desk.watchers is not None:
            self.desk.watchers.applied(entry, machine.revision)
        if self.snapshots is not None:
            self.snapshots.applied(entry, machine)
        if entry.kind is Kind.MEMBERSHIP:
            self.founding.members_committed(machine.membership.removed)
        self.on_applied(entry, machine)

    def read_ready(self, contexts: tuple[int, ...], index: int) -> None:
        """See `replica.Observer`."""
        if self.desk.readers is not None:
            self.desk.readers.ready(contexts, index)

    def read_failed(self, contexts: tuple[int, ...]) -> None:
        """See `replica.Observer`."""
        if self.desk.readers is not None:
            self.desk.readers.failed(contexts)

    def truncated(self, first: int) -> None:
        """See `replica.Observer`."""
        self.on_truncated(first)

    def appended(self, last: int) -> None:
        """See `replica.Observer`."""
        self.on_appended(last)

    def members_changed(self, membership: Membership) -> None:
        """See `replica.Observer`."""
        self.founding.members_changed(membership)
        self.on_members_changed(membership)

    def snapshot_offered(self, offer: SnapshotOffered) -> None:
        """See `replica.Observer`."""
        self._look_at_chores()
        if self.snapshots is not None:
            self.snapshots.installer.offered(offer)

    def installed(self, machine: Machine) -> None:
        """See `replica.Observer`."""
        self._look_at_chores()
        if self.snapshots is not None:
            self.snapshots.snapshotter.installed(machine)
        if self.guard is not None:
            self.guard.installed(machine)
        self.founding.members_committed(machine.membership.removed)
        if self.desk.watchers is not None:
            self.desk.watchers.installed(machine.index, machine.revision)
        self.on_installed(machine)

    # -- inside: the turn ----------------------------------------------------------------------------------------

    def _wait_s(self, now_s: float) -> float:
        replica, due_s = self.replica, self.links.greets_at_s
        if replica is None:
            settles_s = self.founding.settles_at_s()
            if settles_s is not None and now_s < settles_s < due_s:
                due_s = settles_s
            return min(max(0.0, due_s - now_s), WAIT_SECONDS_MAX)
        if self._is_busy:
            return 0.0
        assert self.chores is not None and self.desk.readers is not None
        due_s = min(due_s, self.chores.due_s)
        if self._commit_owed_from is not None and not replica.is_stuck:
            due_s = min(due_s, self._owes_commit_since_s + ANNOUNCE_COMMIT_SECONDS)
        if replica.may_write_commit_index:
            due_s = min(due_s, self._idle_since_s + IDLE_COMMIT_SECONDS)
        wait_s = min(due_s - now_s, replica.raft.ticks_to_timer() * TICK_S, WAIT_SECONDS_MAX)
        if self.desk.readers.waits:
            wait_s = min(wait_s, READS_LOOK_SECONDS)
        return max(0.0, wait_s)

    def _flush(self) -> None:
        assert self.replica is not None
        self.replica.flush()
        if self.desk.leadership is not None:
            self.desk.leadership.persisted()
        self.replica.apply(limits.APPLY_SLICE_SECONDS)

    def _serve(self, now_s: float) -> None:
        """Judge, fold, answer and tell; what nobody waits for comes behind."""
        replica, desk, chores = self.replica, self.desk, self.chores
        assert replica is not None and desk.readers is not None and desk.watchers is not None and chores is not None
        if desk.leadership is None:
            self._lead_when_ready(replica)
        if not replica.is_stuck:
            if desk.leadership is not None:
                desk.leadership.turn()
                desk.take_what_was_put_off()
            self._announce_commit(replica.raft, now_s)
        self._flush()
        if chores.turn(now_s):
            self._flush()
        desk.readers.turn()
        more = not desk.watchers.is_empty and self._may_tell_watchers(replica) and desk.watchers.turn(now_s)
        self._is_busy = more or self._has_work(replica)
        progress = (replica.raft.log.last_index, replica.raft.commit_index)
        if progress != self._progress:  # heartbeats are no work
            self._progress, self._idle_since_s, chores.log_moved_s = progress, now_s, now_s
        elif self._is_busy:
            self._idle_since_s = now_s
        elif (idle_s := now_s - self._idle_since_s) >= IDLE_COMMIT_SECONDS:
            replica.write_commit_index()
            if idle_s >= IDLE_HASH_SECONDS:
                self.state_hashes.begin(replica.machine)
                if self.state_hashes.has_work:
                    chores.look_soon()

    def _may_tell_watchers(self, replica: Replica) -> bool:
        """False where its state may be wrong, or old: a watcher that hears nothing looks for another node."""
        return replica.refusal is None and not self.directory.removed and not self.founding.is_outside

    def _look_at_chores(self) -> None:
        if self.chores is not None:
            self.chores.look_soon()

    def _announce_commit(self, raft: Raft, now_s: float) -> None:
        """Followers hear what is committed from the next entry, or alone, where one would wait for it too long."""
        owed_from = raft.commit_owed_from
        if owed_from != self._commit_owed_from:
            self._commit_owed_from, self._owes_commit_since_s = owed_from, now_s
        elif owed_from is not None and now_s - self._owes_commit_since_s >= ANNOUNCE_COMMIT_SECONDS:
            raft.announce_commit()
            self._commit_owed_from = raft.commit_owed_from

    def _has_work(self, replica: Replica) -> bool:
        desk, chores = self.desk, self.chores
        return (
            (desk.leadership is not None and desk.leadership.has_work and not replica.is_stuck)
            or replica.is_behind
            or (chores is not None and chores.is_busy)
            or (desk.readers is not None and desk.readers.has_work)
        )

    def _lead_when_ready(self, replica: Replica) -> None:
        """Take requests once this term's no-op is committed and everything is folded."""
        raft = replica.raft
        if not raft.serves or replica.machine.index != raft.log.last_index:
            return
        if replica.refusal is not None:
            return
        changes = MemberChanges(
            raft,
            self.candidates,
            self.desk.reply,
            catch_up_s=self._options.election_timeout_ms[0] / 1000,
            hand_over=self.hand_over,
            draw_token=self.draw_token,
        )
        self.desk.lead(Leadership(replica, self._app, self._clock, self.desk.reply, changes, self._take_more_calls))

    def _take_more_calls(self) -> None:
        """In the middle of a leader's turn: take calls alone, since all else may change what the turn rests on."""
        for handle, frame in self.channel.receive_more_from_clients(limits.TURN_FRAMES_MAX):
            self.desk.take_call(FromClient(handle), frame)

    # -- inside: becoming a member ---------------------------------------------------------------------------------

    def _become_member(self) -> None:
        mine, options, storage = self.directory.self, self._options, self.directory.storage
        assert self.directory.cluster_id is not None
        self.links.cluster_id = self.directory.cluster_id
        founders = self.founding.membership()
        machine = restored_machine(storage, self._app) or structs.replace(self._initial, membership=founders)
        self.replica = Replica(
            identity=mine.identity,
            options=options.raft_options(),
            storage=storage,
            app=self._app,
            machine=machine,
            clock=self._clock,
            random=self._random,
            send=self.links.send_raft,
            observer=self,
            slow_disk_s=options.election_timeout_ms[1] / 1000,
            slowness=Slowness(options.heartbeat_interval_ms / 1000),
        )
        self.guard = Guard(
            self.replica,
            self._app,
            send=self.links.send,
            label_of=self._label_of,
            clock=self._clock.monotonic_s,
            pause_s=options.heartbeat_interval_ms / 1000,
            patience_s=options.election_timeout_ms[1] / 1000,
        )
        self.past = Past(self.replica, storage, self._app, self._clock)
        self.desk.readers = Readers(
            self.replica, self._app, self._clock, self._random, self.desk.reply, self.links.send, self.past
        )
        self.desk.watchers = Watchers(self.replica.raft.log, mine.label, self.desk.reply)
        self.desk.watchers.installed(machine.index, machine.revision)
        self.snapshots = SnapshotWork(
            self.replica,
            storage,
            self._app,
            self._clock,
            SnapshotOptions(entries=options.snapshot_entries, bytes=options.snapshot_bytes),
            self.links.send,
            self._archive,
            self.directory,
        )
        self.desk.backups = Backups(self.replica, self.snapshots.snapshotter, storage, self._clock, self.desk.reply)
        self.chores = Chores(
            self.replica, self.guard, self.state_hashes, self.snapshots, self.past, self.desk.backups, self.now_s
        )
        current = self.replica.raft.configuration
        assert isinstance(current, Membership)
        self.founding.members_changed(current)

    # -- inside: members -----------------------------------------------------------------------------------------

    def hand_over(self) -> bool:
        """Hand leadership to the voter that is most level. False where there's nobody, or a transfer is under way."""
        raft = self.replica.raft if self.replica is not None and not self.replica.is_stuck else None
        target = raft.most_level_voter() if raft is not None else None
        return raft is not None and target is not None and raft.transfer_leadership(target)

    def _removed(self) -> None:
        """Whoever waits here for an answer is to ask elsewhere."""
        if self.desk.readers is not None:
            self.desk.readers.refuse_all("this node was removed from the cluster")

    def _candidate_heard(self, candidate: Candidate) -> None:
        """A node wants to join: the leader decides."""
        is_news = self.candidates.hear(candidate, self.now_s())
        leader = self.replica.raft.leader if self.replica is not None else None
        if is_news and leader is not None and leader != self.directory.self.identity:
            self.links.send(leader, candidate)

    def _label_of(self, identity: str) -> str:
        member = self.membership().find(identity)
        return member.label if member is not None else identity[:8]
