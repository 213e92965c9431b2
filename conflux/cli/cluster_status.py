"""From the reports of the nodes that answered to one picture of the cluster: what `conflux status --json` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from conflux.cli.global_options import DEFAULT_CLUSTER
from conflux.cli.local_nodes import LocalNode, label_order

Report = Mapping[str, Any]

# A row's fields. Those of a node that does not answer are None, but for what others know of it.
ROW_FIELDS = (
    *("id", "label", "role", "term", "commit_index", "applied_revision", "lag"),
    *(
        "log_hash",
        "state_hash",
        "state_hash_revision",
        "agreed_revision",
        "diverged_revision",
        "first_index",
        "last_index",
        "snapshot_index",
    ),
    *("endpoint", "host", "pid", "app", "app_version", "healthy", "problem", "data_dir", "log_file"),
    *("sessions", "stalls", "longest_gap_ms"),
)
NO_ANSWER = "does not answer"


def merge(
    reports: Sequence[Report], local: Sequence[LocalNode] = (), *, cluster: str = DEFAULT_CLUSTER
) -> dict[str, Any]:
    """What the nodes told, and what this machine knows of those that told nothing.

    Args:
        reports: of the nodes that answered, as `Client.status` gives them.
        local: the cluster's nodes on this machine.
        cluster: its name, for where nobody answered.
    """
    reports = _of_one_cluster(reports)
    rows = _rows(reports, local)
    best = max((report for report in reports if report["node"]["healthy"]), key=_authority, default=None)
    leader = best["leader"] if best else None
    _note_lag(rows, leader)
    size = reports[0]["size"] if reports else len(rows)
    quorum = len(rows) // 2 + 1
    answering = sum(row["pid"] is not None for row in rows)
    return {
        "cluster": reports[0]["cluster"] if reports else cluster,
        "cluster_id": reports[0]["cluster_id"] if reports else None,
        "size": size,
        "leader": leader,
        "term": max((report["term"] for report in reports), default=None),
        "quorum": quorum,
        "answering": answering,
        "waiting_for": next((report["waiting_for"] for report in reports if report["waiting_for"]), None),
        "nodes": rows,
    }


def _of_one_cluster(reports: Sequence[Report]) -> list[Report]:
    """Should addresses lead to two clusters of the same name, the one that more nodes speak of."""
    formed = Counter(report["cluster_id"] for report in reports if report["cluster_id"])
    if not formed:
        return [*reports]
    [(cluster_id, _)] = formed.most_common(1)
    same = [report for report in reports if report["cluster_id"] == cluster_id]
    return same + [report for report in reports if report["cluster_id"] is None]


def _authority(report: Report) -> tuple[int, bool]:
    """Of two reports the one of the higher term is right about the leader; in one term, the one that knows it."""
    return report["term"], report["leader"] is not None


def _rows(reports: Sequence[Report], local: Sequence[LocalNode]) -> list[dict[str, Any]]:
    here = {node.identity: node for node in local if node.identity}
    members: dict[str, tuple[str, str | None]] = {}  # id → (label, endpoint)
    for report in reports:
        for member in report["members"]:
            known = members.get(member["id"], (member["label"], None))
            members[member["id"]] = (member["label"], known[1] or member["endpoint"])
    if not any(report["cluster_id"] for report in reports):  # not formed: who should be there is known from here alone
        members |= {node.identity: (node.label, node.endpoint) for node in here.values()}
    answers = {report["node"]["id"]: report["node"] for report in reports}
    rows = []
    for identity, (label, endpoint) in members.items():
        silent = _silent_row(identity, label, endpoint, here.get(identity))
        rows.append(silent | answers[identity] if identity in answers else silent)
    return sorted(rows, key=lambda row: label_order(row["label"]))


def _silent_row(identity: str, label: str, endpoint: str | None, here: LocalNode | None) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(ROW_FIELDS)
    row |= {"id": identity, "label": label, "endpoint": endpoint, "healthy": False, "problem": NO_ANSWER}
    if here is not None:
        row["endpoint"] = endpoint or here.endpoint
        row["data_dir"] = str(here.directory)
        row["log_file"] = str(here.log_file)
    return row


def _note_lag(rows: Sequence[dict[str, Any]], leader: str | None) -> None:
    """How many entries each node's log is behind the leader's."""
    end = next((row["last_index"] for row in rows if row["id"] == leader), None)
    for row in rows:
        known = end is not None and row["last_index"] is not None
        row["lag"] = max(0, end - row["last_index"]) if known else None
