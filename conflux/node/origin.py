"""Where a request came from, and how its answer finds the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class FromClient:
    """A client on this node's own channel."""

    handle: bytes


@dataclass(frozen=True, slots=True)
class FromPeer:
    """Passed on by a follower; the handle is the follower's."""

    identity: str
    handle: bytes


@dataclass(frozen=True, slots=True)
class FromHere:
    """The program that embeds this node."""


Origin: TypeAlias = FromClient | FromPeer | FromHere
HERE = FromHere()
HERE_HANDLE = b""  # stands for FromHere in a frame that is passed on; a channel's handles are never empty
