"""What a node tells of itself: the row of `conflux status`, and what it knows of its cluster."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING, Any

from conflux.errors import Diverged
from conflux.raft.roles import Leader
from conflux.store.membership import Membership

if TYPE_CHECKING:
    from conflux.node.member_work import MemberWork
    from conflux.node.node import Node

LOG_TEXT_BYTES_MAX = 256 * 1024


def end_of_log(log_file: str | None) -> str:
    """The last lines of a node's log file, as many as fit into a frame."""
    if log_file is None:
        return ""
    try:
        with open(log_file, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - LOG_TEXT_BYTES_MAX))
            text = file.read()
    except OSError as error:
        return f"the log file can't be read: {error.strerror}\n"
    whole = text if size <= LOG_TEXT_BYTES_MAX else text[text.find(b"\n") + 1 :]
    return whole.decode("utf-8", "replace")


def row_of(node: Node) -> dict[str, Any]:
    """This node's row."""
    mine = node.directory.self
    row: dict[str, Any] = {
        "id": mine.identity,
        "label": mine.label,
        "endpoint": node.channel.address,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "healthy": node.problem() is None,
        "problem": node.problem(),
        "app": mine.app,
        "app_version": mine.app_version,
        "stalls": node.ticker.stalls,
        "longest_gap_ms": round(node.ticker.longest_gap_s * 1000, 1),
        "data_dir": node.data_dir,
        "log_file": node.log_file,
        "role": "forming",
        "standing": _standing(node),
        "term": 0,
        "commit_index": 0,
        "applied_revision": 0,
        "log_hash": None,
        "state_hash": None,
        "state_hash_revision": None,
        "agreed_revision": None,
        "diverged_revision": None,
        "first_index": None,
        "last_index": None,
        "snapshot_index": None,
        "slow_code": None,
        "snapshot_problem": None,
        "archive": None,
        "installing": None,
        "sending": {},
        "sessions": 0,
    }
    if node.member is not None:
        row |= _member_row(node.member)
    return row


def report_of(node: Node) -> dict[str, Any]:
    """This node's row, and the cluster as it sees it."""
    raft = node.member.replica.raft if node.member is not None else None
    return {
        "cluster": node.directory.self.cluster,
        "cluster_id": node.directory.cluster_id,
        "size": len(node.membership().members) if raft is not None else node.directory.self.size,
        "leader": raft.leader if raft is not None else None,
        "term": raft.term if raft is not None else 0,
        "waiting_for": node.waiting_for(),
        "members": [
            member | {"endpoint": node.address_of(member["id"]), "match_index": _match_index(node, member["id"])}
            for member in members_of(node.membership())
        ],
        "replacing": _replacing(node.membership()),
        "candidates": [
            {"id": each.founder.identity, "label": each.founder.label, "endpoint": each.address}
            for each in node.candidates.all(node.now_s())
        ],
        "node": row_of(node),
    }


def members_of(membership: Membership) -> list[dict[str, Any]]:
    """The members, as people name them."""
    everyone = membership.members_by_identity
    return [{"id": each.identity, "label": each.label, "standing": each.standing} for each in everyone]


def _standing(node: Node) -> str | None:
    """What this node is to its cluster; None while that forms."""
    if node.directory.removed:
        return "removed"
    if node.member is None:
        return "candidate" if node.founding.wants_to_join else None
    member = node.membership().find(node.directory.self.identity)
    return member.standing if member is not None else None


def _replacing(membership: Membership) -> dict[str, str] | None:
    """Who is about to take whose place."""
    replacement = membership.replacement
    return None if replacement is None else {"old": replacement.old, "new": replacement.new}


def _match_index(node: Node, identity: str) -> int | None:
    """On a leader: up to where a member holds its log; None where it has said nothing yet in this term."""
    raft = node.member.replica.raft if node.member is not None else None
    if raft is None or not isinstance(raft.role, Leader):
        return None
    progress = raft.role.progress.get(identity)
    return raft.log.last_index if progress is None else progress.match_index or None


def _member_row(member: MemberWork) -> dict[str, Any]:
    replica, guard = member.replica, member.guard
    raft, machine, trouble = replica.raft, replica.machine, replica.refusal
    point, snapshots = member.state_hashes.of(machine), member.snapshots.status()
    return {
        "role": raft.role.name.value,
        "term": raft.term,
        "commit_index": raft.commit_index,
        "applied_revision": machine.revision,
        "log_hash": machine.log_hash.hex(),
        "state_hash": point.digest.hex() if point.digest else None,
        "state_hash_revision": point.revision if point.digest else None,
        "agreed_revision": guard.agreed_revision,
        "diverged_revision": trouble.revision if isinstance(trouble, Diverged) else None,
        "first_index": raft.log.first_index,
        "last_index": raft.log.last_index,
        "snapshot_index": raft.newest_snapshot[0],
        "sessions": len(machine.sessions),
        "slow_code": replica.slowness.status(),
        **snapshots,
        "snapshot_problem": guard.state_problem or snapshots["snapshot_problem"],
    }
