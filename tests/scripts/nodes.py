"""A node on the scripts' stage: `tests.raft.harness.Node` with a disk that can be held, and the store on top.

Rule: a turn is the product's (`conflux.node`): all that came in is stepped, effects are carried out in order and to
their end, then the leader judges requests and announces its commit index. A held disk stops it at the Persist.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any, Protocol

from conflux.app import App
from conflux.node.clock import Clock
from conflux.node.leadership import Leadership, Request
from conflux.node.origin import Origin
from conflux.node.slowness import Slowness
from conflux.raft.configuration import Configuration
from conflux.raft.core import Raft
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
from conflux.raft.entry import Entry
from conflux.raft.invariants import check
from conflux.raft.messages import Envelope
from conflux.store.machine import Machine, fold
from conflux.store.records import noop_payload
from conflux.wire.clients import LeaderIs
from tests.raft.harness import OPTIONS, Disk, Node, Snapshot, configuration_of
from tests.scripts import words

# Payloads of at most 16 bytes travel together, so that a script can show what goes in one Append and what does not.
SCRIPT_OPTIONS = replace(OPTIONS, append_bytes_max=16)


class Stage(Protocol):
    """What surrounds a node."""

    clock: Clock

    def say(self, line: str) -> None: ...
    def post(self, envelope: Envelope) -> None: ...
    def entry(self, entry: Entry) -> str: ...
    def committed(self, entry: Entry) -> None: ...
    def leads(self, name: str, term: int) -> None: ...
    def reply(self, name: str, origin: Origin, message: Any) -> None: ...


class Patience(Random):
    """Draws each node's own election time-out, so that a reader knows who is the first to lose patience."""

    ticks = 10

    def randint(self, low: int, high: int) -> int:
        return self.ticks


class ScriptNode(Node):
    """One member. `app` is None where entries are plain text."""

    def __init__(
        self,
        identity: str,
        configuration: Configuration,
        disk: Disk,
        stage: Stage,
        ticks: int,
        app: App[Any, Any] | None,
    ) -> None:
        self.stage, self.app = stage, app
        self.patience = Patience()
        self.patience.ticks = ticks
        super().__init__(identity, configuration, disk, SCRIPT_OPTIONS, seed=0)

    def start(self) -> None:
        """Start from the disk: nothing else is remembered."""
        self.effects: deque[Effect] = deque()
        self.syncing = self.disk_held = False
        self.leadership_of_store: Leadership | None = None
        self.parked: list[tuple[Origin, Request]] = []
        self.agreed = None  # nobody compares hashes here
        self.slowness = Slowness(1.0)
        self.machine = Machine.initial(self.app) if self.app else None
        self.agreed = None  # no guard is here, so no hash is ever a majority's
        self.raft = Raft(
            identity=self.identity,
            configuration=self.disk.newest.configuration or self.configuration,
            configuration_of=configuration_of,
            changes=self.disk.changes(),
            snapshot=(self.disk.newest.index, self.disk.newest.term),
            options=self.options,
            log=self.disk.log(self.options.tail_cache_bytes_max),
            random=self.patience,
            noop_payload=self._noop,
            term=self.disk.term,
            vote=self.disk.vote,
            commit_index=self.disk.commit_index,
        )
        self.turn()

    def turn(self, *doors: Callable[[], object]) -> None:
        """One turn: what came in, and all that comes of it."""
        for door in doors:
            door()
        self.settle()
        if self.syncing:
            return
        self._lead_when_ready()
        if self.leadership_of_store is not None:
            self.leadership_of_store.turn()
        self.raft.announce_commit()
        self.settle()

    def take(self, origin: Origin, request: Request) -> None:
        """A client's request: judged when this node leads and knows all that is committed."""
        if self.leadership_of_store is not None:
            self.leadership_of_store.take(origin, request)
        else:
            self.parked.append((origin, request))

    def settle(self) -> None:
        while True:
            while self.effects:
                if isinstance(self.effects[0], Persist) and self.disk_held:
                    if not self.syncing:
                        self._say(f"begins to sync {self._sync_words(self.effects[0])}")
                    self.syncing = True
                    return
                self.carry_out(self.effects.popleft())
            more = self.raft.take_effects()
            if not more:
                check(self.raft)
                return
            self.effects.extend(more)

    def finish_sync(self) -> None:
        """The sync that is under way returns, and the turn goes on behind it."""
        persist = self.effects.popleft()
        assert isinstance(persist, Persist)
        self.syncing = False
        self._say(f"has synced {self._sync_words(persist)}")
        self._synced(persist)
        self.turn()

    def carry_out(self, effect: Effect) -> None:
        match effect:
            case Send(envelope):
                self.stage.post(envelope)
            case Persist():
                self._say(f"syncs {self._sync_words(effect)}")
                self._synced(effect)
            case Commit(first, last):
                self._say(f"commits {first}" if first == last else f"commits {first} to {last}")
                self._apply(first, last)
            case ReadReady(contexts, index):
                self._say(f"answers read {', '.join(map(str, contexts))} as of index {index}")
            case ReadFailed(contexts):
                self._say(f"can't answer read {', '.join(map(str, contexts))}")
            case Truncated(first):
                self._say(f"drops what it had from {first} on")
            case RoleChanged():
                self._role_changed(effect)
            case ConfigurationChanged(configuration):
                self._say(f"has in force: {words.members_words(configuration)}")
            case SnapshotOffered(leader=leader, index=index, term=term):
                self._say(f"is offered the snapshot of {leader} up to {words.place(index, term)}")

    def put_in_place(self, snapshot: Snapshot) -> None:
        """A snapshot that was fetched: on the disk first, then in the core."""
        assert snapshot.configuration is not None
        self.disk.cut(snapshot)
        self._say(f"installs the snapshot up to {words.place(snapshot.index, snapshot.term)}")
        self.raft.install_snapshot(snapshot.index, snapshot.term, snapshot.configuration)

    def _synced(self, persist: Persist) -> None:
        self.disk.write(persist)
        self.raft.persisted(persist.term, persist.last_index)
        if self.leadership_of_store is not None:
            self.leadership_of_store.persisted()

    def _apply(self, first: int, last: int) -> None:
        for entry in self.disk.between(first, last):
            self.stage.committed(entry)
            leadership = self.leadership_of_store
            if self.app is not None and self.machine is not None:
                ready = leadership.folded_already(entry.index) if leadership else None
                self.machine = ready or fold(self.machine, entry, self.app)
            self.raft.applied(entry.index)
            if leadership is not None:
                leadership.committed(entry.index)

    def _role_changed(self, change: RoleChanged) -> None:
        if change.role is RoleName.FOLLOWER:
            self._say(f"follows {change.leader or 'nobody'} in term {change.term}")
        else:
            self._say(f"is {change.role} in term {change.term}")
        if change.role is RoleName.LEADER:
            self.stage.leads(self.identity, change.term)
        leadership = self.leadership_of_store
        if leadership and (change.role is not RoleName.LEADER or change.term != leadership.term):
            self.leadership_of_store = None
            for origin in leadership.end():
                self.stage.reply(self.identity, origin, LeaderIs(change.leader or "", resend=True))

    def _lead_when_ready(self) -> None:
        ready = self.raft.serves and self.machine is not None and self.machine.index == self.raft.log.last_index
        if self.app is None or self.leadership_of_store is not None or not ready:
            return
        # A Leadership asks of its replica no more than `raft`, `machine` and `agreed`.
        self.leadership_of_store = Leadership(self, self.app, self.stage.clock, self._reply)  # type: ignore[arg-type]
        for origin, request in self.parked:
            self.leadership_of_store.take(origin, request)
        self.parked.clear()

    def _reply(self, origin: Origin, message: Any) -> None:
        self.stage.reply(self.identity, origin, message)

    def _noop(self, last: bytes | None) -> bytes:
        return noop_payload(last, app_version=self.app.version, wall_time_us=0) if self.app else b""

    def _sync_words(self, persist: Persist) -> str:
        """What this write changes on the disk."""
        said = []
        if (persist.term, persist.vote) != (self.disk.term, self.disk.vote):
            said.append(f"term {persist.term}, {f'vote {persist.vote}' if persist.vote else 'no vote'}")
        said += [self.stage.entry(entry) for entry in persist.entries]
        if persist.commit_index != self.disk.commit_index:
            said.append(f"commit {persist.commit_index}")
        return ", ".join(said)

    def _say(self, line: str) -> None:
        self.stage.say(f"{self.identity} {line}")
