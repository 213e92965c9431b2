"""What should happen sometimes over many seeds: a simulator that never does it tests nothing of it."""

from __future__ import annotations

from conflux.testing.weather import FAULTS

SOMETIMES = (
    *(f"fault: {fault}" for fault in FAULTS),
    *(f"runs of {size} node{'s' if size > 1 else ''}" for size in range(1, 10)),
    "calls: Committed",
    "calls: NoLeader",
    "calls: OutcomeUnknown",
    "calls: SessionExpired",
    "calls: Closed",
    "clients that began anew",
    "crashes",
    "crashes during a write",
    "crashes during a write, kept",
    "crashes during a write, lost",
    "crashes during a write, torn",
    "disk failures",
    "elections won",
    "ends: its disk failed",
    "frames duplicated",
    "frames held by a cut, then delivered",
    "frames into a cut",
    "frames late",
    "frames lost",
    "frames out of order",
    "frames that outlived their receiver",
    "frames to nobody",
    "requests lost within a session's window",
    "requests sent twice",
    "restarts at another address",
    "slow syncs",
    "writes refused: disk full",
)
# These are up to the app: the simulation's own sees to all of them.
OF_THE_OWN_APP = (
    "calls: MethodRejected",
    "calls: ReducerFailed",
    "calls: UnknownMethod",
    "calls: Busy",
    "calls: NotReady",
    "histories of registers: linearizable",
)
OF_CHANGES = (
    "changes of members",
    "members that came",
    "members that went",
    "learners that became voters",
    "snapshots installed",
    "snapshots installed after their transfer was cut",
    "snapshot transfers cut: its link is cut",
    "snapshot transfers cut: its receiver is gone",
    "snapshot transfers cut: its sender is gone",
    "snapshot transfers cut: there is another leader",
)
OF_RECOVERY = (
    "backups saved",
    "clusters recovered",
    "clusters recovered from a snapshot",
    "clusters restored from a backup",
    "frames refused for their key",
    "recoveries refused: a majority is left",
    "recoveries that kept what was not acknowledged",
    "recoveries that lost nothing",
    "recoveries that lost something acknowledged",
    "recoveries with other entries in the place of lost ones",
)
# What a climate is for; its other weather is milder than any.
OF_CLIMATES = {
    "members": (*SOMETIMES, *OF_CHANGES),
    "churn": (*OF_CHANGES, "fault: a follower is away", "crashes during a write", "elections won", "calls: Committed"),
    "recover": (*SOMETIMES, *OF_RECOVERY),
}


def expected(climate: str, *, own_app: bool) -> tuple[str, ...]:
    """What should happen sometimes in a climate."""
    of_climate = OF_CLIMATES.get(climate, SOMETIMES)
    return (*of_climate, *OF_THE_OWN_APP) if own_app and climate != "churn" else of_climate
