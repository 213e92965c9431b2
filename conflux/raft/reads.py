"""Linearizable reads without a log entry: ReadIndex (section 6.4 of the thesis)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conflux.raft import heartbeats
from conflux.raft.configuration import quorum_index
from conflux.raft.effects import ReadFailed, ReadReady
from conflux.raft.roles import Leader, PendingRead

if TYPE_CHECKING:
    from conflux.raft.core import Raft


def begin_round(raft: Raft, role: Leader) -> None:
    """Begin the confirmation of all reads that came in since the last one.

    The round is fresh: only answers to heartbeats sent after the reads arrived may confirm them. Before this term's
    no-op is committed the leader doesn't know what is committed, so reads wait for it.
    """
    if not role.unconfirmed or not raft.serves:
        return
    heartbeats.broadcast(raft, role)
    role.reads += [PendingRead(context, raft.commit_index, role.round) for context in role.unconfirmed]
    role.unconfirmed = []
    confirm(raft, role)


def confirm(raft: Raft, role: Leader) -> None:
    """Release the reads whose round a quorum has answered."""
    if not role.reads:
        return
    acked = {peer: progress.acked_round for peer, progress in role.progress.items()}
    acked[raft.identity] = role.round
    confirmed = quorum_index(acked, raft.configuration)
    ready = [read for read in role.reads if read.round <= confirmed]
    if not ready:
        return
    role.reads = role.reads[len(ready) :]
    raft.send_late(ReadReady(tuple(read.context for read in ready), max(read.index for read in ready)))


def fail_all(raft: Raft, role: Leader) -> None:
    """Leadership ends: no read that waits can be answered here."""
    contexts = tuple(read.context for read in role.reads) + tuple(role.unconfirmed)
    if contexts:
        raft.send_late(ReadFailed(contexts))
