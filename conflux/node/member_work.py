"""`MemberWork`: all that a node does as a member of its cluster, once that is formed or has let it in."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

from conflux import limits
from conflux.app import App
from conflux.errors import Closed
from conflux.node.backups import Backups
from conflux.node.changes import MemberChanges
from conflux.node.chores import Chores
from conflux.node.clock import Clock
from conflux.node.guard import Guard
from conflux.node.leadership import Leadership
from conflux.node.options import NodeOptions
from conflux.node.past import Past
from conflux.node.readers import Readers
from conflux.node.replica import Replica
from conflux.node.slowness import Slowness
from conflux.node.snapshot_work import SnapshotWork
from conflux.node.snapshots import SnapshotOptions
from conflux.node.state_hashes import StateHashes
from conflux.node.ticking import TICK_S
from conflux.node.watchers import Watchers
from conflux.raft.effects import RoleChanged, SnapshotOffered
from conflux.raft.entry import Entry, Kind
from conflux.storage.archive import Archive
from conflux.store.machine import Machine
from conflux.store.membership import Membership

if TYPE_CHECKING:
    from conflux.node.node import Node

IDLE_COMMIT_SECONDS = 0.05  # idle for so long, the commit index is written down alone
IDLE_HASH_SECONDS = 1.0  # and the state is hashed for `status`: not while the other nodes here still start
ANNOUNCE_COMMIT_SECONDS = 0.002  # for so long, the next entry may carry the commit index: a message and a wake saved
READS_LOOK_SECONDS = 0.02  # while a read waits
WAIT_SECONDS_MAX = 1.0


class MemberWork:
    """The replica of a node, and the rooms around it.

    Args:
        node: hears what the replica tells, too.
        archive: keeps what is cut of the log.
        machine: what the newest snapshot holds, or the initial one, with the members that the cluster began with.
    """

    def __init__(
        self,
        node: Node,
        options: NodeOptions,
        app: App[Any, Any],
        clock: Clock,
        random: Random,
        archive: Archive | None,
        machine: Machine,
    ) -> None:
        mine, storage = node.directory.self, node.directory.storage
        reply, send = node.desk.reply, node.links.send
        self._node = node
        self._app = app
        self._clock = clock
        self._catch_up_s, election_s_max = (each / 1000 for each in options.election_timeout_ms)
        heartbeat_s = options.heartbeat_interval_ms / 1000
        self.replica = Replica(
            identity=mine.identity,
            options=options.raft_options(),
            storage=storage,
            app=app,
            machine=machine,
            clock=clock,
            random=random,
            send=node.links.send_raft,
            observer=self,
            slow_disk_s=election_s_max,
            slowness=Slowness(heartbeat_s),
        )
        self.guard = Guard(
            self.replica,
            app,
            send=send,
            label_of=self._label_of,
            clock=clock.monotonic_s,
            pause_s=heartbeat_s,
            patience_s=election_s_max,
        )
        self.past = Past(self.replica, storage, app, clock)
        self.readers = Readers(self.replica, app, clock, random, reply, send, self.past)
        self.watchers = Watchers(self.replica.raft.log, mine.label, reply)
        self.watchers.installed(machine.index, machine.revision)
        self.snapshots = SnapshotWork(
            self.replica,
            storage,
            app,
            clock,
            SnapshotOptions(entries=options.snapshot_entries, bytes=options.snapshot_bytes),
            send,
            archive,
            node.directory,
        )
        self.backups = Backups(self.replica, self.snapshots.snapshotter, storage, clock, reply)
        self.state_hashes = StateHashes(app)
        self.chores = Chores(
            self.replica, self.guard, self.state_hashes, self.snapshots, self.past, self.backups, clock.monotonic_s
        )
        self._idle_since_s = clock.monotonic_s()
        self._progress = (0, 0)  # last and committed index when work was last done
        self._commit_owed_from: int | None = None  # the least that a follower was told, of those that could know more
        self._owes_commit_since_s = 0.0  # since when that one knows less
        self._is_busy = False  # there is something to do at once, as the last turn ended

    @property
    def problem(self) -> str | None:
        """Why it doesn't serve, in one line; None where all is well."""
        replica = self.replica
        if replica.refusal is not None:
            return str(replica.refusal)
        if replica.disk_full is not None:
            return f"disk full: {replica.disk_full}"
        return "no leader" if replica.raft.leader is None else None

    def provisional_state(self) -> Any:
        """The state after all entries of this node's log, committed or not. On a leader it is at hand."""
        leadership = self._node.desk.leadership
        return leadership.provisional.state if leadership is not None else self.replica.fold_ahead().state

    def hand_over(self) -> bool:
        """Hand leadership to the voter that is most level. False where there's nobody, or a transfer is under way."""
        if self.replica.is_stuck:
            return False
        target = self.replica.raft.most_level_voter()
        return target is not None and self.replica.raft.transfer_leadership(target)

    def close(self) -> None:
        """Give everything back."""
        self.backups.close()
        self.past.close(Closed("the node is closed"))
        self.snapshots.close()

    # -- the turn ------------------------------------------------------------------------------------------------

    def hear(self, ticks: int) -> None:
        """The first half of a turn: so many ticks have passed and peers were heard; what comes of it is carried out."""
        if ticks and self.replica.may_stand:
            self.replica.raft.tick(ticks)
        self._flush()

    def serve(self, now_s: float) -> None:
        """The second half: judge, fold, answer and tell; what nobody waits for comes behind."""
        replica, desk = self.replica, self._node.desk
        if desk.leadership is None:
            self._lead_when_ready()
        if not replica.is_stuck:
            if desk.leadership is not None:
                desk.leadership.turn()
                desk.take_what_was_put_off()
            self._announce_commit(now_s)
        self._flush()
        if self.chores.turn(now_s):
            self._flush()
        self.readers.turn()
        more = not self.watchers.is_empty and self._may_tell_watchers and self.watchers.turn(now_s)
        self._is_busy = more or self._has_work
        progress = (replica.raft.log.last_index, replica.raft.commit_index)
        if progress != self._progress:  # heartbeats are no work
            self._progress, self._idle_since_s, self.chores.log_moved_s = progress, now_s, now_s
        elif self._is_busy:
            self._idle_since_s = now_s
        elif (idle_s := now_s - self._idle_since_s) >= IDLE_COMMIT_SECONDS:
            replica.write_commit_index()
            if idle_s >= IDLE_HASH_SECONDS:
                self.state_hashes.begin(replica.machine)
                if self.state_hashes.has_work:
                    self.chores.look_soon()

    def wait_s(self, now_s: float, due_s: float) -> float:
        """How long the next turn may wait if nothing comes in: not until after `due_s`."""
        if self._is_busy:
            return 0.0
        replica = self.replica
        due_s = min(due_s, self.chores.due_s)
        if self._commit_owed_from is not None and not replica.is_stuck:
            due_s = min(due_s, self._owes_commit_since_s + ANNOUNCE_COMMIT_SECONDS)
        if replica.may_write_commit_index:
            due_s = min(due_s, self._idle_since_s + IDLE_COMMIT_SECONDS)
        wait_s = min(due_s - now_s, replica.raft.ticks_to_timer() * TICK_S, WAIT_SECONDS_MAX)
        if self.readers.waits:
            wait_s = min(wait_s, READS_LOOK_SECONDS)
        return max(0.0, wait_s)

    # -- what the replica tells: see `replica.Observer` -------------------------------------------------------------

    def role_changed(self, change: RoleChanged) -> None:
        """Role, term or leader changed."""
        self._node.desk.role_changed(change)
        self._node.on_role_changed(change)

    def folded_already(self, index: int) -> Machine | None:
        """The machine after an entry that this node folded as leader."""
        leadership = self._node.desk.leadership
        return leadership.folded_already(index) if leadership is not None else None

    def applied(self, entry: Entry, machine: Machine) -> None:
        """An entry was folded."""
        node = self._node
        self.guard.applied(machine)
        if node.desk.leadership is not None:
            node.desk.leadership.committed(entry.index)
        self.watchers.applied(entry, machine.revision)
        self.snapshots.applied(entry, machine)
        if entry.kind is Kind.MEMBERSHIP:
            node.founding.members_committed(machine.membership.removed)
        node.on_applied(entry, machine)

    def read_ready(self, contexts: tuple[int, ...], index: int) -> None:
        """Reads may be answered once `index` is folded."""
        self.readers.ready(contexts, index)

    def read_failed(self, contexts: tuple[int, ...]) -> None:
        """Reads were not confirmed."""
        self.readers.failed(contexts)

    def truncated(self, first: int) -> None:
        """The log was cut from an index on."""
        self._node.on_truncated(first)

    def appended(self, last: int) -> None:
        """The log on this disk goes up to an index."""
        self._node.on_appended(last)

    def members_changed(self, membership: Membership) -> None:
        """Other members are in force, committed or not."""
        self._node.founding.members_changed(membership)
        self._node.on_members_changed(membership)

    def snapshot_offered(self, offer: SnapshotOffered) -> None:
        """The leader has a snapshot for this node."""
        self.chores.look_soon()
        self.snapshots.installer.offered(offer)

    def installed(self, machine: Machine) -> None:
        """Another node's snapshot took the place of the log up to its index."""
        self.chores.look_soon()
        self.snapshots.snapshotter.installed(machine)
        self.guard.installed(machine)
        self._node.founding.members_committed(machine.membership.removed)
        self.watchers.installed(machine.index, machine.revision)
        self._node.on_installed(machine)

    # -- inside --------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        self.replica.flush()
        leadership = self._node.desk.leadership
        if leadership is not None:
            leadership.persisted()
        self.replica.apply(limits.APPLY_SLICE_SECONDS)

    @property
    def _may_tell_watchers(self) -> bool:
        """False where its state may be wrong, or old: a watcher that hears nothing looks for another node."""
        node = self._node
        return self.replica.refusal is None and not node.directory.removed and not node.founding.is_outside

    @property
    def _has_work(self) -> bool:
        replica, leadership = self.replica, self._node.desk.leadership
        return (
            (leadership is not None and leadership.has_work and not replica.is_stuck)
            or replica.is_behind
            or self.chores.is_busy
            or self.readers.has_work
        )

    def _announce_commit(self, now_s: float) -> None:
        """Followers hear what is committed from the next entry, or alone, where one would wait for it too long."""
        raft = self.replica.raft
        owed_from = raft.commit_owed_from
        if owed_from != self._commit_owed_from:
            self._commit_owed_from, self._owes_commit_since_s = owed_from, now_s
        elif owed_from is not None and now_s - self._owes_commit_since_s >= ANNOUNCE_COMMIT_SECONDS:
            raft.announce_commit()
            self._commit_owed_from = raft.commit_owed_from

    def _lead_when_ready(self) -> None:
        """Take requests once this term's no-op is committed and everything is folded."""
        node, replica = self._node, self.replica
        raft = replica.raft
        if not raft.serves or replica.machine.index != raft.log.last_index or replica.refusal is not None:
            return
        changes = MemberChanges(
            raft,
            node.candidates,
            node.desk.reply,
            catch_up_s=self._catch_up_s,
            hand_over=self.hand_over,
            draw_token=node.draw_token,
        )
        node.desk.lead(Leadership(replica, self._app, self._clock, node.desk.reply, changes, node.take_more_calls))

    def _label_of(self, identity: str) -> str:
        member = self._node.membership().find(identity)
        return member.label if member is not None else identity[:8]
