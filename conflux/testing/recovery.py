"""`recover` in simulated weather: what is left becomes another cluster, and what is said of what is missing is true.

Nothing is really lost here. Those who were thought lost may run on elsewhere, and all old nodes come back at last, in
the end even those out of whose directories the new cluster was made. So both what the lost ones had acknowledged and
what becomes of it is known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from conflux.node import directory as directories
from conflux.node.refounding import Base
from conflux.node.standing import StandingLog
from conflux.node.survivors import Findings, find
from conflux.raft.entry import Entry, Kind
from conflux.testing.checkers import CommitsAgree
from conflux.testing.cluster import SimulatedCluster
from conflux.testing.host import Host
from conflux.testing.platters import write_directory
from conflux.testing.refounded import RefoundedCluster, found
from conflux.testing.violation import require

ALONE = 0.7  # chance of survivors to be cut off from the others before those are lost
ALONE_TIMEOUTS_MAX = 5  # longest election time-outs for which they are
RUNS_ON = 0.3  # chance of a machine that is thought lost to run on, where nobody looks
AWAY_S_MAX = 20.0  # until an old node comes back


def lose_majority(old: SimulatedCluster, and_then: Callable[[list[Host]], None]) -> None:
    """Choose the machines that will be left. They may lose sight of the others a while before those are lost."""
    random, schedule = old.random, old.schedule
    survivors = random.sample(old.hosts, random.randint(1, max(1, len(old.hosts) // 2)))
    wait_s = random.random() * ALONE_TIMEOUTS_MAX * old.weather.election_timeout_ms[1] / 1000
    if random.random() < ALONE:
        here = {host.label for host in survivors}
        out = {(one, other.label) for one in here for other in old.hosts if other.label not in here}
        cut = old.network.cut(out | {(b, a) for a, b in out}, holds=False)
        schedule.at(schedule.now_s + wait_s, old.network.mend, cut)
    schedule.at(schedule.now_s + wait_s, and_then, survivors)


def recover(
    old: SimulatedCluster, commits: CommitsAgree, suffix: str, chosen: Sequence[Host]
) -> RefoundedCluster | None:
    """Make a cluster of what these machines hold. None: enough are left, or no cluster was formed yet."""
    survivors = [host for host in chosen if directories.read(host.platter.storage).formed]
    if not survivors or not commits.log:
        return None
    _take_down(old, survivors)
    with TemporaryDirectory() as place:
        for host in survivors:
            host.platter.storage = write_directory(host.platter.storage, Path(place) / host.label)
        findings = find([Path(place) / host.label for host in survivors])
        with closing(StandingLog(findings.best.path)) as log:
            base = Base(header=log.base, chunks=log.chunks()) if log.base is not None else None
            kept = [*commits.log[: log.first_index - 1], *log.entries(findings.best.last_index)]
            check_findings(findings, kept, commits.log)
            if findings.has_majority:
                old.counts["recoveries refused: a majority is left"] += 1
                return None
            entries, term = kept[log.first_index - 1 :], 1 + max(each.term for each in findings.survivors)
            new = found(old, commits, suffix, base=base, entries=entries, term=term)
    _count(old, findings, kept, commits.log)
    return new


def check_findings(findings: Findings, kept: Sequence[Entry], committed: Sequence[Entry]) -> None:
    """What `recover` says holds: what must be there is, and what it says of what may be missing is no less than that.

    Args:
        kept: the log that is left, from the first entry on.
        committed: all that any node of the cluster ever folded.
    """
    agreed = common(kept, committed)
    known = min(findings.commit_index, len(committed))
    require(agreed >= known, "what a survivor knows to be committed is kept: {} of {}: {}", agreed, known, findings)
    missing = committed[agreed:]
    if not missing:
        return
    bound = findings.missing_behind
    require(bound is not None, "nothing is missing, it says, and {} is: {}", missing[0], findings)
    require(agreed >= (bound or 0), "missing behind {}, it says, and {} is: {}", bound, missing[0], findings)
    if findings.could_decide is None:
        changed = any(entry.kind is Kind.MEMBERSHIP for entry in missing)
        require(changed, "missing only where members were changed, it says, and {} is: {}", missing[0], findings)


def common(one: Sequence[Entry], other: Sequence[Entry]) -> int:
    """How many entries two logs have in common, from the beginning."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _take_down(old: SimulatedCluster, survivors: Sequence[Host]) -> None:
    """These stop, and of the others most are down for long."""
    random, now_s = old.random, old.schedule.now_s
    for host in old.hosts:
        if host not in survivors and random.random() < RUNS_ON:
            continue
        host.stop("is taken out of service" if host in survivors else "is thought lost")
        host.down_until_s = now_s + random.random() * AWAY_S_MAX
        old.schedule.at(host.down_until_s, old.start, host)


def _count(old: SimulatedCluster, findings: Findings, kept: Sequence[Entry], committed: Sequence[Entry]) -> None:
    agreed = common(kept, committed)
    old.counts["clusters recovered"] += 1
    old.counts["clusters recovered from a snapshot"] += findings.best.first_index > 1
    old.counts["recoveries that lost something acknowledged"] += agreed < len(committed)
    old.counts["recoveries with other entries in the place of lost ones"] += agreed < min(len(kept), len(committed))
    old.counts["recoveries that kept what was not acknowledged"] += len(kept) > len(committed) or agreed < len(kept)
    old.counts["recoveries that lost nothing"] += agreed == len(committed)
