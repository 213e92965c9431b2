"""`Replica`: one member's core, disk and folded state. It carries out the core's effects and folds what is committed.

Rule: a list of effects is carried out in order and to its end. A full disk is the one thing that stops in the middle:
the same bytes are tried again, and nothing else is asked of the core until they are down.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any, Protocol, assert_never

from conflux import limits
from conflux.app import App
from conflux.errors import ConfluxError, Damaged, DiskFull
from conflux.node.clock import Clock
from conflux.node.slowness import Slowness
from conflux.raft.core import Raft
from conflux.raft.effects import (
    Commit,
    ConfigurationChanged,
    Effect,
    Persist,
    ReadFailed,
    ReadReady,
    RoleChanged,
    Send,
    SnapshotOffered,
    Truncated,
)
from conflux.raft.entry import Entry
from conflux.raft.log import Log
from conflux.raft.messages import Envelope
from conflux.raft.options import Options
from conflux.storage.interface import Restored, Storage
from conflux.store.machine import Machine, fold
from conflux.store.membership import Membership
from conflux.store.records import membership_of, noop_payload
from conflux.wire.peers import HashedPoint

FULL_DISK_RETRY_SECONDS = 0.5
ABSENT_SHARE = 0.75  # of the shortest election time-out: it has passed when a node begins
FOLD_BYTES_MAX = 1 * limits.MIB


class Observer(Protocol):
    """What a replica tells its node."""

    def role_changed(self, change: RoleChanged) -> None: ...

    def folded_already(self, index: int) -> Machine | None:
        """The machine after the entry at `index` where this node made the entry and folded it as leader."""
        ...

    def applied(self, entry: Entry, machine: Machine) -> None:
        """An entry was folded. Called once for each, in order."""
        ...

    def read_ready(self, contexts: tuple[int, ...], index: int) -> None: ...

    def read_failed(self, contexts: tuple[int, ...]) -> None: ...

    def truncated(self, first: int) -> None: ...

    def appended(self, last: int) -> None:
        """The log on this disk goes up to `last` now."""
        ...

    def members_changed(self, membership: Membership) -> None:
        """Other members are in force, committed or not."""
        ...

    def snapshot_offered(self, offer: SnapshotOffered) -> None: ...

    def installed(self, machine: Machine) -> None:
        """Another node's snapshot took the place of the log up to its index."""
        ...


class Replica:
    """One member. See `Observer` for what it tells.

    Args:
        machine: what the newest snapshot holds, or the initial one, with the members that the cluster began with.
        slowness: told of what the user's code takes.
    """

    def __init__(
        self,
        *,
        identity: str,
        options: Options,
        storage: Storage,
        app: App[Any, Any],
        machine: Machine,
        clock: Clock,
        random: Random,
        send: Callable[[Envelope], None],
        observer: Observer,
        slow_disk_s: float,
        slowness: Slowness,
    ) -> None:
        self.machine = machine
        self.slowness = slowness
        self._app = app
        self._clock = clock
        restored = storage.restored()
        log = Log(
            storage,
            snapshot_index=restored.snapshot_index,
            snapshot_term=restored.snapshot_term,
            last_index=restored.last_index,
            term_starts=restored.term_starts,
            cache_bytes_max=options.tail_cache_bytes_max,
        )
        self.raft = Raft(
            identity=identity,
            configuration=machine.membership,
            configuration_of=membership_of,
            changes=_changes(storage, restored, machine.index),
            options=options,
            log=log,
            snapshot=(machine.index, machine.term),
            random=random,
            noop_payload=self._noop_payload,
            term=restored.term,
            vote=restored.vote,
            commit_index=restored.commit_index,
        )
        self.recovered_index = restored.commit_index  # known to be committed: nobody is served a state before it
        self.failure: ConfluxError | None = None  # why this node folds no further: its state isn't the cluster's
        self.doubt: ConfluxError | None = None  # why it does not serve for now: nobody knows whose state is right
        self.agreed: HashedPoint | None = None  # the newest hash point at which a majority has this node's hash
        self.disk_full: DiskFull | None = None
        self.longest_persist_s = 0.0
        self.syncs = 0
        self._storage = storage
        self._send = send
        self._observer = observer
        self._slow_disk_s = slow_disk_s  # a leader that syncs for longer leads no more
        self._disk_is_slow = False
        self._effects: deque[Effect] = deque()
        self._retry_s = 0.0
        self._commit_target = machine.index
        self._read_ahead: deque[Entry] = deque()
        self.commit_on_disk = restored.commit_index
        self._count_absence()

    @property
    def is_stuck(self) -> bool:
        """True while a write waits for space on the disk: the core can't be asked anything."""
        return self.disk_full is not None

    @property
    def refusal(self) -> ConfluxError | None:
        """Why this node's state is shown to nobody."""
        return self.failure or self.doubt

    @property
    def is_recovering(self) -> bool:
        """True after a start, until what this node knew to be committed is folded again."""
        return self.failure is None and self.machine.index < self.recovered_index

    @property
    def may_write_commit_index(self) -> bool:
        """True where the disk knows less than this node of what is committed, and is ready to be told."""
        log = self.raft.log
        return not self.is_stuck and self.commit_on_disk < self.raft.commit_index and log.stable_index == log.last_index

    @property
    def may_stand(self) -> bool:
        """False where this node must not lead: it can't write, or its state isn't the cluster's. It still votes."""
        return not self.is_stuck and self.failure is None

    @property
    def is_behind(self) -> bool:
        """True while committed entries wait to be folded."""
        return self.machine.index < self._commit_target and self.failure is None

    def flush(self) -> None:
        """Carry out all effects, those that come of carrying them out too."""
        if self.disk_full is not None and not self._try_again():
            return
        while self.raft.has_news:
            self._effects.extend(self.raft.take_effects())
            if not self._carry_out():
                return

    def apply(self, seconds_max: float) -> None:
        """Fold committed entries for at most `seconds_max`; what is left waits for the next turn."""
        if not self.is_behind:
            return
        now_s = self._clock.monotonic_s()
        deadline_s = now_s + seconds_max
        while True:
            entry = self._next_entry()
            machine = self._observer.folded_already(entry.index) or self._fold(entry)
            if machine is None:
                return
            self.machine = machine
            self.raft.applied(entry.index)
            self._observer.applied(entry, machine)
            began_s, now_s = now_s, self._clock.monotonic_s()
            if now_s - began_s > self.slowness.bearable_s:
                self.slowness.note("the reducer, on one entry,", now_s - began_s)
            if now_s >= deadline_s or not self.is_behind:
                return

    def fail(self, error: ConfluxError, successor: str | None = None) -> None:
        """This node's state isn't the cluster's: it folds, serves and leads no more, and hands over if it can."""
        self.failure = error
        if successor is not None:
            self.raft.transfer_leadership(successor)
        self.raft.step_down()

    def fold_ahead(self) -> Machine:
        """The machine after the whole log, as if all of it were committed. Leaves everything as it is."""
        machine, log = self.machine, self.raft.log
        while machine.index < log.last_index:
            for entry in log.entries(machine.index + 1, log.last_index, FOLD_BYTES_MAX):
                machine = fold(machine, entry, self._app)
        return machine

    def cut_log(self, index: int, term: int) -> None:
        """Let the log begin behind `index`, which a snapshot on disk includes.

        Raises:
            DiskFull: not now; everything is as it was.
        """
        self._storage.install_base(index, term, keep_log=True)
        self.raft.compact(index)

    def install(self, machine: Machine, term: int) -> None:
        """Put a snapshot that is on disk in the place of the log up to it.

        Raises:
            DiskFull: not now; everything is as it was.
        """
        index = machine.index
        self._storage.install_base(index, term, keep_log=self.raft.log.matches(index, term))
        self.machine = machine
        self._read_ahead.clear()
        self._commit_target = index
        self.commit_on_disk = max(self.commit_on_disk, index)
        self.raft.install_snapshot(index, term, machine.membership)
        self._observer.installed(machine)

    def write_commit_index(self) -> None:
        """Write the commit index down alone: the node is idle, and a restart shall know how far it was."""
        if not self.may_write_commit_index:
            return
        raft = self.raft
        try:
            self._storage.persist(term=raft.term, vote=raft.vote, entries=(), commit_index=raft.commit_index)
        except DiskFull:
            pass  # it is a hint: the next transaction that has room takes it along
        self.commit_on_disk = raft.commit_index

    def _carry_out(self) -> bool:
        """Carry out what waits, in order. False where the disk was full in the middle."""
        effects = self._effects
        while effects:
            effect = effects[0]
            if not isinstance(effect, Persist):
                effects.popleft()
                self._do(effect)
                continue
            if not self._persist(effect):
                return False
            effects.popleft()
            self.raft.persisted(effect.term, effect.last_index)
            if effect.entries:
                self._observer.appended(effect.last_index)
            if self._disk_is_slow:
                self._disk_is_slow = False
                self.raft.step_down()
        return True

    def _do(
        self,
        effect: Send
        | Commit
        | Truncated
        | RoleChanged
        | ReadReady
        | ReadFailed
        | ConfigurationChanged
        | SnapshotOffered,
    ) -> None:
        match effect:
            case Send():
                self._send(effect.envelope)
            case Commit():
                self._commit_target = effect.last
            case RoleChanged():
                self._observer.role_changed(effect)
                if self.failure is not None:
                    self.raft.step_down()  # it may be asked to lead, and can't
            case ReadReady():
                self._observer.read_ready(effect.contexts, effect.index)
            case ReadFailed():
                self._observer.read_failed(effect.contexts)
            case Truncated():
                self._observer.truncated(effect.first)
            case ConfigurationChanged(configuration):
                assert isinstance(configuration, Membership)  # it came from `membership_of`, or is a machine's
                self._observer.members_changed(configuration)
            case SnapshotOffered():
                self._observer.snapshot_offered(effect)
            case _:
                assert_never(effect)

    def _persist(self, persist: Persist) -> bool:
        began_s = self._clock.monotonic_s()
        try:
            self._storage.persist(
                term=persist.term, vote=persist.vote, entries=persist.entries, commit_index=persist.commit_index
            )
        except DiskFull as error:
            self.disk_full = error
            self._retry_s = began_s + FULL_DISK_RETRY_SECONDS
            return False
        self.syncs += 1
        took_s = self._clock.monotonic_s() - began_s
        self.longest_persist_s = max(self.longest_persist_s, took_s)
        self._disk_is_slow = took_s > self._slow_disk_s
        self.commit_on_disk = persist.commit_index
        return True

    def _try_again(self) -> bool:
        """Try the write that the disk had no room for. True once it is down; a leader leads no longer then."""
        if self._clock.monotonic_s() < self._retry_s:
            return False
        self.disk_full = None
        if not self._carry_out():
            return False
        self.raft.step_down()
        return True

    def _count_absence(self) -> None:
        """While this node was away it heard no leader, so that most of an election time-out is over when it begins.

        All that is left is time to hear a leader that lives, which others would not let it disturb (pre-vote).
        """
        raft = self.raft
        is_alone = raft.configuration.voters == (raft.identity,)
        raft.tick(raft.election_timeout if is_alone else int(ABSENT_SHARE * raft.options.election_ticks_min))

    def _noop_payload(self, last_payload: bytes | None) -> bytes:
        """A new term's first entry goes on where the log ends; where that is a snapshot, where its machine ends."""
        return noop_payload(
            last_payload,
            app_version=self._app.version,
            wall_time_us=self._clock.wall_us(),
            beginning=(self.machine.revision + 1, self.machine.log_time_us),
        )

    def _next_entry(self) -> Entry:
        """The next committed entry. What a slice has no time for stays read: committed entries don't change."""
        index = self.machine.index + 1
        if not self._read_ahead or self._read_ahead[0].index != index:
            self._read_ahead = deque(self.raft.log.entries(index, self._commit_target, FOLD_BYTES_MAX))
        return self._read_ahead.popleft()

    def _fold(self, entry: Entry) -> Machine | None:
        try:
            return fold(self.machine, entry, self._app)
        except ConfluxError as error:
            self.fail(error)
            return None


def _changes(storage: Storage, restored: Restored, after: int) -> list[tuple[int, Membership]]:
    """The log's membership entries behind the newest snapshot, as the core wants them."""
    changes = []
    for index in restored.membership_indices:
        if index > after:
            (entry,) = storage.read(index, index, 1)
            membership = membership_of(entry.payload)
            if membership is None:
                raise Damaged(f"entry {index} should say who the members are, and can't be read")
            changes.append((index, membership))
    return changes
