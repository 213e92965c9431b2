"""Conflux: Redux for distributed systems.

Write methods and a reducer; every node of a cluster holds the same state, on disk, through crashes and partitions.
The names here are the public ones; they are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # typing's own takes longer to load than all that is here
if TYPE_CHECKING:
    from typing import Any

    from conflux import errors as errors
    from conflux.app import App as App
    from conflux.app import combine_reducers as combine_reducers
    from conflux.app import load_app as load_app
    from conflux.app import now as now
    from conflux.client.client import Client as Client
    from conflux.client.committed import Committed as Committed
    from conflux.node.embedded import Conflux as Conflux

__version__ = "0.1.0"
__all__ = ["App", "Client", "Committed", "Conflux", "combine_reducers", "errors", "load_app", "now"]

_PLACES = {
    "App": "conflux.app",
    "Client": "conflux.client.client",
    "Committed": "conflux.client.committed",
    "Conflux": "conflux.node.embedded",
    "combine_reducers": "conflux.app",
    "load_app": "conflux.app",
    "now": "conflux.app",
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("conflux.errors")
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module 'conflux' has no attribute {name!r}")
