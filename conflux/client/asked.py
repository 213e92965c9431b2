"""`Asked`: a question of a client that is asked until it is answered."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

from conflux.errors import Busy, ChangeRefused, ConfluxError, NoLeader, NotApplied, NotReady, NotRetained
from conflux.wire.clients import AskChunk, BackUp, ChangeMembers, Code, Read, ReadAt, Refused, TakeSnapshot

ASK_AGAIN_SECONDS = 0.3  # a read that isn't answered is asked again, of another node
PATIENCE_SECONDS = 3.0  # what a node has to write before it answers
PAUSE_SECONDS = 0.05  # after a refusal that says: not now

_SLOW = ChangeMembers | TakeSnapshot | ReadAt | BackUp
_ASKED_AGAIN = Read | ReadAt | BackUp | ChangeMembers
_NOT_NOW = {Code.NO_LEADER: NoLeader, Code.NOT_READY: NotReady, Code.BUSY: Busy}


def unreadable(why: str) -> ConfluxError:
    """The error where a state can't be told to anybody, for what the reducer, or the app's `dump`, has made of it."""
    return ConfluxError(f"the state can't be read: {why}", hint="Mend the reducer, or the app's dump.")


class Asked:
    """One question, and what has come of it so far."""

    def __init__(self, message: Any, address: str | None = None) -> None:
        self.message = message
        self.address = address  # of the one node that can answer; None: any
        self.future: Future[Any] = Future()
        self.parts = bytearray()
        self.revision = 0
        self.index = 0
        self.asked_s = 0.0  # 0: not on its way
        self.asked_of = ""  # the address
        self.heard_s = 0.0
        self.refusal: ConfluxError | None = None  # why the last attempt failed
        self.may_be_done = False  # an attempt was sent and neither answered nor refused
        self.again_s = PATIENCE_SECONDS if isinstance(message, _SLOW) else ASK_AGAIN_SECONDS
        self._is_open = False

    @property
    def outcome_is_open(self) -> bool:
        """True where it would be wrong to say that nothing was done."""
        return isinstance(self.message, ChangeMembers) and (self.may_be_done or self._is_open)

    def sent(self, now_s: float, address: str) -> None:
        """It is on its way."""
        self.asked_s, self.asked_of, self._is_open = now_s, address, True

    def is_being_answered(self, now_s: float) -> None:
        """Whoever was asked is at work on it."""
        if self.asked_s:
            self.asked_s = self.heard_s = now_s

    def give_up_attempt(self) -> None:
        """It is to be sent anew."""
        self.asked_s = 0.0
        self.parts.clear()
        self.may_be_done = self.may_be_done or self._is_open
        self._is_open = False

    def leader_changed(self) -> None:
        """What waited with the old leader may be lost with it."""
        if self._is_open and isinstance(self.message, ChangeMembers):
            self.give_up_attempt()

    def refused(self, refused: Refused, now_s: float) -> ConfluxError | None:
        """A node refuses: the error where that is the last word, None where it is asked again."""
        self._is_open = False
        if refused.code is Code.NO_ENCODING:
            return unreadable(refused.message)
        not_now = _NOT_NOW.get(refused.code, NoLeader if isinstance(self.message, Read) else None)
        if isinstance(self.message, _ASKED_AGAIN) and not_now is not None:
            self.refusal = not_now(refused.message)
            self.parts.clear()
            self.asked_s = now_s - self.again_s + PAUSE_SECONDS
            return None
        if isinstance(self.message, ReadAt | AskChunk):
            return NotRetained(refused.message, hint=refused.hint)
        return (
            ChangeRefused(refused.message) if isinstance(self.message, ChangeMembers) else NotApplied(refused.message)
        )
