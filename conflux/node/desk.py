"""`Desk`: where a node takes its clients' messages, answers what it can, and passes on what only the leader may."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from conflux import limits
from conflux.errors import MalformedFrame
from conflux.node.leadership import Leadership
from conflux.node.origin import HERE, HERE_HANDLE, FromClient, FromHere, FromPeer, Origin
from conflux.node.status import end_of_log, report_of
from conflux.node.waiting import Request, Waiting
from conflux.raft.effects import RoleChanged, RoleName
from conflux.storage.interface import SnapshotHeader
from conflux.store.turn import NO_REQUEST
from conflux.wire.clients import (
    CLIENTS,
    AskChunk,
    AskLog,
    AskMembers,
    AskStatus,
    BackUp,
    ChangeMembers,
    CloseSession,
    Code,
    Done,
    LeaderIs,
    LogText,
    Members,
    OpenSession,
    Perform,
    Read,
    ReadAt,
    ReadMore,
    Refused,
    SnapshotTaken,
    Status,
    TakeSnapshot,
    TransferLeadership,
    Unwatch,
    Watch,
)
from conflux.wire.peers import Forward, ForwardReply

if TYPE_CHECKING:
    from conflux.node.node import Node


class Desk:
    """The clients' side of one node.

    Attributes:
        leadership: what this node does while it leads and takes requests.
    """

    def __init__(self, node: Node) -> None:
        self.leadership: Leadership | None = None
        self._node = node
        self._parked = Waiting()  # for a leader that isn't ready yet: this node
        self._forwarding: dict[bytes, None] = {}  # clients whose requests went to the leader of now
        self._put_off: list[tuple[Origin, Any]] = []  # messages that came while a leader's turn was under way

    def take_frame(self, origin: Origin, frame: bytes) -> None:
        """Take a client's frame; what doesn't decode is counted and dropped."""
        message = self._decoded(frame)
        if message is not None:
            self.take(origin, message)

    def take_call(self, origin: Origin, frame: bytes) -> None:
        """Take a client's frame if it holds calls; what else it may hold waits for `take_what_was_put_off`."""
        message = self._decoded(frame)
        if isinstance(message, Perform):
            self.take(origin, message)
        elif message is not None:
            self._put_off.append((origin, message))

    def take_what_was_put_off(self) -> None:
        """Take what `take_call` did not, in its order."""
        if not self._put_off:
            return
        put_off, self._put_off = self._put_off, []
        for origin, message in put_off:
            self.take(origin, message)

    def take(self, origin: Origin, message: Any) -> None:
        """Take a client's message."""
        if type(message) is Perform:
            if self.leadership is not None:  # whoever leads is a member that serves
                self.leadership.take(origin, message)
                return
        elif self._node.member is not None:
            self._node.member.chores.look_soon()
        match message:
            case AskStatus():
                report = msgspec.json.encode(report_of(self._node))
                self.reply(origin, Status(message.request, report))
            case AskLog():
                self.reply(
                    origin, LogText(message.request, self._node.directory.self.label, end_of_log(self._node.log_file))
                )
            case AskMembers():
                self.reply(origin, Members(message.request, self._addresses()))
            case _ if self._node.directory.removed:
                self._send_on(origin, message)
            case _ if self._node.founding.is_outside:
                self._refuse(origin, message, Code.NOT_READY, "this node was let in, and does not know of it yet")
            case OpenSession() | Perform() | CloseSession():
                self._to_leader(origin, message)
            case ChangeMembers():
                self._change_members(origin, message)
            case TakeSnapshot():
                self._take_snapshot(origin, message)
            case TransferLeadership():
                self._transfer(origin, message)
            case Unwatch():
                if self._node.member is not None:
                    self._node.member.watchers.unwatch(origin, message.watch)
            case Read() | ReadMore() | ReadAt() | Watch():
                self._look(origin, message)
            case BackUp() | AskChunk():
                self._back_up(origin, message)
            case _:
                self._node.counts["unexpected"] += 1

    def lead(self, leadership: Leadership) -> None:
        """This node takes requests from now on."""
        self.leadership = leadership
        while self._parked:
            leadership.take(*self._parked.take())

    def role_changed(self, change: RoleChanged) -> None:
        """Role, term or leader changed: what the old leader had taken is open now, and whoever waits is told."""
        leader = self._node.address_of(change.leader) if change.leader else None
        hint = LeaderIs(leader or "", resend=True)
        ended = self.leadership
        if ended is not None and (change.role is not RoleName.LEADER or change.term != ended.term):
            self.leadership = None
            for origin in ended.end():
                self.reply(origin, hint)
        if change.role is not RoleName.LEADER:
            while self._parked:
                origin, request = self._parked.take()
                self._refuse(origin, request, Code.NO_LEADER, "the leader has changed")
        if change.leader is not None:
            for handle in self._forwarding:
                self.reply(FromClient(handle), hint)
            self._forwarding.clear()
            self.reply(HERE, hint)

    def relay(self, handle: bytes, frame: bytes) -> None:
        """Hand the leader's answer to whoever asked this follower."""
        if handle != HERE_HANDLE:
            self._node.channel.reply(handle, frame)
            return
        message = self._decoded(frame)
        if message is not None:
            self._node.on_local_message(message)

    def reply(self, origin: Origin, message: Any) -> bool:
        """Hand a message to whoever asked. False: gone, or too slow."""
        match origin:
            case FromClient(handle):
                return self._node.channel.reply(handle, CLIENTS.encode_for_client(message))
            case FromPeer(identity, handle):
                return self._node.links.send(identity, ForwardReply(handle, CLIENTS.encode_for_client(message)))
            case FromHere():
                self._node.on_local_message(message)
                return True

    # -- inside --------------------------------------------------------------------------------------------------

    def _decoded(self, frame: bytes) -> Any | None:
        """What a client's frame, or one for a client, holds; what doesn't decode is counted."""
        try:
            return CLIENTS.decode_from_client(frame)
        except MalformedFrame:
            self._node.counts["malformed"] += 1
            return None

    def _addresses(self) -> list[str]:
        """Where the voters are, as far as that is known."""
        found = map(self._node.address_of, self._node.membership().voters)
        return [address for address in found if address is not None]

    def _send_on(self, origin: Origin, message: Any) -> None:
        """This node was removed: it serves nobody, and names others that may: as hints, since its news are old."""
        addresses = [each for each in self._addresses() if each != self._node.channel.address]
        self._refuse(origin, message, Code.NOT_READY, "this node was removed from the cluster")
        if addresses:
            self.reply(origin, Members(NO_REQUEST, addresses))

    def _to_leader(self, origin: Origin, message: Request) -> None:
        """Take a request that only the leader answers, or pass it on: once, so that it can't go round."""
        if self._node.member is None:
            return self._refuse_while_forming(origin, message)
        replica = self._node.member.replica
        if replica.doubt is not None:
            return self._refuse(origin, message, Code.NOT_READY, str(replica.doubt))
        leader = replica.raft.leader
        if leader == self._node.directory.self.identity:
            if self.leadership is not None:
                self.leadership.take(origin, message)
            elif not self._parked.add(origin, message):
                self._refuse(origin, message, Code.BUSY, "too many requests are waiting")
            return None
        if leader is None or isinstance(origin, FromPeer):
            return self._refuse(origin, message, Code.NO_LEADER, "no leader")
        return self._forward(leader, origin, message)

    def _forward(self, leader: str, origin: Origin, message: Any) -> None:
        handle = origin.handle if isinstance(origin, FromClient) else HERE_HANDLE
        frame = CLIENTS.encode_for_client(message)
        if len(frame) > limits.FORWARDED_BYTES_MAX:
            self._refuse(origin, message, Code.BAD_ARGUMENTS, "the frame is too large to be passed on to the leader")
        elif not self._node.links.send(leader, Forward(handle, frame)):
            self._refuse(origin, message, Code.NO_LEADER, "the leader can't be reached from this node")
        elif isinstance(origin, FromClient):
            if handle not in self._forwarding:
                self._forwarding[handle] = None
                self.reply(origin, LeaderIs(self._node.address_of(leader) or ""))
            if len(self._forwarding) > limits.TURN_FRAMES_MAX:
                self._forwarding.clear()

    def _look(self, origin: Origin, message: Read | ReadMore | ReadAt | Watch) -> None:
        member = self._node.member
        if member is None:
            return self._refuse_while_forming(origin, message)
        match message:
            case Read():
                member.readers.read(origin, message)
            case ReadMore():
                member.readers.read_more(origin, message)
            case ReadAt():
                member.readers.read_at(origin, message)
            case Watch():
                member.watchers.watch(origin, message, self._node.now_s())
        return None

    def _back_up(self, origin: Origin, message: BackUp | AskChunk) -> None:
        member = self._node.member
        if member is None:
            self._refuse_while_forming(origin, message)
        elif isinstance(message, BackUp):
            member.readers.when_confirmed(origin, message.request, lambda: member.backups.begin(origin, message))
        else:
            member.backups.chunk(origin, message)

    def _transfer(self, origin: Origin, message: TransferLeadership) -> None:
        replica = self._node.member.replica if self._node.member is not None else None
        raft = replica.raft if replica is not None and not replica.is_stuck else None
        if raft is not None and raft.leader not in (None, raft.identity) and not isinstance(origin, FromPeer):
            self._forward(str(raft.leader), origin, message)
        elif raft is not None and raft.transfer_leadership(message.target or raft.most_level_voter() or ""):
            self.reply(origin, Done(message.request))
        else:
            self._refuse(origin, message, Code.NO_LEADER, "leadership can't be handed to that node now")

    def _change_members(self, origin: Origin, message: ChangeMembers) -> None:
        leader = self._node.member.replica.raft.leader if self._node.member is not None else None
        if self.leadership is not None and self.leadership.changes is not None:
            self.leadership.changes.take(origin, message)
        elif leader in (None, self._node.directory.self.identity) or isinstance(origin, FromPeer):
            self._refuse(origin, message, Code.NO_LEADER, "no leader")
        else:
            self._forward(str(leader), origin, message)

    def _take_snapshot(self, origin: Origin, message: TakeSnapshot) -> None:
        if self._node.member is None:
            return self._refuse_while_forming(origin, message)

        def taken(header: SnapshotHeader | None, body_bytes: int, why: str) -> None:
            if header is None:
                self._refuse(origin, message, Code.NOT_READY, f"no snapshot was taken: {why}")
            else:
                self.reply(origin, SnapshotTaken(message.request, header.index, header.revision, body_bytes))

        return self._node.member.snapshots.snapshotter.take_now(taken)

    def _refuse_while_forming(self, origin: Origin, message: Any) -> None:
        self._refuse(origin, message, Code.NOT_READY, self._node.waiting_for() or "not ready")

    def _refuse(self, origin: Origin, message: Any, code: Code, text: str) -> None:
        if isinstance(message, Watch):
            self.reply(origin, Refused(message.watch, code, text))
        elif not isinstance(message, CloseSession | Unwatch):
            self.reply(origin, Refused(message.request, code, text))
