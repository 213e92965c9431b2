"""`StateHashes`: the state's hash for people to look at."""

from __future__ import annotations

from typing import Any

from conflux.app import App
from conflux.store.dumps import encoder_of
from conflux.store.hash_points import HashPoint
from conflux.store.machine import Machine

HASH_AT_ONCE_BYTES = 256 * 1024  # a state of up to this size is hashed while status is asked


class StateHashes:
    """The hash of the newest state that was hashed: on an idle cluster, of the log's end.

    This is for people to look at: the guard judges by the hash points alone.
    """

    def __init__(self, app: App[Any, Any]) -> None:
        self._encode = encoder_of(app)
        self._point: HashPoint | None = None
        self._next: HashPoint | None = None

    def of(self, machine: Machine) -> HashPoint:
        """The newest hash there is; a small state is hashed now, a large one when the node is idle."""
        point = machine.hash_point
        if point.bytes_total + machine.bytes_since_hash_point <= HASH_AT_ONCE_BYTES:
            self.begin(machine)
            if self._next is not None:
                self._point = self._next.finish()
        known = self._point
        return known if known is not None and (known.revision > point.revision or not point.done) else point

    def begin(self, machine: Machine) -> None:
        """Begin to hash this state, unless it is, or another one is under way."""
        if (self._next is None or self._next.done) and (self._point is None or self._point.revision < machine.revision):
            self._next = HashPoint(machine.revision, machine.state, self._encode)

    @property
    def has_work(self) -> bool:
        return self._next is not None and not self._next.done

    def work(self) -> None:
        """Hash a slice."""
        if self._next is not None and not self._next.work():
            self._point = self._next
