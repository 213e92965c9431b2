"""The app under fire: a list of which the state holds only length and chain hash, so that a read of it stays small.

Each method judges by the state's length, so the log tells at which place it did: what a client was told can be held
against the state that was there.
"""

from __future__ import annotations

import hashlib
from typing import Any

import conflux

app: conflux.App[dict[str, Any], dict[str, Any]] = conflux.App(name="journal")
EMPTY: dict[str, Any] = {"length": 0, "chain": ""}


@app.method
def append(state: dict[str, Any], value: str, padding: str = "") -> dict[str, Any]:
    """Always."""
    return _append(value, padding)


@app.method
def append_to_even(state: dict[str, Any], value: str, padding: str = "") -> dict[str, Any]:
    """Rejected at an odd length; the words name the value and the length that it was judged by."""
    if state["length"] % 2:
        raise ValueError(f"{value} {state['length']}")
    return _append(value, padding)


@app.method
def append_but_at_thirds(state: dict[str, Any], value: str, padding: str = "") -> dict[str, Any] | None:
    """Nothing to do at a length that three divides."""
    return _append(value, padding) if state["length"] % 3 else None


@app.reducer
def reduce(state: dict[str, Any] | None, action: dict[str, Any] | None) -> dict[str, Any]:
    """One more at the end."""
    before = EMPTY if state is None else state
    if action is None:
        return before
    return {"length": before["length"] + 1, "chain": link(before["chain"], action["value"])}


def link(chain: str, value: str) -> str:
    """The chain with one more value."""
    return hashlib.blake2b(f"{chain} {value}".encode(), digest_size=16).hexdigest()


def _append(value: str, padding: str) -> dict[str, Any]:
    action = {"type": "append", "value": value}
    return action | {"padding": padding} if padding else action
