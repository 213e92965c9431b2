"""Which messages a command means: `a->b`, `*->c Append`, `except a->b`."""

from __future__ import annotations

from typing import get_args

from conflux.raft import messages
from conflux.raft.messages import Envelope, NodeId
from tests.scripts.lab import Pick, ScriptError

MESSAGES = {kind.__name__ for kind in get_args(messages.Message)}


def picked(rest: list[str]) -> Pick:
    """Which messages these words mean: any of the links, and any of the kinds."""
    but = rest[:1] == ["except"]
    links = [word for word in rest if "->" in word]
    kinds = [word for word in rest if word in MESSAGES]
    if len(links) + len(kinds) + but != len(rest):
        raise ScriptError(f"{' '.join(rest)!r} names no messages")

    def pick(envelope: Envelope) -> bool:
        link_fits = not links or any(on_link(link, envelope.sender, envelope.receiver) for link in links)
        return but != (link_fits and (not kinds or type(envelope.message).__name__ in kinds))

    return pick


def on_link(link: str, sender: NodeId, receiver: NodeId) -> bool:
    here, there = link.split("->")
    return here in ("*", sender) and there in ("*", receiver) and sender != receiver
