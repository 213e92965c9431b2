"""Keeps states out of the way of Python's collector of cycles.

To the collector a persistent vector is one object, and to look at it is to look at each of its elements: 8 ms for a
million. A vector that an action has just made is among the young objects, which it looks at every few hundred new ones
- in a program that embeds a node, a third of its time. But a state is a tree: there is no cycle to be found in it, and
what is freed by counting needs no collector.
"""

from __future__ import annotations

import ctypes
from typing import Any

from pyrsistent import PMap, pvector

FIELDS_MAX = 16  # a container with no more is looked into: it may be a record whose fields are large

_Vector: type = type(pvector())  # the one that is written in C, where there is one
_MAY_UNTRACK = _Vector.__module__ == "pvectorc" and hasattr(ctypes, "pythonapi")
if _MAY_UNTRACK:
    # Harmless where it is done twice, as it is when the vector is freed.
    _untrack = ctypes.PYFUNCTYPE(None, ctypes.py_object)(("PyObject_GC_UnTrack", ctypes.pythonapi))


def spare(state: Any, depth: int = 2) -> None:
    """Have the collector pass over the vectors that a state consists of: itself, a map's, and those of a few fields.

    Args:
        depth: how many records may stand in one another.
    """
    if not _MAY_UNTRACK:
        return
    kind = type(state)
    if kind is _Vector:
        _untrack(state)
        return
    if kind is PMap:
        _untrack(state._buckets)
    elif kind is not dict:
        return
    if depth and len(state) <= FIELDS_MAX:
        for value in state.values():
            spare(value, depth - 1)
