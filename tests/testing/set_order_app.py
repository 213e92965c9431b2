"""An app whose reducer follows a set's order, and one that only looks as if."""

from __future__ import annotations

from typing import Any

from conflux.app import App


def append(state: Any, number: int, padding: str) -> dict[str, Any]:
    return {"words": [f"{number}", "one", "two", "three"]}


def reduce_in_order(state: Any, action: Any) -> Any:
    return [] if state is None else [*state, *sorted(set(action["words"]))]


def reduce_in_set_order(state: Any, action: Any) -> Any:
    return [] if state is None else [*state, *set(action["words"])]


ordered: App[Any, Any] = App({"append": append}, reduce_in_order)
unordered: App[Any, Any] = App({"append": append}, reduce_in_set_order)
