"""A Raft laboratory: cores with a synced disk each, on a network that moves only when it is told to.

Rule: the shell's promise is kept here and nowhere else. A list of effects is carried out to its end, `persisted`
answers each Persist, and what stands before the Persist leaves the node even if it dies before the sync.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random
from typing import TypeAlias

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
from conflux.raft.entry import Entry, Kind
from conflux.raft.invariants import check
from conflux.raft.log import Log
from conflux.raft.messages import Append, Envelope, Heartbeat, Message, NodeId, VoteReply, VoteRequest
from conflux.raft.options import Options
from conflux.raft.progress import Progress
from conflux.raft.roles import Leader

OPTIONS = Options(election_ticks_min=10, election_ticks_max=20, heartbeat_ticks=3)

FOLLOWER, PRE_CANDIDATE, CANDIDATE, LEADER = (
    RoleName.FOLLOWER,
    RoleName.PRE_CANDIDATE,
    RoleName.CANDIDATE,
    RoleName.LEADER,
)

Terms = Iterable[int | tuple[int, bytes]]  # a log: the term of each entry, with its payload where that matters


def entries(terms: Terms, first: int = 1) -> tuple[Entry, ...]:
    """Entries of these terms, from index `first` on; a payload says where it comes from unless it is given."""
    made = []
    for index, item in enumerate(terms, first):
        term, payload = item if isinstance(item, tuple) else (item, b"%d@%d" % (index, item))
        made.append(Entry(index, term, Kind.RECORDS, payload))
    return tuple(made)


def append(after: tuple[int, int], terms: Terms = (), commit: int = 0) -> Append:
    """An Append of entries of these terms after the (index, term) given."""
    index, term = after
    return Append(prev_index=index, prev_term=term, entries=entries(terms, index + 1), commit_index=commit)


def heartbeat(round_number: int = 1, commit: int = 0) -> Heartbeat:
    return Heartbeat(round=round_number, commit_index=commit)


def vote_request(last: tuple[int, int] = (0, 0), *, pre: bool = False, transfer: bool = False) -> VoteRequest:
    """A candidate whose last entry is the (index, term) given asks for a vote."""
    return VoteRequest(pre=pre, transfer=transfer, last_index=last[0], last_term=last[1])


def vote(granted: bool, *, pre: bool = False) -> VoteReply:
    return VoteReply(pre=pre, granted=granted)


def members(voters: Iterable[NodeId], learners: Iterable[NodeId] = "") -> bytes:
    """The payload of a membership entry in these tests."""
    return f"{','.join(sorted(voters))}|{','.join(sorted(learners))}".encode()


def configuration_of(payload: bytes) -> Configuration | None:
    if payload.count(b"|") != 1:
        return None
    voters, learners = payload.decode().split("|")
    return Configuration.of(voters.split(","), filter(None, learners.split(",")))


def members_in_force(entry: Entry) -> Configuration:
    configuration = configuration_of(entry.payload)
    assert configuration is not None
    return configuration


@dataclass(frozen=True)
class Snapshot:
    """What a node keeps in place of entries: where they end, and the members there."""

    index: int = 0
    term: int = 0
    configuration: Configuration | None = None


@dataclass
class Disk:
    """What was synced: it survives a crash, and nothing else does."""

    entries: list[Entry] = field(default_factory=list)
    term: int = 0
    vote: NodeId | None = None
    commit_index: int = 0
    writes: int = 0
    base: Snapshot = Snapshot()  # the log begins after it
    newest: Snapshot = Snapshot()

    def write(self, persist: Persist) -> None:
        self.term, self.vote, self.commit_index = persist.term, persist.vote, persist.commit_index
        if persist.entries:
            del self.entries[persist.entries[0].index - 1 - self.base.index :]
            self.entries += persist.entries
        assert self.base.index + len(self.entries) == persist.last_index, "a Persist says truly where the log ends"
        self.writes += 1

    def read(self, first: int, last: int, bytes_max: int) -> Sequence[Entry]:
        held = self.between(first, last)
        found, size = [held[0]], len(held[0].payload)
        for entry in held[1:]:
            size += len(entry.payload)
            if size > bytes_max:
                break
            found.append(entry)
        return found

    def between(self, first: int, last: int) -> list[Entry]:
        assert first > self.base.index, "what was cut is not read"
        return self.entries[first - 1 - self.base.index : last - self.base.index]

    def changes(self) -> list[tuple[int, Configuration]]:
        """The configurations that the log holds."""
        later = [each for each in self.entries if each.index > self.newest.index]
        return [(each.index, members_in_force(each)) for each in later if each.kind is Kind.MEMBERSHIP]

    def cut(self, base: Snapshot) -> None:
        """Let the log begin behind a snapshot; without its last entry, let it be empty."""
        held = {entry.index: entry.term for entry in self.entries}
        keeps = base.index == self.base.index or held.get(base.index) == base.term
        self.entries = [entry for entry in self.entries if keeps and entry.index > base.index]
        self.base = base
        self.newest = max(self.newest, base, key=lambda snapshot: snapshot.index)

    def log(self, cache_bytes_max: int) -> Log:
        """The log as a node finds it when it starts."""
        starts: dict[int, int] = {}
        for entry in self.entries:
            starts.setdefault(entry.term, entry.index)
        runs = tuple((index, term) for term, index in starts.items())
        return Log(
            self,
            snapshot_index=self.base.index,
            snapshot_term=self.base.term,
            last_index=self.base.index + len(self.entries),
            term_starts=runs,
            cache_bytes_max=cache_bytes_max,
        )


class Node:
    """A core and its disk, with a shell that carries out each effect at once and keeps what came out."""

    def __init__(self, identity: NodeId, configuration: Configuration, disk: Disk, options: Options, seed: int) -> None:
        self.identity, self.configuration, self.disk, self.options = identity, configuration, disk, options
        self._seeds = count(seed)
        self.start()

    def start(self) -> None:
        """Start from the disk, as after a crash: nothing else is remembered."""
        self.sent: list[Envelope] = []
        self.committed: list[Entry] = []
        self.ready: dict[int, int] = {}  # read → index from which it may be answered
        self.failed: list[int] = []
        self.truncated: list[int] = []
        self.history: list[Effect] = []
        self.offered: list[SnapshotOffered] = []
        self.configurations: list[Configuration] = []  # that came into force since the start
        self.raft = Raft(
            identity=self.identity,
            configuration=self.disk.newest.configuration or self.configuration,
            changes=self.disk.changes(),
            configuration_of=configuration_of,
            snapshot=(self.disk.newest.index, self.disk.newest.term),
            options=self.options,
            log=self.disk.log(self.options.tail_cache_bytes_max),
            random=Random(next(self._seeds)),
            noop_payload=lambda last: b"no-op",
            term=self.disk.term,
            vote=self.disk.vote,
            commit_index=self.disk.commit_index,
        )
        self.settle()

    # -- what can be seen

    @property
    def term(self) -> int:
        return self.raft.term

    @property
    def role(self) -> RoleName:
        return self.raft.role.name

    @property
    def commit_index(self) -> int:
        return self.raft.commit_index

    @property
    def log(self) -> list[int]:
        """The term of each entry."""
        log = self.raft.log
        return [log.term_at(index) for index in range(log.first_index, log.last_index + 1)]

    @property
    def payloads(self) -> list[bytes]:
        """The payloads on disk."""
        return [entry.payload for entry in self.disk.entries]

    @property
    def leadership(self) -> Leader:
        assert isinstance(self.raft.role, Leader)
        return self.raft.role

    def progress(self, follower: NodeId) -> Progress:
        return self.leadership.progress[follower]

    # -- what can be done

    def hears(self, message: Message, *, of: NodeId = "b", term: int | None = None) -> list[Message]:
        """Take a message from another node; what it sends because of it."""
        self.step(Envelope(of, self.identity, self.term if term is None else term, message))
        return self.said()

    def step(self, envelope: Envelope) -> None:
        self.raft.step(envelope)
        self.settle()

    def tick(self, ticks: int = 1) -> list[Message]:
        for _ in range(ticks):
            self.raft.tick()
            self.settle()
        return self.said()

    def time_out(self) -> list[Message]:
        """Let the election time-out pass; what it sends then."""
        return self.tick(self.raft.election_timeout - self.raft.election_elapsed)

    def propose(self, payload: bytes = b"x") -> int:
        """Append an entry; its index."""
        index, _ = self.raft.propose(payload)
        self.settle()
        return index

    def change(self, voters: Iterable[NodeId], learners: Iterable[NodeId] = "") -> int:
        """Propose other members; the entry's index."""
        index, _ = self.raft.change_membership(members(voters, learners))
        self.settle()
        return index

    def take_snapshot(self) -> Snapshot:
        """Take a snapshot of all that is applied."""
        index = self.raft.applied_index
        self.disk.newest = Snapshot(index, self.raft.log.term_at(index), self.raft.configurations.at(index))
        self.raft.snapshot_taken(index)
        return self.disk.newest

    def compact(self) -> None:
        """Cut the log at the newest snapshot."""
        self.disk.cut(self.disk.newest)
        self.raft.compact(self.disk.newest.index)
        check(self.raft)

    def install(self, snapshot: Snapshot) -> list[Message]:
        """Put another node's snapshot in place; what is sent because of it."""
        assert snapshot.configuration is not None
        self.disk.cut(snapshot)
        self.raft.install_snapshot(snapshot.index, snapshot.term, snapshot.configuration)
        self.settle()
        return self.said()

    def read(self, context: int = 1) -> None:
        self.raft.read_index(context)
        self.settle()

    def transfer(self, target: NodeId) -> bool:
        begun = self.raft.transfer_leadership(target)
        self.settle()
        return begun

    def said(self) -> list[Message]:
        """The messages that left since this was asked last."""
        return [envelope.message for envelope in self.took()]

    def took(self) -> list[Envelope]:
        """The envelopes that left since this was asked last."""
        sent, self.sent = self.sent, []
        return sent

    def settle(self) -> None:
        """Carry out effects, and what comes of them, until there are none."""
        while effects := self.raft.take_effects():
            for effect in effects:
                self.carry_out(effect)
            check(self.raft)

    def die_before_the_sync(self) -> None:
        """Carry out what stands before the Persist, then die and start again from the disk."""
        for effect in self.raft.take_effects():
            if isinstance(effect, Persist):
                break
            self.carry_out(effect)
        left = self.sent
        self.start()
        self.sent = left + self.sent

    def carry_out(self, effect: Effect) -> None:
        self.history.append(effect)
        match effect:
            case Send(envelope):
                self.sent.append(envelope)
            case Persist():
                self.disk.write(effect)
                self.raft.persisted(effect.term, effect.last_index)
            case Commit(first, last):
                self.committed += self.disk.between(first, last)
                self.raft.applied(last)
            case ReadReady(contexts, index):
                self.ready |= dict.fromkeys(contexts, index)
            case ReadFailed(contexts):
                self.failed += contexts
            case Truncated(first):
                self.truncated.append(first)
            case SnapshotOffered():
                self.offered.append(effect)
            case ConfigurationChanged(configuration):
                self.configurations.append(configuration)
            case RoleChanged():
                pass


def node(
    identity: NodeId = "a",
    *,
    of: Iterable[NodeId] = "abc",
    learners: Iterable[NodeId] = "",
    log: Terms = (),
    term: int | None = None,
    vote: NodeId | None = None,
    commit: int = 0,
    seed: int = 1,
    **options: int,
) -> Node:
    """A node as it starts from a disk that holds this log, term and vote. The term is the log's last unless given."""
    held = list(entries(log))
    last_term = held[-1].term if held else 0
    disk = Disk(held, last_term if term is None else term, vote, commit)
    seed += sum(map(ord, identity))
    return Node(identity, Configuration.of(of, learners), disk, replace(OPTIONS, **options), seed)


def follower(identity: NodeId = "a", *, leader: NodeId = "b", **given: object) -> Node:
    """A follower that has just heard its leader."""
    made = node(identity, **{"term": 1, **given})  # type: ignore[arg-type]
    made.hears(heartbeat(), of=leader)
    return made


def candidate(identity: NodeId = "a", **given: object) -> Node:
    """A node that stands for election, one term after the one given."""
    made = node(identity, **given)  # type: ignore[arg-type]
    made.time_out()
    for voter in made.configuration.voters:
        if made.role is PRE_CANDIDATE and voter != identity:
            made.hears(vote(True, pre=True), of=voter, term=made.term + 1)
    assert made.role is CANDIDATE
    return made


def leader(identity: NodeId = "a", **given: object) -> Node:
    """A node that has just won an election, one term after the one given; its no-op is not committed."""
    made = candidate(identity, **given)
    for voter in made.configuration.voters:
        if made.role is CANDIDATE and voter != identity:
            made.hears(vote(True), of=voter)
    assert made.role is LEADER
    return made


Hold: TypeAlias = Callable[[Envelope], bool]


def never(envelope: Envelope) -> bool:
    return False


class Network:
    """Several nodes in lock step. Messages wait on the wire, in order, until `deliver`."""

    def __init__(self, *nodes: Node) -> None:
        self.nodes = {node.identity: node for node in nodes}
        self.wire: list[Envelope] = []
        self.held: list[Envelope] = []
        self.cut: set[tuple[NodeId, NodeId]] = set()
        self.down: set[NodeId] = set()

    def __getitem__(self, identity: NodeId) -> Node:
        return self.nodes[identity]

    @property
    def up(self) -> list[NodeId]:
        return [name for name in self.nodes if name not in self.down]

    @property
    def leaders(self) -> list[NodeId]:
        return [name for name in self.up if self.nodes[name].role is LEADER]

    @property
    def logs(self) -> list[list[int]]:
        return [each.log for each in self.nodes.values()]

    def part(self, here: Iterable[NodeId], there: Iterable[NodeId], *, one_way: bool = False) -> None:
        """Cut all links between these nodes, or only those from here to there."""
        for a in here:
            for b in there:
                self.cut |= {(a, b)} if one_way else {(a, b), (b, a)}

    def isolate(self, name: NodeId) -> None:
        self.part(name, [other for other in self.nodes if other != name])

    def heal(self) -> None:
        """Mend all links. What was lost stays lost; what was held is delivered late."""
        self.cut.clear()
        self.wire += self.held
        self.held = []

    def crash(self, name: NodeId) -> None:
        """Stop a node: what it has not synced is gone, and so is what is on the way to it."""
        self.down.add(name)
        self._collect()
        self.wire = [envelope for envelope in self.wire if envelope.receiver != name]

    def restart(self, *names: NodeId) -> None:
        for name in names:
            self.down.discard(name)
            self.nodes[name].start()

    def deliver(self, hold: Hold = never, *, rounds: int = 1000) -> None:
        """Deliver messages, and what comes of them, until all is quiet; those that `hold` picks wait for `heal`."""
        for _ in range(rounds):
            self._collect()
            if not self.wire:
                return
            arriving, self.wire = self.wire, []
            for envelope in arriving:
                if hold(envelope):
                    self.held.append(envelope)
                elif (envelope.sender, envelope.receiver) not in self.cut and envelope.receiver in self.up:
                    self.nodes[envelope.receiver].step(envelope)
        assert rounds < 1000, "the network never falls quiet"

    def lose_all(self) -> None:
        """Lose all that is on the way."""
        self._collect()
        self.wire = []

    def tick(self, ticks: int = 1, *, only: Iterable[NodeId] | None = None) -> None:
        """Let time pass on the nodes that are up, one tick at a time; messages take no time."""
        for _ in range(ticks):
            for name in self.nodes if only is None else only:
                if name not in self.down:
                    self.nodes[name].raft.tick()
                    self.nodes[name].settle()
            self.deliver()

    def elect(self, name: NodeId, *, hold: Hold = never) -> None:
        """Let this node win an election; one that was away must first learn the term."""
        for _ in range(3):
            self.campaign(name, hold=hold)
            if self.nodes[name].role is LEADER:
                return
        raise AssertionError(f"{name} was not elected")

    def campaign(self, name: NodeId, *, hold: Hold = never) -> None:
        """Let all wait until they hear no leader, and this node time out first."""
        for each in self.nodes.values():
            each.raft.leader_silence = each.options.election_ticks_max
            each.raft.draw_election_timeout()
        candidate = self.nodes[name]
        candidate.raft.tick(candidate.raft.election_timeout)
        candidate.settle()
        self.deliver(hold)

    def propose(self, payload: bytes = b"x") -> int:
        """Propose at the one leader and let all hear of it."""
        (name,) = self.leaders
        index = self.nodes[name].propose(payload)
        self.deliver()
        return index

    def beat(self) -> None:
        """Let the leaders' next heartbeats go out, and nothing else happen."""
        for name in self.leaders:
            self.tick(self.nodes[name].options.heartbeat_ticks, only=[name])

    def _collect(self) -> None:
        """Move what the nodes have sent to the wire; a leader with nothing else to do announces its commit index."""
        for _ in range(2):
            for name, each in self.nodes.items():
                self.wire += each.took()
                if not self.wire and name not in self.down:
                    each.raft.announce_commit()
                    each.settle()


def cluster(names: str = "abc", **given: object) -> Network:
    """Nodes with empty disks, on one network."""
    return Network(*(node(name, of=names, **given) for name in names))  # type: ignore[arg-type]


def led(names: str = "abc", **given: object) -> Network:
    """A cluster whose first node leads, with its no-op committed everywhere."""
    network = cluster(names, **given)
    network.elect(names[0])
    return network
