"""Names what a node persists, sends and answers, as system calls that fail and that `strace` shows among the real ones.

A mark stands *before* the frame is handed to the transport, whose own thread sends it: nothing can leave earlier.
"""

from __future__ import annotations

import os
from typing import Any

from points import around

ROOT = "/conflux-mark"


def mark(*words: object) -> None:
    """Say these words to who traces this process."""
    os.access("/".join([ROOT, *map(str, words)]), os.F_OK)


def set_marks() -> None:
    """Mark writes, replies of Raft and answers to clients."""
    from conflux.node.desk import Desk
    from conflux.node.links import Links
    from conflux.raft.messages import Accepted, VoteReply, VoteRequest
    from conflux.storage.lmdb_storage import LmdbStorage
    from conflux.wire.clients import Answers

    def persist(_self: Any, *, term: int, vote: str | None, entries: Any, **_rest: Any) -> None:
        mark("persist", term, vote or "-", entries[-1].index if entries else 0)

    def persisted(_self: Any, **_rest: Any) -> None:
        mark("persisted")

    def send(_self: Any, envelope: Any) -> None:
        match envelope.message:
            case Accepted(match_index=index):
                mark("accepted", envelope.term, index)
            case VoteReply(pre=False, granted=True):
                mark("vote", envelope.term, envelope.receiver)
            case VoteRequest(pre=False):
                mark("vote", envelope.term, envelope.sender)  # its own, in effect

    def answer(_self: Any, _origin: Any, message: Any) -> None:
        if isinstance(message, Answers):
            mark("answer", message.term, message.index)

    around(LmdbStorage, "persist", before=persist, after=persisted)
    around(Links, "send_raft", before=send)
    around(Desk, "reply", before=answer)
