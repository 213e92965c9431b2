"""`conflux snapshot`: the group of its commands."""

from __future__ import annotations

from conflux.cli.groups import Table, command_group

COMMANDS: Table = {
    "now": ("snapshot_now", "Let nodes take a snapshot now."),
    "save": ("snapshot_save", "Save the state of the running cluster into a file."),
    "inspect": ("snapshot_inspect", "Say what such a file holds."),
    "restore": ("snapshot_restore", "Make a new cluster from such a file."),
}

snapshot = command_group(
    "snapshot",
    COMMANDS,
    help="""Take snapshots, save and restore them.

    Each node takes one by itself when its log has grown, keeps two, and cuts its log at the older.""",
    examples=["conflux snapshot now", "conflux snapshot save backup.snapshot"],
)
