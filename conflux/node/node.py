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
from conflux.node.candidates import Candidates
from conflux.node.clock import Clock
from conflux.node.desk import Desk
from conflux.node.directory import Directory
from conflux.node.founding import Founding
from conflux.node.gate import Gate
from conflux.node.links import Links
from conflux.node.member_work import WAIT_SECONDS_MAX, MemberWork
from conflux.node.options import NodeOptions
from conflux.node.origin import FromClient, Origin
from conflux.node.replica import Replica
from conflux.node.restoring import restored_machine
from conflux.node.ticking import Ticker
from conflux.raft.effects import RoleChanged
from conflux.raft.entry import Entry
from conflux.storage.archive import Archive
from conflux.store.machine import Machine
from conflux.store.membership import Membership
from conflux.transport.interface import Channel
from conflux.wire.peers import Candidate


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
        self.member: MemberWork | None = None  # once it is one
        self.candidates = Candidates()
        self.ticker = Ticker(options.heartbeat_interval_ms / 1000, now_s)
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
    def replica(self) -> Replica | None:
        """A member's log and state; None before it is one."""
        return self.member.replica if self.member is not None else None

    @property
    def machine(self) -> Machine:
        """The committed state, with its revision and sessions."""
        return self.member.replica.machine if self.member is not None else self._initial

    @property
    def is_recovering(self) -> bool:
        """True after a start, until the state is as new as this node knew it to be."""
        return self.member is not None and self.member.replica.is_recovering

    def provisional_state(self) -> Any:
        """The state after all entries of this node's log, committed or not."""
        return self.member.provisional_state() if self.member is not None else self._initial.state

    def problem(self) -> str | None:
        """Why this node doesn't serve, in one line; None where all is well."""
        if self.member is None:
            return self.waiting_for()
        if self.directory.removed:
            return "this node was removed from the cluster for good: stop it, and delete its directory"
        if self.founding.is_outside:
            label = self.directory.self.label
            return f"no member, as far as it knows: if that lasts, conflux members add {label}"
        return self.member.problem

    def waiting_for(self) -> str | None:
        """While the cluster forms: who or what is missing."""
        return self.founding.waiting_for() if self.member is None else None

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
        if self.member is None:
            self.founding.form(now_s)
        elif frames or ticks:  # else there is nothing that clients would have to wait for
            self.member.hear(ticks)
        for handle, frame in self.channel.receive_from_clients(limits.TURN_FRAMES_MAX):
            self.desk.take_frame(FromClient(handle), frame)
        if self.member is not None:
            self.member.serve(now_s)
        self.founding.greet(now_s)

    def take_more_calls(self) -> None:
        """In the middle of a leader's turn: take calls alone, since all else may change what the turn rests on."""
        for handle, frame in self.channel.receive_more_from_clients(limits.TURN_FRAMES_MAX):
            self.desk.take_call(FromClient(handle), frame)

    def wait_s(self) -> float:
        """How long the owner may wait before the next turn if nothing comes in."""
        now_s, due_s = self._clock.monotonic_s(), self.links.greets_at_s
        wait_s = self.member.wait_s(now_s, due_s) if self.member is not None else self._forming_wait_s(now_s, due_s)
        self.ticker.end(wait_s)
        return wait_s

    def close(self) -> None:
        """Give everything back."""
        if self.member is not None:
            self.member.close()
        self._discovery.close()
        self.channel.close()
        self.directory.storage.close()

    def handle(self, origin: Origin, message: Any) -> None:
        """Take a client's message."""
        self.desk.take(origin, message)

    def hand_over(self) -> bool:
        """Hand leadership to the voter that is most level. False where there's nobody, or a transfer is under way."""
        return self.member is not None and self.member.hand_over()

    # -- inside --------------------------------------------------------------------------------------------------

    def _forming_wait_s(self, now_s: float, due_s: float) -> float:
        settles_s = self.founding.settles_at_s()
        if settles_s is not None and now_s < settles_s < due_s:
            due_s = settles_s
        return min(max(0.0, due_s - now_s), WAIT_SECONDS_MAX)

    def _become_member(self) -> None:
        directory, founders = self.directory, self.founding.membership()
        assert directory.cluster_id is not None
        self.links.cluster_id = directory.cluster_id
        initial = structs.replace(self._initial, membership=founders)
        machine = restored_machine(directory.storage, self._app) or initial
        self.member = MemberWork(self, self._options, self._app, self._clock, self._random, self._archive, machine)
        current = self.member.replica.raft.configuration
        assert isinstance(current, Membership)
        self.founding.members_changed(current)

    def _removed(self) -> None:
        """Whoever waits here for an answer is to ask elsewhere."""
        if self.member is not None:
            self.member.readers.refuse_all("this node was removed from the cluster")

    def _candidate_heard(self, candidate: Candidate) -> None:
        """A node wants to join: the leader decides."""
        is_news = self.candidates.hear(candidate, self.now_s())
        leader = self.member.replica.raft.leader if self.member is not None else None
        if is_news and leader is not None and leader != self.directory.self.identity:
            self.links.send(leader, candidate)
