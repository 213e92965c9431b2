"""The default app: a list of things.

Its state is a persistent vector, so that appending to a hundred thousand things is as fast as to none.
"""

from __future__ import annotations

from typing import Any

from pyrsistent import PVector, pvector

from conflux.app import App

app: App[PVector[Any], dict[str, Any]] = App(name="list")


@app.method
def append(state: PVector[Any], thing: Any) -> dict[str, Any]:
    """Add a thing at the end."""
    return {"type": "append", "thing": thing}


@app.method
def remove(state: PVector[Any], thing: Any) -> dict[str, Any]:
    """Remove the first such thing; rejected where there is none."""
    if thing not in state:
        raise ValueError(f"{thing!r} is not in the list")
    return {"type": "remove", "thing": thing}


@app.method
def clear(state: PVector[Any]) -> dict[str, Any] | None:
    """Remove everything; nothing to do for an empty list."""
    return {"type": "clear"} if state else None


@app.reducer
def reduce(state: PVector[Any] | None, action: dict[str, Any] | None) -> PVector[Any]:
    """Fold an action into the list."""
    things: PVector[Any] = pvector() if state is None else state
    if not isinstance(action, dict):
        return things
    kind = action.get("type")
    if kind == "append" and "thing" in action:
        return things.append(action["thing"])
    if kind == "remove" and "thing" in action:
        return things.remove(action["thing"])
    return pvector() if kind == "clear" else things
