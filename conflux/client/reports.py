"""What the nodes' reports say together: which of them to believe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Report = Mapping[str, Any]


def best_report(reports: Iterable[Report]) -> Report | None:
    """The one that knows most of the members: of the formed ones, the one with the highest commit index."""
    formed = [report for report in reports if report["cluster_id"]]
    return max(formed, key=_knowledge, default=None)


def named_member(members: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any] | None:
    """The member of this label, identity, or unique beginning of an identity."""
    exact = [member for member in members if name in (member["label"], member["id"])]
    found = exact or [member for member in members if name and member["id"].startswith(name)]
    return found[0] if len(found) == 1 else None


def _knowledge(report: Report) -> tuple[bool, int, bool, int]:
    """A leader's own word counts most at equal index: it may hold a change that is not committed yet."""
    node = report["node"]
    return bool(node["healthy"]), node["commit_index"] or 0, report["leader"] == node["id"], report["term"]
