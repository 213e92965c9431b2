"""`Replays`: states of the past that a node keeps to fold its log anew from, for itself and for others that ask."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from conflux import limits
from conflux.app import App
from conflux.node.replica import Replica
from conflux.store.machine import Machine
from conflux.store.records import header_of
from conflux.store.replay import Known, Replay
from conflux.wire.peers import AskStateHash, StateHashThere

STATES_KEPT = 4  # at hash points; a large state that is copied at each action is held as often


@dataclass(frozen=True, slots=True)
class _Answer:
    """What another node wants to know."""

    revision: int
    replay: Replay


class Replays:
    """One node's.

    Args:
        send: sends a message to a member.
    """

    def __init__(self, replica: Replica, app: App[Any, Any], send: Callable[[str, Any], object]) -> None:
        self._replica = replica
        self._app = app
        self._send = send
        self._kept: deque[Known] = deque(maxlen=STATES_KEPT)
        self._answers: dict[str, _Answer] = {}
        self.begin_anew()

    def begin_anew(self) -> None:
        """The replica's machine is what all folding begins with: out of a snapshot, or the initial one."""
        self._first = Known(self._replica.machine.revision, self._replica.machine.state)
        self._kept.clear()
        self._answers.clear()

    @property
    def has_work(self) -> bool:
        """True while an answer is being made."""
        return bool(self._answers)

    def keep(self, machine: Machine) -> None:
        """Keep a state, in place of the oldest."""
        self._kept.append(Known(machine.revision, machine.state))

    def state_at(self, revision: int) -> Known | None:
        """The state at a hash point's revision, if it is kept."""
        return next((known for known in (self._first, *self._kept) if known.revision == revision), None)

    def open(self, first_revision: int, last_revision: int) -> Replay | None:
        """A replay that comes to these revisions; None where the log no longer holds what it takes."""
        log, machine = self._replica.raft.log, self._replica.machine
        kept = [known for known in (self._first, *self._kept) if known.revision <= first_revision]
        base = kept[-1] if kept else None
        if base is None or last_revision > machine.revision or base.revision + 1 < self._first_held_revision():
            return None
        return Replay(self._app, log.entries, first=log.first_index, last=machine.index, base=base)

    def _first_held_revision(self) -> int:
        """The first revision whose action the log still holds, or the next one's."""
        log, machine = self._replica.raft.log, self._replica.machine
        if log.first_index > machine.index:
            return machine.revision + 1
        (first,) = log.entries(log.first_index, log.first_index, 1)
        return header_of(first.payload).first_revision

    def ask(self, peer: str, asked: AskStateHash) -> None:
        """Another node asks for a hash: it is worked out between turns. A later question replaces an earlier one."""
        if peer not in self._answers and len(self._answers) >= limits.MEMBERS_MAX:
            return
        before = self._answers.get(peer)
        replay = self.open(asked.revision, asked.revision)
        if before is not None and before.revision == asked.revision:
            return
        if replay is None:
            self._send(peer, StateHashThere(asked.revision, None))
            return
        replay.seek(asked.revision)
        self._answers[peer] = _Answer(asked.revision, replay)

    def work(self) -> None:
        """One slice of each answer."""
        for peer, answer in [*self._answers.items()]:
            if not answer.replay.work():
                self._send(peer, StateHashThere(answer.revision, answer.replay.state_hash))
                del self._answers[peer]
