"""A program that embeds a node, as one of its clients: it calls through `LocalCaller`, and dies with the node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from conflux.client.call import Call as Submitted
from conflux.client.call import Result
from conflux.errors import ConfluxError
from conflux.node.clock import Clock
from conflux.node.local import LocalCaller
from conflux.node.origin import HERE
from conflux.testing.history import Call, Read
from conflux.testing.told import Told
from conflux.wire.clients import Perform

if TYPE_CHECKING:
    from conflux.node.node import Node
    from conflux.testing.cluster import SimulatedCluster


class EmbeddedClient:
    """One program, from one start of its node to its end."""

    def __init__(self, cluster: SimulatedCluster, name: str, label: str, node: Node, clock: Clock) -> None:
        self.name = name
        self._cluster = cluster
        self._label = label
        self._node = node
        self._clock = clock
        self._alive = True
        self._unfinished = 0
        self._hand_on = node.handle
        node.handle = self._tapped  # type: ignore[method-assign]
        self._caller = LocalCaller(node, clock)
        self._take = node.on_local_message
        node.on_local_message = self._taken

    @property
    def unfinished(self) -> int:
        """Calls and reads that wait."""
        return self._unfinished

    def perform(self, method: str, args: list[Any], deadline_s: float | None, *, appended: bool = False) -> Call:
        """Submit a call."""
        call = self._cluster.history.begin(self.name, method, args, appended=appended)
        limit_s = None if deadline_s is None else self._clock.monotonic_s() + deadline_s
        self._unfinished += 1
        self._caller.submit(Submitted(method, call.arguments, limit_s, Told(self, call), when_appended=appended))
        return call

    def end(self, call: Call, result: Result) -> None:
        """A call's caller is told."""
        if self._alive:
            self._unfinished -= 1
            self._cluster.history.end(call, result)

    def read(self, *, linearizable: bool) -> None:
        """Ask for the state."""
        if linearizable:
            invoked_s = self._cluster.schedule.now_s
            self._unfinished += 1
            self._caller.run_soon(lambda: self._caller.read(lambda state: self._read(invoked_s, state), self._is_dead))

    def turn(self) -> None:
        """Before the node's turn."""
        self._caller.turn()

    def wait_s(self) -> float:
        """How long until there is something to do."""
        return self._caller.wait_s()

    def die(self) -> None:
        """The process is gone: nobody is told anything."""
        self._alive = False

    def _is_dead(self) -> bool:
        return not self._alive

    def _read(self, invoked_s: float, state: Any) -> None:
        if not self._alive:
            return
        self._unfinished -= 1
        if isinstance(state, ConfluxError):
            return
        now_s = self._cluster.schedule.now_s
        read = Read(self.name, True, self._label, invoked_s, now_s, -1, -1, state)
        self._cluster.history.reads.append(read)

    def _tapped(self, origin: Any, message: Any) -> None:
        if origin is HERE:
            self._cluster.trace.message(self.name, "asks its node:", message)
            if isinstance(message, Perform):
                self._cluster.history.was_sent(message)
        self._hand_on(origin, message)

    def _taken(self, message: Any) -> None:
        self._cluster.trace.message(self.name, "hears from its node:", message)
        self._take(message)
