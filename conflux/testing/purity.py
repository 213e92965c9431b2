"""Is a reducer a function of state and action? Each reduction is done twice, and its state looked at before and after.
Where the app brings `dump` and `load`, each state must come back from them, too.

What two reductions in one process can't show, a set's order that depends on the hashes of strings, `elsewhere` does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from conflux.app import App
from conflux.errors import MalformedValue
from conflux.store.dumps import Encode, copied, encoder_of
from conflux.testing.checkers import Checker
from conflux.testing.violation import Violation
from conflux.wire.states import encode_slices

if TYPE_CHECKING:
    from conflux.testing.host import Host

ALL_REDUCTIONS_MAX = 2000  # looked at one by one; of those behind them, which fold larger states, one in SOME
SOME = 16


class PureReducer(Checker):
    """The reducer changes no state that it is given, and gives the same state for the same arguments."""

    def __init__(self) -> None:
        self._problem: Violation | None = None
        self._reductions = 0
        self._app: App[Any, Any] = App()
        self._encode: Encode = encode_slices

    def watching(self, app: App[Any, Any]) -> App[Any, Any]:
        """The app with a reducer that is watched."""
        watched: App[Any, Any] = App(
            dict(app.methods), name=app.name, version=app.version, dump=app.dump, load=app.load
        )
        self._app, self._encode = app, encoder_of(app)
        reduce = app.reduce
        assert reduce is not None
        watched.reduce = lambda state, action: self._reduce(reduce, state, action)
        return watched

    def turned(self, host: Host) -> None:
        if self._problem is not None:
            raise self._problem

    def ended(self) -> None:
        if self._problem is not None:
            raise self._problem

    def _reduce(self, reduce: Callable[[Any, Any], Any], state: Any, action: Any) -> Any:
        self._reductions += 1
        if self._reductions > ALL_REDUCTIONS_MAX and self._reductions % SOME:
            return reduce(state, action)
        before = self._encoding(state)
        after = reduce(state, action)
        if self._encoding(state) != before:
            self._found("the reducer changed the state that it was given, which others still hold", action)
        elif self._encoding(reduce(state, action)) != self._encoding(after):
            self._found(
                "the reducer gave two states for one state and action: by time, chance or something outside", action
            )
        elif self._app.load is not None:
            self._check_dump(after, action)
        return after

    def _check_dump(self, state: Any, action: Any) -> None:
        if self._encoding(state) != self._encoding(state):
            self._found("the app's dump gives two values for one state", action)
        try:
            copied(self._app, state)
        except MalformedValue as error:
            self._found(str(error), action)

    def _found(self, sentence: str, action: Any) -> None:
        """Nobody would hear of it here: what a reducer raises is a rejection."""
        self._problem = self._problem or Violation(f"{sentence}: {action!r}")

    def _encoding(self, state: Any) -> bytes | None:
        try:
            return b"".join(self._encode(state))
        except MalformedValue:
            return None
