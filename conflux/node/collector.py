"""Python's collector of cycles, in a process that runs a node.

What an action makes is freed by counting: there are no cycles to be found in it. But each look at the young objects is
a look at all elements of every vector that an action has just made: 8 ms for a million of them, every few hundred
objects that a program makes and keeps. So it is to look more rarely (docs/decisions/0011).
"""

from __future__ import annotations

import gc

THRESHOLDS = (20_000, 20, 50)  # objects made and not freed, and how often each elder generation is spared
PYTHONS_OWN_MAX = 2000  # Python's first threshold is 700, or 2,000 in later versions


def calm() -> None:
    """In a program that embeds a node: look more rarely, unless it has set thresholds of its own."""
    if 0 < gc.get_threshold()[0] <= PYTHONS_OWN_MAX:
        gc.set_threshold(*THRESHOLDS)


def calm_for_good() -> None:
    """In a process that does nothing else: what is there now stays, and isn't looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
