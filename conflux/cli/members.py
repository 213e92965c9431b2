"""`conflux members`: the group of its commands."""

from __future__ import annotations

from conflux.cli.groups import Table, command_group

COMMANDS: Table = {
    "list": ("members_list", "Show the members, and who waits to join."),
    "add": ("members_add", "Let a node join, or print a token with which one may."),
    "promote": ("members_promote", "Let a learner become a voter."),
    "replace": ("members_replace", "Let a new node take a member's place."),
    "remove": ("members_remove", "Remove a member for good."),
}

members = command_group(
    "members",
    COMMANDS,
    help="""Show the members, add, promote, replace and remove them.

    The members stand in the log and change one at a time, while the cluster serves.""",
    examples=[
        "conflux members list",
        "conflux members add                  # prints a token: conflux start --join TOKEN",
        "conflux members remove n4",
    ],
)
