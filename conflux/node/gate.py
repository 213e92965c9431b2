"""`Gate`: where a node takes the frames of other nodes. Who is no member gets no further."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conflux.errors import MalformedFrame
from conflux.node.origin import FromPeer
from conflux.raft.messages import Envelope
from conflux.wire.frames import PeerFrame
from conflux.wire.peers import (
    PEERS,
    RAFT_MESSAGES,
    AskReadIndex,
    AskSnapshot,
    AskStateHash,
    Candidate,
    Forward,
    ForwardReply,
    Hashes,
    Hello,
    ReadIndex,
    Removed,
    SnapshotGone,
    SnapshotPart,
    StateHashThere,
)

if TYPE_CHECKING:
    from conflux.node.node import Node


class Gate:
    """The peers' side of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def take(self, data: bytes, now_s: float) -> None:
        """Take a frame; what doesn't decode, or comes from a stranger, is counted and dropped."""
        node = self._node
        try:
            frame = PEERS.decode_from_peer(data)
        except MalformedFrame:
            node.counts["malformed"] += 1
            return
        if isinstance(frame.message, Hello):
            node.founding.hear(frame, frame.message, now_s)
        elif node.founding.is_from_a_member(frame):
            self._take_from_member(frame, now_s)
        else:
            node.counts["strangers"] += 1

    def _take_from_member(self, frame: PeerFrame, now_s: float) -> None:
        node, member, message = self._node, self._node.member, frame.message
        assert member is not None
        if type(message) in RAFT_MESSAGES:
            if not member.replica.is_stuck:
                member.replica.raft.step(Envelope(frame.sender, frame.receiver, frame.term, message))
            return
        match message:
            case Forward(handle=handle, frame=inner):
                node.desk.take_frame(FromPeer(frame.sender, handle), inner)
            case ForwardReply(handle=handle, frame=inner):
                node.desk.relay(handle, inner)
            case AskReadIndex():
                member.readers.answer_peer(frame.sender, message)
            case ReadIndex():
                member.readers.peer_answered(message)
            case AskSnapshot() | SnapshotPart() | SnapshotGone():
                member.snapshots.take(frame.sender, message)
                member.chores.look_soon()
            case Candidate():
                node.candidates.hear(message, now_s)
            case Removed():
                node.founding.was_removed()
            case Hashes() | AskStateHash() | StateHashThere():
                member.guard.hear(frame.sender, message)
                member.chores.look_soon()
