"""Python imports this at start where its directory is on PYTHONPATH: the way into a node, which has no hooks.

CONFLUX_FAILPOINT=persist.after:3   where to die, and the how many-th time
CONFLUX_FAILPOINT_NODE=n1           in which node
CONFLUX_FAILPOINT_DIR=...           where to leave word
CONFLUX_FAILPOINT_ARM=signal        from SIGUSR1 on
CONFLUX_SNAPSHOTS=n1,n2             nodes that take a snapshot at each hash point; the others take none
CONFLUX_MARKS=1                     instead: name sends and answers in the order of system calls, see marks.py
"""

import os
import sys
from typing import Any

if "start" in sys.orig_argv or any("conflux.node.process" in each for each in sys.orig_argv):
    from conflux.node import process

    open_node = process._open

    def opening(spec: Any) -> Any:
        """In the node's own process, which may be a fork of the launcher's."""
        given = os.environ
        if "CONFLUX_SNAPSHOTS" in given:
            from points import take_many_snapshots

            take_many_snapshots(spec.label in given["CONFLUX_SNAPSHOTS"].split(","))
        if given.get("CONFLUX_FAILPOINT_NODE", spec.label) == spec.label:
            if "CONFLUX_FAILPOINT" in given:
                from points import set_trap

                arm = given.get("CONFLUX_FAILPOINT_ARM", "")
                set_trap(given["CONFLUX_FAILPOINT"], given["CONFLUX_FAILPOINT_DIR"], arm=arm)
            elif "CONFLUX_MARKS" in given:
                from marks import set_marks

                set_marks()
        return open_node(spec)

    process._open = opening
