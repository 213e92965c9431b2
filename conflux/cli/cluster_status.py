"""From the reports of the nodes that answered to one picture of the cluster: what `conflux status --json` prints."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from conflux.cli.global_options import DEFAULT_CLUSTER
from conflux.cli.local_nodes import LocalNode, label_order
from conflux.client.reports import best_report

Report = Mapping[str, Any]

# A row's fields. Those of a node that does not answer are None, but for what others know of it.
ROW_FIELDS = (
    *("id", "label", "role", "standing", "term", "commit_index", "applied_revision", "lag"),
    *("log_hash", "state_hash", "state_hash_revision", "agreed_revision", "diverged_revision"),
    *("first_index", "last_index", "snapshot_index"),
    *("endpoint", "host", "pid", "app", "app_version", "healthy", "problem", "data_dir", "log_file"),
    *("snapshot_problem", "archive", "installing", "sending", "sessions", "stalls", "longest_gap_ms", "slow_code"),
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
    known = best_report(reports)
    rows = _rows(reports, known, local)
    best = max((report for report in reports if report["node"]["healthy"]), key=_authority, default=None)
    leader = best["leader"] if best else None
    _note_lag(rows, leader, _match_indices(reports, leader))
    voters = [row for row in rows if row["standing"] in ("voter", None)]
    answering = sum(row["pid"] is not None for row in voters)
    first = known or (reports[0] if reports else None)
    return {
        "cluster": first["cluster"] if first else cluster,
        "cluster_id": first["cluster_id"] if first else None,
        "size": first["size"] if first else len(rows),
        "leader": leader,
        "term": max((report["term"] for report in reports), default=None),
        "quorum": len(voters) // 2 + 1,
        "answering": answering,
        "waiting_for": None if known else next((each["waiting_for"] for each in reports if each["waiting_for"]), None),
        "replacing": known.get("replacing") if known else None,
        "candidates": _candidates(reports, known),
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


def _rows(reports: Sequence[Report], known: Report | None, local: Sequence[LocalNode]) -> list[dict[str, Any]]:
    """A row a member: as the report says that knows most, else as all say that are about to form the cluster."""
    here = {node.identity: node for node in local if node.identity}
    members: dict[str, Report] = {}
    endpoints: dict[str, str] = {}
    for report in reports:
        for member in report["members"]:
            if known is None or report is known:
                members.setdefault(member["id"], member)
            if member["endpoint"]:
                endpoints.setdefault(member["id"], member["endpoint"])
    if known is None:  # not formed: who should be there is known from here alone
        for node in here.values():
            members.setdefault(node.identity, {"id": node.identity, "label": node.label, "endpoint": node.endpoint})
    answers = {report["node"]["id"]: report["node"] for report in reports}
    rows = []
    for identity, member in members.items():
        row = _silent_row(member, endpoints.get(identity), here.get(identity)) | answers.get(identity, {})
        if known is not None:  # its own news may be old
            row |= {"label": member["label"], "standing": member.get("standing")}
        rows.append(row)
    return sorted(rows, key=lambda row: label_order(row["label"]))


def _silent_row(member: Report, endpoint: str | None, here: LocalNode | None) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(ROW_FIELDS)
    row |= {"id": member["id"], "label": member["label"], "healthy": False, "problem": NO_ANSWER}
    row["endpoint"] = endpoint
    if here is not None:
        row["endpoint"] = endpoint or here.endpoint
        row["data_dir"] = str(here.directory)
        row["log_file"] = str(here.log_file)
    return row


def _candidates(reports: Sequence[Report], known: Report | None) -> list[dict[str, Any]]:
    """Who waits to join, as any member heard it."""
    members = {member["id"] for member in known["members"]} if known else set()
    found = {each["id"]: each for report in reports for each in report.get("candidates", ())}
    return sorted((found[each] for each in set(found) - members), key=lambda each: label_order(each["label"]))


def _match_indices(reports: Sequence[Report], leader: str | None) -> dict[str, int]:
    """Up to where the leader knows each member to hold its log."""
    told = next((report["members"] for report in reports if report["node"]["id"] == leader), ())
    return {member["id"]: member["match_index"] for member in told if member.get("match_index") is not None}


def _note_lag(rows: Sequence[dict[str, Any]], leader: str | None, matches: dict[str, int]) -> None:
    """How many entries each node's log is behind the leader's, by its own word, else by the leader's."""
    end = next((row["last_index"] for row in rows if row["id"] == leader), None)
    for row in rows:
        last_index = row["last_index"] if row["last_index"] is not None else matches.get(row["id"])
        row["lag"] = max(0, end - last_index) if end is not None and last_index is not None else None
