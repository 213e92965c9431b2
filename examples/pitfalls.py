"""Reducers that look right, and are not functions of state and action: `conflux simulate --app pitfalls:by_time`.

A queue of names, each served in turn. `queue` keeps the states of all nodes equal; the simulation breaks the others.
"""

from __future__ import annotations

import random
import time

import conflux


def join(state: list, name: str):
    return {"type": "join", "name": name}


def serve(state: list):
    return {"type": "serve"} if state else None


def fold(state: list | None, action: dict | None) -> list:
    match action:
        case {"type": "join", "name": name}:
            return [*state, name]
        case {"type": "serve"}:
            return state[1:]
    return [] if state is None else state


def fold_by_time(state: list | None, action: dict | None) -> list:
    """Each node has a clock of its own."""
    if action and action["type"] == "join":
        return [*state, [action["name"], time.time()]]
    return fold(state, action)


def fold_by_lot(state: list | None, action: dict | None) -> list:
    """Each node draws another lot."""
    if action and action["type"] == "serve":
        lucky = random.randrange(len(state))
        return [*state[:lucky], *state[lucky + 1 :]]
    return fold(state, action)


def fold_by_set(state: list | None, action: dict | None) -> list:
    """Names once each: but the order of a set of strings is another one in each process."""
    if action and action["type"] == "join":
        return list({*state, action["name"]})
    return fold(state, action)


def fold_in_place(state: list | None, action: dict | None) -> list:
    """The leader judges the next call by a state that others still hold as it was."""
    if action and action["type"] == "join":
        state.append(action["name"])
        return state
    return fold(state, action)


queue = conflux.App({"join": join, "serve": serve}, fold)
by_time = conflux.App({"join": join, "serve": serve}, fold_by_time)
by_lot = conflux.App({"join": join, "serve": serve}, fold_by_lot)
by_set = conflux.App({"join": join, "serve": serve}, fold_by_set)
in_place = conflux.App({"join": join, "serve": serve}, fold_in_place)
