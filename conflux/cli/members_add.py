"""`conflux members add`"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from conflux.cli import output
from conflux.cli.options import Settings, command

if TYPE_CHECKING:
    from conflux.client.client import Client


@command(
    "add",
    examples=[
        "conflux members add              # prints a token and the line to type: conflux start --join TOKEN",
        "conflux members add n4           # n4 waits: it was started by conflux start --join wait",
        "conflux members add n4 --learner",
    ],
)
@click.argument("label", required=False)
@click.option("--learner", is_flag=True, help="It stays a learner: it has the log and the state, and no vote.")
@click.option("--no-wait", is_flag=True, help="Return once it is let in, before it has caught up.")
def members_add(settings: Settings, label: str | None, learner: bool, no_wait: bool) -> None:
    """Let the node LABEL join, which waits for that; without LABEL print a token with which one node may.

    It receives the log and the state first, and becomes a voter once it has caught up and a majority would be healthy.
    """
    with settings.client() as client:
        if label is None:
            _invite(settings, client, learner)
        else:
            _add(settings, client, label, learner, wait=not no_wait)


def _invite(settings: Settings, client: Client, learner: bool) -> None:
    token = client.change_members("invite-learner" if learner else "invite", timeout=settings.timeout()).token
    line = _line_to_type(settings, client, token)
    if settings.json:
        output.print_json({"token": token, "line": line})
        return
    output.print_line(token)
    output.note(f"It lets one node in, within a day. Start that with: {line}", verbosity=settings.verbosity)


def _line_to_type(settings: Settings, client: Client, token: str) -> str:
    """How the new node is started: on this machine where all nodes are here, else on another one."""
    from conflux.transport.address import Address

    endpoints = [member["endpoint"] for member in client.members() if member["endpoint"]]
    words = ["conflux", "start", "--join", token]
    if settings.cluster_was_named:
        words += ["--cluster", settings.cluster]
    if all(Address.parse(endpoint).is_loopback for endpoint in endpoints):
        if settings.data_dir_was_named:
            words += ["--data-dir", str(settings.data_dir)]
    else:
        words += ["--insecure"] if client.found.key is None else ["--key", "cluster.key"]
        words += ["--peer", endpoints[0]]
    return shlex.join(words)


def _add(settings: Settings, client: Client, label: str, learner: bool, *, wait: bool) -> None:
    from conflux.cli.members_view import WAIT_SECONDS, await_candidate, await_member, await_voter, changing, tell
    from conflux.cli.status import look

    timeout_s = settings.timeout(WAIT_SECONDS)
    if not any(row["label"] == label for row in look(settings, client, timeout_s)["nodes"]):
        await_candidate(settings, client, label)
    with changing():
        changed = client.change_members("learn" if learner else "add", label, timeout=timeout_s)
        chosen = await_member(settings, client, label)
        standing = "learner" if learner else "joining"
        if wait and not learner:
            await_voter(settings, client, chosen.identity, timeout_s)
            standing = "voter"
    text = f"{chosen.label} is joining." if standing == "joining" else f"{chosen.label} is a {standing}."
    fields = {"index": changed.index, "id": chosen.identity, "label": chosen.label, "standing": standing}
    tell(settings, text, fields)
