"""Python imports this at start where its directory is on PYTHONPATH: the way into a node that has no hooks.

CONFLUX_FAILPOINT=persist.after:3   where to die, and the how many-th time
CONFLUX_FAILPOINT_NODE=n1           in which node
CONFLUX_FAILPOINT_DIR=...           where to leave word
CONFLUX_FAILPOINT_ARM=signal        from SIGUSR1 on
CONFLUX_SNAPSHOTS=n1,n2             nodes that take a snapshot at each hash point; the others take none
CONFLUX_MARKS=1                     instead: name sends and answers in the order of system calls, see marks.py
"""

import os
import sys


def _is_node(argv: list[str], wanted: str) -> bool:
    return "conflux.node.process" in argv and argv[-1].endswith(f"/{wanted}" if wanted else "")


if _is_node(sys.orig_argv, "") and "CONFLUX_SNAPSHOTS" in os.environ:
    from points import take_many_snapshots

    take_many_snapshots(any(_is_node(sys.orig_argv, each) for each in os.environ["CONFLUX_SNAPSHOTS"].split(",")))

if _is_node(sys.orig_argv, os.environ.get("CONFLUX_FAILPOINT_NODE", "")):
    if "CONFLUX_FAILPOINT" in os.environ:
        from points import set_trap

        set_trap(
            os.environ["CONFLUX_FAILPOINT"],
            os.environ["CONFLUX_FAILPOINT_DIR"],
            arm=os.environ.get("CONFLUX_FAILPOINT_ARM", ""),
        )
    elif "CONFLUX_MARKS" in os.environ:
        from marks import set_marks

        set_marks()
