"""Nodes in one thread, with a clock, a network and disks that are in the test's hands. Nothing here ever waits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from conflux import limits
from conflux.app import App
from conflux.discovery.interface import StaticPeers
from conflux.errors import DiskFull, StorageFailed
from conflux.node import directory as directories
from conflux.node.directory import Directory
from conflux.node.node import Node
from conflux.node.options import NodeOptions
from conflux.raft.entry import Entry
from conflux.storage.archive import Archive
from conflux.storage.memory import MemoryStorage
from conflux.transport.memory_inbox import INBOX_FRAMES_MAX
from conflux.wire import values
from conflux.wire.clients import CLIENTS, Answers, OpenSession, Perform, SessionOpened
from tests.store.harness import make_app

STEP_S = 0.005


class NotSo(AssertionError):
    """What was waited for did not come."""


class FrameTooLong(AssertionError):
    """A real channel raises InvariantViolated at such a frame, which ends the node's loop."""


class Clock:
    """Time passes when the world says so, or while a disk is slow."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic_s(self) -> float:
        return self.now_s

    def wall_us(self) -> int:
        return 1_700_000_000_000_000 + int(self.now_s * 1e6)


class Disk(MemoryStorage):
    """A storage whose writes may find no room, take their time, or fail."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.is_full = self.is_broken = False
        self.slow_s = 0.0
        self.syncs = 0

    def persist(self, *, term: int, vote: str | None, entries: Sequence[Entry], commit_index: int) -> None:
        if self.is_full:
            raise DiskFull("no space left on device")
        if self.is_broken:
            raise StorageFailed("Input/output error")
        self.clock.now_s += self.slow_s
        self.syncs += 1
        super().persist(term=term, vote=vote, entries=entries, commit_index=commit_index)

    def reopened(self) -> Disk:
        twin = Disk(self.clock)
        content = super().reopened()
        twin.__dict__.update(content.__dict__)
        return twin


class Wire:
    """A node's channel: frames arrive at once, unless the world has cut the link."""

    def __init__(self, world: World, address: str) -> None:
        self.address = address
        self.world = world
        self.dialled: set[str] = set()
        self.from_peers: list[bytes] = []
        self.from_clients: list[tuple[bytes, bytes]] = []
        self.woken = 0
        self.closed = False
        self.polls: list[float] = []
        self.on_poll: Callable[[], None] = lambda: None

    def dial(self, address: str) -> None:
        self.dialled.add(address)

    def hang_up(self, address: str) -> None:
        self.dialled.discard(address)

    def send(self, address: str, frame: bytes) -> bool:
        check_length(frame)
        target = self.world.wires.get(address)
        if address not in self.dialled or target is None or (self.address, address) in self.world.cut:
            return False
        if len(target.from_peers) < INBOX_FRAMES_MAX:
            target.from_peers.append(frame)
        return True

    def reply(self, client: bytes, frame: bytes) -> bool:
        check_length(frame)
        user = self.world.users.get(client)
        if user is None or user.is_gone:
            return False
        user.inbox.append(CLIENTS.decode_from_client(frame))
        return True

    def poll(self, timeout_s: float) -> None:
        self.polls.append(timeout_s)
        self.on_poll()

    def receive_from_peers(self, frames_max: int) -> list[bytes]:
        frames, self.from_peers = self.from_peers[:frames_max], self.from_peers[frames_max:]
        return frames

    def receive_from_clients(self, frames_max: int) -> list[tuple[bytes, bytes]]:
        frames, self.from_clients = self.from_clients[:frames_max], self.from_clients[frames_max:]
        return frames

    receive_more_from_clients = receive_from_clients

    def wake(self) -> None:
        self.woken += 1

    def refusing(self) -> list[str]:
        return []

    def counters(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        self.closed = True


class User:
    """A client without any cleverness: what it sends and what comes back."""

    def __init__(self, world: World, node: Node) -> None:
        self.world = world
        self.node = node
        self.handle = b"user%d" % len(world.users)
        self.inbox: list[Any] = []
        self.is_gone = False
        self.session = 0
        self.next_sequence = 0
        self.requests = 0
        world.users[self.handle] = self

    def send(self, message: Any) -> None:
        self.send_frame(CLIENTS.encode_for_client(message))

    def send_frame(self, frame: bytes) -> None:
        wire: Any = self.node.channel
        wire.from_clients.append((self.handle, frame))

    def number(self) -> int:
        self.requests += 1
        return self.requests

    def ask(self, message: Any, kind: type | tuple[type, ...], seconds_max: float = 5.0) -> Any:
        """Send, and let time pass until an answer of that kind is there; gives it."""
        del self.inbox[:]
        self.send(message)
        return self.wait_for(kind, seconds_max)

    def wait_for(self, kind: type | tuple[type, ...], seconds_max: float = 5.0) -> Any:
        self.world.until(lambda: any(isinstance(message, kind) for message in self.inbox), seconds_max)
        return self.got(kind)[-1]

    def got(self, kind: type | tuple[type, ...]) -> list[Any]:
        return [message for message in self.inbox if isinstance(message, kind)]

    def open(self) -> int:
        self.session = self.ask(OpenSession(self.number()), SessionOpened).session
        self.next_sequence = 0
        return self.session

    def request(self, *calls: tuple[Any, ...], first: int | None = None, appended: bool = False) -> Perform:
        """The next calls of the session, or a repeat from `first` on; answers to all before them were seen."""
        begin = self.next_sequence if first is None else first
        self.next_sequence = max(self.next_sequence, begin + len(calls))
        packed = [(call[0], values.encode(list(call[1:]))) for call in calls]
        return Perform(self.number(), self.session, begin, begin, packed, appended)

    def perform(self, *calls: tuple[Any, ...], first: int | None = None) -> Answers:
        if not self.session:
            self.open()
        answers: Answers = self.ask(self.request(*calls, first=first), Answers)
        return answers


class World:
    """A cluster of `size`, with every node's directory made and every link there."""

    def __init__(self, size: int = 1, app: App[Any, Any] | None = None, seed: int = 1, **options: Any) -> None:
        self.more_options = options
        self.clock = Clock()
        self.random = Random(seed)
        self.app = app or make_app()
        self.size = size
        self.wires: dict[str, Wire] = {}
        self.users: dict[bytes, User] = {}
        self.cut: set[tuple[str, str]] = set()
        self.nodes: dict[str, Node] = {}
        self.addresses = tuple(f"at-{label}" for label in "abcdefghi"[:size])
        for label in "abcdefghi"[:size]:
            self.start(label)

    def options(self, label: str) -> NodeOptions:
        return NodeOptions(cluster="test", label=label, size=self.size, settle_s=0.0, **self.more_options)

    def join(self, label: str, token: str = "", *, identity: str | None = None) -> Node:
        """Start a node that wants to join; everybody finds it."""
        options = NodeOptions(cluster="test", label=label, size=0, settle_s=0.0, join=token, **self.more_options)
        return self._start(label, options, Disk(self.clock), self.app, identity or label.encode().hex().rjust(32, "0"))

    def start(self, label: str, disk: Disk | None = None, app: App[Any, Any] | None = None) -> Node:
        """Start a node: a new one, or one that finds its disk as it left it."""
        options, app = self.options(label), app or self.app
        if disk is None:
            return self._start(label, options, Disk(self.clock), app, label.encode().hex().rjust(32, "0"))
        return self._start(label, options, disk, app)

    def _start(
        self, label: str, options: NodeOptions, disk: Disk, app: App[Any, Any], identity: str | None = None
    ) -> Node:
        if identity is not None:
            directory = directories.create(disk, options, app, identity=identity, public_key="p", secret_key="s")
        else:
            directory = directories.read(disk)
        wire = self.wires[f"at-{label}"] = Wire(self, f"at-{label}")
        random = Random(self.random.getrandbits(32))
        self.addresses = tuple(dict.fromkeys([*self.addresses, f"at-{label}"]))
        peers = StaticPeers(self.peers_of(label))
        archive = self.archive_for(directory)
        node = Node(options, app, directory, wire, self.clock, random, discovery=peers, archive=archive)
        self.nodes[label] = node
        return node

    def peers_of(self, label: str) -> tuple[str, ...]:
        """The addresses that a node is started with."""
        return self.addresses

    def archive_for(self, directory: Directory) -> Archive | None:
        """Where a node keeps what it cuts of its log."""
        return None

    def restart(self, label: str, app: App[Any, Any] | None = None) -> Node:
        disk = self.disk(label).reopened()
        return self.start(label, disk, app)

    def stop(self, label: str) -> None:
        del self.nodes[label]
        del self.wires[f"at-{label}"]

    def disk(self, label: str) -> Disk:
        disk = self.nodes[label].directory.storage
        assert isinstance(disk, Disk)
        return disk

    def isolate(self, label: str) -> None:
        """Cut every link of a node to the others, both ways; what is on its way is lost."""
        for wire in self.wires.values():
            wire.from_peers.clear()
        own = f"at-{label}"
        self.cut |= {pair for other in self.addresses if other != own for pair in ((own, other), (other, own))}

    def heal(self) -> None:
        self.cut.clear()

    def step(self, seconds: float = STEP_S) -> None:
        self.clock.now_s += seconds
        for label in sorted(self.nodes):
            self.nodes[label].turn()
            self.nodes[label].wait_s()

    def run(self, seconds: float) -> None:
        end_s = self.clock.now_s + seconds
        while self.clock.now_s < end_s:
            self.step()

    def until(self, condition: Callable[[], object], seconds_max: float = 5.0) -> None:
        """Let time pass until something is so."""
        end_s = self.clock.now_s + seconds_max
        while not condition():
            if self.clock.now_s >= end_s:
                raise NotSo(f"not so within {seconds_max} s of the world's time")
            self.step()

    def leader(self) -> Node:
        """The node that leads and takes requests, once there is one."""
        self.until(lambda: len(self.leaders()) == 1)
        return self.leaders()[0]

    def leaders(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.is_leading]

    def followers(self) -> list[Node]:
        """All but the leader."""
        leader = self.leader()
        self.until(lambda: all(node.replica and node.replica.raft.leader for node in self.nodes.values()))
        return [node for node in self.nodes.values() if node is not leader]

    def user(self, node: Node | None = None) -> User:
        return User(self, node or self.leader())


def check_length(frame: bytes) -> None:
    if len(frame) > limits.FRAME_BYTES_MAX:
        raise FrameTooLong(f"{len(frame):,} bytes")


def label_of(node: Node) -> str:
    return node.directory.self.label
