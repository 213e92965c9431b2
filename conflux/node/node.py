"""`Node`: one member of a cluster, as a loop that its owner turns.

The order of a turn is fixed: messages of peers, ticks, what they caused (persisted, answered), then requests, which
become one entry, then folding and telling. The node has no thread and no clock of its own: the simulator turns it too.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from conflux import limits
from conflux.app import App
from conflux.discovery.interface import Discovery
from conflux.errors import DiskFull, MalformedFrame
from conflux.node import directory as directories
from conflux.node.clock import Clock
from conflux.node.directory import Directory
from conflux.node.formation import Accept, Formation, Formed, GiveUp, Never
from conflux.node.leadership import Leadership, Request
from conflux.node.links import Links
from conflux.node.options import NodeOptions
from conflux.node.origin import HERE, HERE_HANDLE, FromClient, FromHere, FromPeer, Origin
from conflux.node.readers import Readers
from conflux.node.replica import Replica
from conflux.node.status import StateHashes, end_of_log, report_of
from conflux.node.ticking import TICK_S, Ticker
from conflux.node.watchers import Watchers
from conflux.raft.configuration import Configuration
from conflux.raft.effects import RoleChanged, RoleName
from conflux.raft.entry import Entry
from conflux.raft.messages import Envelope
from conflux.storage.interface import Storage
from conflux.store.machine import Machine
from conflux.transport.interface import Channel
from conflux.wire.clients import (
    CLIENTS,
    AskLog,
    AskStatus,
    CloseSession,
    Code,
    Done,
    LeaderIs,
    LogText,
    OpenSession,
    Perform,
    Read,
    ReadMore,
    Refused,
    Status,
    TransferLeadership,
    Unwatch,
    Watch,
)
from conflux.wire.frames import NOBODY, PeerFrame
from conflux.wire.peers import PEERS, RAFT_MESSAGES, AskReadIndex, Forward, ForwardReply, Founder, Hello, ReadIndex

IDLE_COMMIT_SECONDS = 0.05  # idle for so long, the commit index is written down alone
WAIT_SECONDS_MAX = 1.0
HASH_SLICES_PER_TURN = 4


class Node:
    """One node.

    Args:
        directory: says who it is; its storage is this node's from now on.
        data_dir, log_file: only told, in its status.

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
    ) -> None:
        now_s = clock.monotonic_s()
        self.directory = directory
        self.channel = channel
        self.data_dir = data_dir
        self.log_file = log_file
        self.counts: Counter[str] = Counter()
        self.replica: Replica | None = None
        self.ticker = Ticker(options.heartbeat_interval_ms / 1000, now_s)
        self.state_hashes = StateHashes()
        self.on_local_message: Callable[[Any], None] = lambda message: None
        self.on_applied: Callable[[Entry, Machine], None] = lambda entry, machine: None
        self.on_role_changed: Callable[[RoleChanged], None] = lambda change: None
        self.on_truncated: Callable[[int], None] = lambda first: None
        self.links = Links(channel, directory.self.founder, discovery, directory.addresses)
        self._options = options
        self._app = app
        self._discovery = discovery
        self._clock = clock
        self._random = random
        self._initial = Machine.initial(app)
        self._leadership: Leadership | None = None
        self._readers: Readers | None = None
        self._watchers: Watchers | None = None
        self._parked: deque[tuple[Origin, Request]] = deque()  # for a leader that isn't ready yet: this node
        self._forwarding: dict[bytes, None] = {}  # clients whose requests went to the leader of now
        self._idle_since_s = now_s
        self._more_to_tell = False  # a watcher has room and there is more for it
        self._formation_disk_full: str | None = None
        self._formation = self._begin_formation(now_s)
        if directory.formed:
            self._become_member()

    # -- what can be seen ----------------------------------------------------------------------------------------

    @property
    def is_leading(self) -> bool:
        """True on a leader that takes requests."""
        return self._leadership is not None

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
        if self._leadership is not None:
            return self._leadership.provisional.state
        if self.replica is None:
            return self._initial.state
        return self.replica.fold_ahead().state

    def problem(self) -> str | None:
        """Why this node doesn't serve, in one line; None where all is well."""
        if self.replica is None:
            return self.waiting_for()
        if self.replica.failure is not None:
            return str(self.replica.failure)
        if self.replica.disk_full is not None:
            return f"disk full: {self.replica.disk_full}"
        if self.replica.raft.leader is None:
            return "no leader"
        return None

    def waiting_for(self) -> str | None:
        """While the cluster forms: who or what is missing."""
        if self.replica is not None:
            return None
        remarks = [*sorted(self._formation.strangers.values()), *self._discovery.remarks()]
        if self._formation_disk_full is not None:
            remarks.append(f"disk full: {self._formation_disk_full}")
        if self.channel.counters().get("links_refused"):
            remarks.append("a node that was dialled refused our key")
        return "; ".join([self._formation.waiting_for(), *remarks])

    def founders(self) -> tuple[Founder, ...]:
        """The members, as far as they are known."""
        accepted = self.directory.accepted
        return accepted.founders if accepted else (self.directory.self.founder,)

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
            self._on_peer_frame(frame, now_s)
        ticks = self.ticker.take(self._clock.monotonic_s())
        if self.replica is None:
            self._form(now_s)
        else:
            if ticks and not self.replica.is_stuck:
                self.replica.raft.tick(ticks)
            self._flush()
        requests = self.channel.receive_from_clients(limits.TURN_FRAMES_MAX)
        for handle, frame in requests:
            self._on_client_frame(FromClient(handle), frame)
        if self.replica is not None:
            self._serve(now_s, busy=bool(frames or requests))
        self._greet(now_s)

    def wait_s(self) -> float:
        """How long the owner may wait before the next turn if nothing comes in."""
        now_s = self._clock.monotonic_s()
        waits = [WAIT_SECONDS_MAX, self.links.wait_s(now_s)]
        replica = self.replica
        if replica is None:
            settles_s = self._formation.settles_at_s()
            if settles_s is not None and settles_s > now_s:
                waits.append(settles_s - now_s)
        elif self._has_work(replica):
            waits.append(0.0)
        else:
            waits.append(replica.raft.ticks_to_timer() * TICK_S)
            if self._readers is not None and self._readers.waits:
                waits.append(0.02)
            if replica.may_write_commit_index:
                waits.append(max(0.0, self._idle_since_s + IDLE_COMMIT_SECONDS - now_s))
        wait_s = min(waits)
        self.ticker.end(wait_s)
        return wait_s

    def close(self) -> None:
        """Give everything back."""
        self._discovery.close()
        self.channel.close()
        self.directory.storage.close()

    def handle(self, origin: Origin, message: Any) -> None:
        """Take a client's message."""
        match message:
            case AskStatus():
                report = msgspec.json.encode(report_of(self))
                self._reply(origin, Status(message.request, report))
            case AskLog():
                self._reply(origin, LogText(message.request, self.directory.self.label, end_of_log(self.log_file)))
            case OpenSession() | Perform() | CloseSession():
                self._to_leader(origin, message)
            case TransferLeadership():
                self._transfer(origin, message)
            case Unwatch():
                if self._watchers is not None:
                    self._watchers.unwatch(origin, message.watch)
            case Read() | ReadMore() | Watch():
                self._look(origin, message)
            case _:
                self.counts["unexpected"] += 1

    # -- what the replica tells ----------------------------------------------------------------------------------

    def role_changed(self, change: RoleChanged) -> None:
        """Role, term or leader changed: what was promised by the old leader is open now."""
        hint = LeaderIs((self.address_of(change.leader) or "") if change.leader else "", resend=True)
        if self._leadership is not None and (
            change.role is not RoleName.LEADER or change.term != self._leadership.term
        ):
            ended, self._leadership = self._leadership, None
            for origin in ended.end():
                self._reply(origin, hint)
        if change.role is not RoleName.LEADER:
            while self._parked:
                origin, request = self._parked.popleft()
                self._refuse(origin, request, Code.NO_LEADER, "the leader has changed")
        if change.leader is not None:
            for handle in self._forwarding:
                self._reply(FromClient(handle), hint)
            self._forwarding.clear()
            self._reply(HERE, hint)
        self.on_role_changed(change)

    def folded_already(self, index: int) -> Machine | None:
        """See `replica.Observer`."""
        return self._leadership.folded_already(index) if self._leadership else None

    def applied(self, entry: Entry, machine: Machine) -> None:
        """See `replica.Observer`."""
        if self._leadership is not None:
            self._leadership.committed(entry.index)
        if self._watchers is not None:
            self._watchers.applied(entry, machine.revision)
        self.on_applied(entry, machine)

    def read_ready(self, contexts: tuple[int, ...], index: int) -> None:
        """See `replica.Observer`."""
        if self._readers is not None:
            self._readers.ready(contexts, index)

    def read_failed(self, contexts: tuple[int, ...]) -> None:
        """See `replica.Observer`."""
        if self._readers is not None:
            self._readers.failed(contexts)

    def truncated(self, first: int) -> None:
        """See `replica.Observer`."""
        self.on_truncated(first)

    # -- inside: the turn ----------------------------------------------------------------------------------------

    def _flush(self) -> None:
        assert self.replica is not None
        self.replica.flush()
        if self._leadership is not None:
            self._leadership.persisted()
        self.replica.apply(limits.APPLY_SLICE_SECONDS)

    def _serve(self, now_s: float, *, busy: bool) -> None:
        """Judge, fold, answer and tell."""
        replica, readers, watchers = self.replica, self._readers, self._watchers
        assert replica is not None and readers is not None and watchers is not None
        self._lead_when_ready(replica)
        if self._leadership is not None and not replica.is_stuck:
            self._leadership.turn()
        if not replica.is_stuck:
            replica.raft.announce_commit()
        self._flush()
        readers.turn()
        more = not watchers.is_empty and watchers.turn(now_s)
        self._hash_some(replica)
        if busy or more or self._has_work(replica):
            self._idle_since_s = now_s
        elif now_s - self._idle_since_s >= IDLE_COMMIT_SECONDS:
            replica.write_commit_index()
            self.state_hashes.begin(replica.machine)
        self._more_to_tell = more

    def _has_work(self, replica: Replica) -> bool:
        return (
            (self._leadership is not None and self._leadership.has_work)
            or replica.is_behind
            or self._more_to_tell
            or (self._readers is not None and self._readers.has_work)
            or not replica.machine.hash_point.done
            or self.state_hashes.has_work
        )

    def _hash_some(self, replica: Replica) -> None:
        for _ in range(HASH_SLICES_PER_TURN):
            if not replica.machine.hash_point.done:
                replica.machine.hash_point.work()
            elif self.state_hashes.has_work:
                self.state_hashes.work()

    def _lead_when_ready(self, replica: Replica) -> None:
        """Take requests once this term's no-op is committed and everything is folded."""
        raft = replica.raft
        if self._leadership is not None or not raft.serves or replica.machine.index != raft.log.last_index:
            return
        self._leadership = Leadership(replica, self._app, self._clock, self._reply)
        while self._parked:
            self._leadership.take(*self._parked.popleft())

    def _greet(self, now_s: float) -> None:
        if self.links.wait_s(now_s) > 0:
            return
        members = {founder.identity for founder in self.founders()} - {self.directory.self.identity}
        is_lonely = self.replica is None or not members <= self.links.heard
        self.links.greet_all(self._hello(answer_me=is_lonely), now_s, forming=self.replica is None, lonely=is_lonely)

    # -- inside: becoming a member ---------------------------------------------------------------------------------

    def _begin_formation(self, now_s: float) -> Formation:
        mine = self.directory.self
        return Formation(
            mine.founder,
            name=mine.cluster,
            size=mine.size,
            app=mine.app,
            app_version=mine.app_version,
            accepted=self.directory.accepted,
            nevers=self.directory.nevers,
            settle_s=self._options.settle_s,
            now_s=now_s,
        )

    def _form(self, now_s: float) -> None:
        """One step of the formation. What the disk has no room for is not decided: the next turn tries again."""
        try:
            self._take_decision(now_s)
        except DiskFull as error:
            self._formation_disk_full = str(error)
        else:
            self._formation_disk_full = None

    def _take_decision(self, now_s: float) -> None:
        storage = self.directory.storage
        match self._formation.decide(now_s):
            case Accept(proposal):
                directories.record_accepted(storage, proposal)
            case Never(refused):
                directories.record_never(storage, self.directory.nevers | {refused}, gives_up=False)
            case GiveUp(refused):
                directories.record_never(storage, self.directory.nevers | {refused}, gives_up=True)
            case Formed():
                self._formed()
                return
            case None:
                return
        self.directory = directories.read(storage)
        self._formation.accepted = self.directory.accepted
        self._formation.nevers = self.directory.nevers
        self.links.greet_soon()
        self._take_decision(now_s)  # alone, it is formed at once

    def _formed(self) -> None:
        directories.record_formed(self.directory.storage)
        self.directory = directories.read(self.directory.storage)
        self._become_member()
        self.links.greet_soon()

    def _become_member(self) -> None:
        mine, options = self.directory.self, self._options
        assert self.directory.cluster_id is not None
        self.links.cluster_id = self.directory.cluster_id
        self.replica = Replica(
            identity=mine.identity,
            configuration=Configuration.of(founder.identity for founder in self.founders()),
            options=options.raft_options(),
            storage=self.directory.storage,
            app=self._app,
            machine=self._initial,
            clock=self._clock,
            random=self._random,
            send=self.links.send_raft,
            observer=self,
            slow_disk_s=options.election_timeout_ms[1] / 1000,
        )
        self._readers = Readers(self.replica, self._clock, self._reply, self.links.send)
        self._watchers = Watchers(self.replica.raft.log, mine.label, self._reply)

    def _hello(self, *, answer_me: bool) -> Hello:
        """An answer never asks for one in turn: two nodes would greet each other without end."""
        mine = self.directory.self
        return Hello(
            founder=mine.founder,
            address=self.channel.address,
            name=mine.cluster,
            size=mine.size,
            app=mine.app,
            app_version=mine.app_version,
            accepted=self.directory.accepted,
            nevers=tuple(sorted(self.directory.nevers)),
            formed=self.directory.formed,
            answer_me=answer_me,
        )

    # -- inside: peers -------------------------------------------------------------------------------------------

    def _on_peer_frame(self, data: bytes, now_s: float) -> None:
        try:
            frame = PEERS.decode_from_peer(data)
        except MalformedFrame:
            self.counts["malformed"] += 1
            return
        if isinstance(frame.message, Hello):
            self._on_hello(frame, frame.message, now_s)
        elif self._is_of_my_cluster(frame):
            self._on_member_message(frame)
        else:
            self.counts["strangers"] += 1

    def _on_hello(self, frame: PeerFrame, hello: Hello, now_s: float) -> None:
        own = self.directory.self.identity
        if hello.founder.identity in (own, NOBODY) or frame.sender != hello.founder.identity:
            return
        if self.replica is None:
            self._formation.hear(hello, now_s)
            self.links.learn(hello)
        elif any(hello.founder == founder for founder in self.founders()):
            if self.links.learn(hello):
                self._record(lambda storage: directories.record_addresses(storage, self.links.addresses))
        else:
            self.counts["strangers"] += 1
            self.links.dial(hello.address)
            self._refuse_late_proposal(hello)
        if hello.answer_me:
            self.links.greet(self._hello(answer_me=False), hello.address)

    def _refuse_late_proposal(self, hello: Hello) -> None:
        """A node still waits for this one to accept another proposal: it never will, and says so for good."""
        late = hello.accepted
        if late is None or self.directory.self.founder not in late.founders:
            return
        nevers = self.directory.nevers | {directories.cluster_id(late)}
        if nevers != self.directory.nevers and len(nevers) <= limits.CANDIDATES_MAX:
            self._record(lambda storage: directories.record_never(storage, nevers, gives_up=False))
            self.directory = directories.read(self.directory.storage)

    def _record(self, write: Callable[[Storage], None]) -> None:
        """Write down what can wait for a better time, should the disk be full now."""
        try:
            write(self.directory.storage)
        except DiskFull:
            self.counts["disk full"] += 1

    def _is_of_my_cluster(self, frame: PeerFrame) -> bool:
        accepted = self.directory.accepted
        if accepted is None or frame.cluster != directories.cluster_id(accepted):
            return False
        mine = self.directory.self.identity
        members = {founder.identity for founder in accepted.founders}
        if frame.receiver != mine or frame.sender not in members or frame.sender == mine:
            return False
        if self.replica is None:  # a member speaks for the cluster: all have accepted it
            self._record(lambda storage: self._formed())
        return self.replica is not None

    def _on_member_message(self, frame: PeerFrame) -> None:
        assert self.replica is not None and self._readers is not None
        match frame.message:
            case Forward(handle=handle, frame=inner):
                self._on_client_frame(FromPeer(frame.sender, handle), inner)
            case ForwardReply(handle=handle, frame=inner):
                self._relay(handle, inner)
            case AskReadIndex() as ask:
                self._readers.answer_peer(frame.sender, ask)
            case ReadIndex() as answer:
                self._readers.peer_answered(answer)
            case message if isinstance(message, RAFT_MESSAGES) and not self.replica.is_stuck:
                self.replica.raft.step(Envelope(frame.sender, frame.receiver, frame.term, message))

    # -- inside: clients -----------------------------------------------------------------------------------------

    def _on_client_frame(self, origin: Origin, frame: bytes) -> None:
        try:
            message = CLIENTS.decode_from_client(frame)
        except MalformedFrame:
            self.counts["malformed"] += 1
            return
        self.handle(origin, message)

    def _to_leader(self, origin: Origin, message: Request) -> None:
        """Take a request that only the leader answers, or pass it on: once, so that it can't go round."""
        if self.replica is None:
            return self._refuse(origin, message, Code.NOT_READY, self.waiting_for() or "not ready")
        leader = self.replica.raft.leader
        if leader == self.directory.self.identity:
            if self._leadership is not None:
                self._leadership.take(origin, message)
            elif len(self._parked) < limits.TURN_FRAMES_MAX:
                self._parked.append((origin, message))
            else:
                self._refuse(origin, message, Code.BUSY, "too many requests are waiting")
            return None
        if leader is None or isinstance(origin, FromPeer):
            return self._refuse(origin, message, Code.NO_LEADER, "no leader: a majority of the nodes must be up")
        return self._forward(leader, origin, message)

    def _forward(self, leader: str, origin: Origin, message: Any) -> None:
        handle = origin.handle if isinstance(origin, FromClient) else HERE_HANDLE
        if not self.links.send(leader, Forward(handle, CLIENTS.encode_for_client(message))):
            self._refuse(origin, message, Code.NO_LEADER, "the leader can't be reached from this node")
        elif isinstance(origin, FromClient):
            if handle not in self._forwarding:
                self._forwarding[handle] = None
                self._reply(origin, LeaderIs(self.address_of(leader) or ""))
            if len(self._forwarding) > limits.TURN_FRAMES_MAX:
                self._forwarding.clear()

    def _relay(self, handle: bytes, frame: bytes) -> None:
        """Hand the leader's answer to whoever asked this follower."""
        if handle != HERE_HANDLE:
            self.channel.reply(handle, frame)
            return
        try:
            self.on_local_message(CLIENTS.decode_from_client(frame))
        except MalformedFrame:
            self.counts["malformed"] += 1

    def _look(self, origin: Origin, message: Read | ReadMore | Watch) -> None:
        if self._readers is None or self._watchers is None:
            if not isinstance(message, Watch):
                self._refuse(origin, message, Code.NOT_READY, self.waiting_for() or "not ready")
            return
        match message:
            case Read():
                self._readers.read(origin, message)
            case ReadMore():
                self._readers.read_more(origin, message)
            case Watch():
                self._watchers.watch(origin, message, self._clock.monotonic_s())

    def _transfer(self, origin: Origin, message: TransferLeadership) -> None:
        raft = self.replica.raft if self.replica and not self.replica.is_stuck else None
        if raft is not None and raft.leader not in (None, raft.identity) and not isinstance(origin, FromPeer):
            self._forward(str(raft.leader), origin, message)
        elif raft is not None and raft.transfer_leadership(message.target or raft.most_level_voter() or ""):
            self._reply(origin, Done(message.request))
        else:
            self._refuse(origin, message, Code.NO_LEADER, "leadership can't be handed to that node now")

    def _refuse(self, origin: Origin, message: Any, code: Code, text: str) -> None:
        if not isinstance(message, CloseSession):
            self._reply(origin, Refused(message.request, code, text))

    def _reply(self, origin: Origin, message: Any) -> bool:
        match origin:
            case FromClient(handle):
                return self.channel.reply(handle, CLIENTS.encode_for_client(message))
            case FromPeer(identity, handle):
                return self.links.send(identity, ForwardReply(handle, CLIENTS.encode_for_client(message)))
            case FromHere():
                self.on_local_message(message)
                return True
