"""`Lab`: the nodes of a script, the wire between them, their clients, and what was said.

Rule: nothing moves by itself. What the nodes send waits on the wire, in order, until the script delivers it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from conflux.app import App
from conflux.node.origin import FromClient, Origin
from conflux.raft.configuration import Configuration
from conflux.raft.effects import RoleName
from conflux.raft.entry import Entry
from conflux.raft.messages import Envelope, NodeId
from conflux.wire import values
from conflux.wire.clients import Answers, CloseSession, OpenSession, Perform, SessionOpened
from tests.raft.harness import OPTIONS, Disk
from tests.scripts import words
from tests.scripts.nodes import ScriptNode

Pick = Callable[[Envelope], bool]
ROUNDS_MAX = 100


class ScriptError(Exception):
    """The script asks for what can't be done: it must be mended, no output stands for it."""


class LabClock:
    """Stands still until the script says otherwise."""

    now_s = 0.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_us(self) -> int:
        return 0


@dataclass
class Client:
    """Whoever holds a session: it knows which of its calls were answered."""

    name: str
    at: NodeId
    id: int | None = None
    answered: set[int] = field(default_factory=set)

    @property
    def first_unanswered(self) -> int:
        return next(number for number in range(len(self.answered) + 1) if number not in self.answered)


class Lab:
    """One script's world."""

    def __init__(self) -> None:
        self.nodes: dict[NodeId, ScriptNode] = {}
        self.wire: list[Envelope] = []
        self.delayed: list[Envelope] = []
        self.cut: set[tuple[NodeId, NodeId]] = set()
        self.down: set[NodeId] = set()
        self.clients: dict[str, Client] = {}
        self.clock = LabClock()
        self.app: App[Any, Any] | None = None
        self.lines: list[str] = []
        self.posted: list[Envelope] = []  # since the command began, lost ones too
        self.reads = 0
        self._committed: dict[int, Entry] = {}
        self._leaders: dict[int, str] = {}

    # -- the stage, as a node sees it

    def say(self, line: str) -> None:
        self.lines.append(line)

    def post(self, envelope: Envelope) -> None:
        lost = (envelope.sender, envelope.receiver) in self.cut or envelope.receiver in self.down
        self.say(words.message_line(envelope, self.names, lost=lost))
        self.posted.append(envelope)
        if not lost:
            self.wire.append(envelope)

    def entry(self, entry: Entry) -> str:
        return words.entry_words(entry, self.names)

    def committed(self, entry: Entry) -> None:
        known = self._committed.setdefault(entry.index, entry)
        assert known == entry, f"state machine safety (figure 3): {known} and {entry} are committed"

    def leads(self, name: str, term: int) -> None:
        assert self._leaders.setdefault(term, name) == name, f"election safety (figure 3): two leaders in term {term}"

    def reply(self, name: str, origin: Origin, message: Any) -> None:
        assert isinstance(origin, FromClient)
        client = self.clients[origin.handle.decode()]
        self.say(f"{client.name} <- {name}  {words.answer_words(message)}")
        if isinstance(message, SessionOpened):
            client.id = message.session
        if isinstance(message, Answers):
            client.answered |= {message.first_sequence + at for at in range(len(message.outcomes))}

    # -- what can be seen

    @property
    def names(self) -> dict[int, str] | None:
        """Session id → its name; None where entries are plain text."""
        return {each.id: each.name for each in self.clients.values() if each.id is not None} if self.app else None

    @property
    def up(self) -> list[NodeId]:
        return [name for name in self.nodes if name not in self.down]

    def clients_of(self, sessions: Iterable[int]) -> list[str]:
        """The names of these sessions, sorted; of one whose client has not heard of it, a question mark."""
        names = self.names or {}
        return sorted(names.get(session, "?") for session in sessions)

    def node(self, name: NodeId) -> ScriptNode:
        """A node that is there and can be asked."""
        if name not in self.up:
            raise ScriptError(f"no node {name} is up")
        if self.nodes[name].syncing:
            raise ScriptError(f"{name} waits for its disk")
        return self.nodes[name]

    # -- what can be done

    def add(self, name: NodeId, configuration: Configuration, disk: Disk) -> None:
        ticks = OPTIONS.election_ticks_min + 2 * (len(self.nodes) + 1)
        if name in self.nodes:
            ticks = self.nodes[name].patience.ticks
        self.nodes[name] = ScriptNode(name, configuration, disk, self, ticks, self.app)

    def tick(self, names: Iterable[NodeId]) -> None:
        for name in names:
            if not self.nodes[name].syncing:
                self.nodes[name].turn(self.nodes[name].raft.tick)

    def deliver(self, pick: Pick) -> bool:
        """Each node takes, as one turn, what was on the wire for it; one that waits for its disk takes nothing."""
        ready = {name for name in self.up if not self.nodes[name].syncing}
        arriving = [each for each in self.wire if each.receiver in ready and pick(each)]
        self.wire = [each for each in self.wire if not any(each is other for other in arriving)]
        for name in self.nodes:
            doors = [self._door(name, each) for each in arriving if each.receiver == name]
            if doors:
                self.nodes[name].turn(*doors)
        return bool(arriving)

    def deliver_all(self, pick: Pick) -> None:
        for _ in range(ROUNDS_MAX):
            if not self.deliver(pick):
                return
        raise ScriptError("the network never falls quiet")

    def lose(self, pick: Pick) -> bool:
        """Take messages off the wire."""
        lost = [each for each in self.wire if pick(each)]
        self.wire = [each for each in self.wire if not pick(each)]
        for each in lost:
            self.say(words.message_line(each, self.names, lost=True))
        return bool(lost)

    def crash(self, name: NodeId) -> None:
        if name not in self.up:
            raise ScriptError(f"{name} is down")
        log = self.nodes[name].raft.log
        for entry in log.unstable():
            self.say(f"{name} loses {self.entry(entry)}")
        self.down.add(name)
        self.lose(lambda each: each.receiver == name)

    def restart(self, name: NodeId) -> None:
        if name not in self.down:
            raise ScriptError(f"{name} is up")
        self.down.discard(name)
        self.nodes[name].start()

    def elect(self, name: NodeId) -> None:
        """Let this node win an election, as if all had waited long enough; without a word."""
        said = self.lines
        self.lines = []
        for each in self.nodes.values():
            each.raft.leader_silence = OPTIONS.election_ticks_max
            each.raft.draw_election_timeout()
        raft = self.node(name).raft
        self.node(name).turn(lambda: raft.tick(raft.election_timeout))
        self.deliver_all(lambda each: True)
        self.lines = said
        if raft.role.name is not RoleName.LEADER:
            raise ScriptError(f"{name} was not elected")

    # -- clients

    def request(self, client: Client, request: OpenSession | Perform | CloseSession, saying: str) -> None:
        """Send a request to the leader; passing on by followers isn't played here."""
        node = self.node(client.at)
        if node.role is not RoleName.LEADER:
            raise ScriptError(f"{client.at} does not lead")
        self.say(f"{client.name} -> {client.at}  {saying}")
        node.turn(lambda: node.take(FromClient(client.name.encode()), request))

    def perform(self, client: Client, sequence: int, calls: list[list[Any]]) -> None:
        if client.id is None:
            raise ScriptError(f"the session {client.name} is not open")
        packed = [("", b"") if call == ["void"] else (call[0], values.encode(call[1:])) for call in calls]
        said = ", ".join(f"{number} {' '.join(map(str, call))}" for number, call in enumerate(calls, sequence))
        request = Perform(0, client.id, client.first_unanswered, sequence, packed)
        self.request(client, request, f"Perform {said}; first unanswered {client.first_unanswered}")

    def _door(self, name: NodeId, envelope: Envelope) -> Callable[[], None]:
        return lambda: self.nodes[name].raft.step(envelope)
