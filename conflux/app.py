"""`App`: the methods and the reducer that a user writes.

    import conflux

    app = conflux.App()

    @app.method
    def append(state, thing):
        return {"type": "append", "thing": thing}

    @app.reducer
    def reduce(state, action):
        ...

A **method** judges a request against the provisional state on the leader. It returns an action, or None (nothing is
dispatched), or it raises or returns an exception (rejected). A **reducer** folds an action into the state. It is a
pure function: `state is None` at the start, `action is None` when it is asked for the initial state, it never mutates
what it is given, and it returns the very same state for an action that it doesn't know. Both are synchronous.

A state that is not made of the codec's values brings two functions more, both pure: **dump** gives what stands for it
on disk, on the wire and in hashes, and **load** makes the state from that again.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from conflux.errors import ConfluxError, OptionsError
from conflux.usercode import inside

State = TypeVar("State")
Action = TypeVar("Action")
Method = Callable[..., Any]
Reducer = Callable[[State | None, Action | None], State]
AnyMethod = TypeVar("AnyMethod", bound=Method)
AnyReducer = TypeVar("AnyReducer", bound=Callable[[Any, Any], Any])
AnyConverter = TypeVar("AnyConverter", bound=Callable[[Any], Any])


class App(Generic[State, Action]):
    """Methods and a reducer, with a name and a version that every node of a cluster must share.

    Args:
        methods: name → function(state, *args) → action | None | exception.
        reduce: function(state, action) → state.
        name: stands in the cluster's formation; a node with another app doesn't join.
        version: raise it whenever methods or reducer would treat an action of the past differently, and whenever `dump`
            would give something else for a state.
        dump: function(state) → what a state may be made of: None, bool, int, float, str, bytes, list, dict with str
            keys, `pvector`, `pmap`. It stands for the state wherever that leaves the reducer.
        load: function(what `dump` gave) → state. `dump(load(x))` is `x`.
    """

    def __init__(
        self,
        methods: Mapping[str, Method] | None = None,
        reduce: Reducer[State, Action] | None = None,
        *,
        name: str | None = None,
        version: int = 1,
        dump: Callable[[State], Any] | None = None,
        load: Callable[[Any], State] | None = None,
    ) -> None:
        self.methods: dict[str, Method] = dict(methods or {})
        self.reduce: Callable[[Any, Any], Any] | None = reduce
        self.dump: Callable[[Any], Any] | None = dump
        self.load: Callable[[Any], Any] | None = load
        self.name = name or "app"
        self.named = name is not None
        self.version = version

    def method(self, function: AnyMethod) -> AnyMethod:
        """Decorator: the function becomes a method under its own name."""
        self.methods[function.__name__] = function
        return function

    def reducer(self, function: AnyReducer) -> AnyReducer:
        """Decorator: the function becomes the reducer."""
        self.reduce = function
        return function

    def dumper(self, function: AnyConverter) -> AnyConverter:
        """Decorator: the function becomes `dump`."""
        self.dump = function
        return function

    def loader(self, function: AnyConverter) -> AnyConverter:
        """Decorator: the function becomes `load`."""
        self.load = function
        return function

    def problems(self) -> list[str]:
        """What keeps this app from being run, a sentence each; empty where nothing does."""
        found = []
        if self.reduce is None:
            found.append("the app has no reducer (decorate one with @app.reducer)")
        if not self.methods:
            found.append("the app has no method (decorate one with @app.method)")
        if not isinstance(self.name, str):
            found.append("the app's name must be a str")
        if not all(isinstance(name, str) for name in self.methods):
            found.append("each method's name must be a str")
        if (self.dump is None) != (self.load is None):
            there, missing = ("load", "dump") if self.dump is None else ("dump", "load")
            found.append(f"the app has {there} and no {missing}: give both, or neither")
        others = {"the reducer": self.reduce, "the app's dump": self.dump, "the app's load": self.load}
        functions: dict[str, object] = {**self.methods, **others}
        for name, function in functions.items():
            if function is not None and not callable(function):
                found.append(f"{name} is not callable")
            elif inspect.iscoroutinefunction(function):
                found.append(f"{name} must not be async: all that an app brings is synchronous")
        if type(self.version) is not int or self.version < 1:
            found.append("version must be a whole number from 1 on")
        return found


def combine_reducers(reducers: Mapping[str, Callable[[Any, Any], Any]]) -> Callable[[Any, Any], dict[str, Any]]:
    """One reducer over a dict with these keys, each key's value folded by its own reducer.

    An action that changes no part gives the very same dict back.
    """
    parts = dict(reducers)

    def reduce(state: dict[str, Any] | None, action: Any) -> dict[str, Any]:
        before = state or {}
        after = {key: part(before.get(key), action) for key, part in parts.items()}
        unchanged = state is not None and all(after[key] is before.get(key) for key in parts)
        return state if unchanged and state is not None else after

    return reduce


def load_app(spec: str, directory: str | None = None) -> App[Any, Any]:
    """The app that `MODULE:ATTR` names, looked for in `directory` first (default: where the command runs).

    Raises:
        OptionsError: `spec` isn't of that form.
        ConfluxError: it can't be imported, or what it names isn't an app that can run.
    """
    module_name, colon, attribute = spec.partition(":")
    if not (module_name and colon and attribute):
        raise OptionsError(f"{spec!r} does not name an app", hint="Write MODULE:ATTR, as in --app shop:app.")
    place = directory or "."
    if place not in sys.path:
        sys.path.insert(0, place)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever a user's module raises while it is imported
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        is_missing = isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}.")
        hint = "Name its directory with --app-dir." if is_missing else "Mend its module."
        raise ConfluxError(f"the app {spec} can't be imported: {reason}", hint=hint) from error
    app = getattr(module, attribute, None)
    if not isinstance(app, App):
        raise ConfluxError(
            f"{spec} is not a conflux.App", hint=f"{module_name} should define {attribute} = conflux.App()."
        )
    if problems := app.problems():
        raise ConfluxError(f"the app {spec} can't run: {'; '.join(problems)}")
    if not app.named:
        app.name = spec
    return app


def now() -> float:
    """Log time in seconds: inside a method only. It never jumps, and stands still while the cluster has no leader.

    Raises:
        RuntimeError: called outside a method. A reducer has no clock: let the method put the time into the action.
    """
    log_time_s = inside().log_time_s
    if log_time_s is None:
        raise RuntimeError("conflux.now() is log time, which only a method can ask for")
    return log_time_s
