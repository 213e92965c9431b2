"""`conflux snapshot`: the group of its commands."""

from __future__ import annotations

from conflux.cli.groups import Table, command_group

COMMANDS: Table = {
    "now": ("snapshot_now", "Let nodes take a snapshot now."),
}

snapshot = command_group(
    "snapshot",
    COMMANDS,
    help="""Take snapshots.

    Each node takes one by itself when its log has grown, keeps two, and cuts its log at the older.""",
    examples=["conflux snapshot now"],
)
