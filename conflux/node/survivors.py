"""What the surviving directories of a cluster hold, which of them is most advanced, and what nobody can know."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from conflux.errors import ConfluxError, Damaged
from conflux.node.standing import StandingLog
from conflux.raft.configuration import majority
from conflux.raft.entry import Kind
from conflux.store.image import decode_fields
from conflux.store.membership import Member, Membership
from conflux.store.records import membership_of, next_revision_of


@dataclass(frozen=True, slots=True)
class Point:
    """What a log comes to at one of its entries."""

    index: int
    revision: int
    membership: Membership


@dataclass(frozen=True, slots=True, kw_only=True)
class Survivor:
    """One directory that can be read."""

    label: str
    identity: str
    path: Path
    app: str
    app_version: int
    cluster: str
    cluster_id: str
    term: int
    commit_index: int  # a hint that is never too high
    first_index: int
    last_index: int  # of what can be read
    last_term: int
    revision: int  # at its end
    membership: Membership  # as its log says
    points: tuple[Point, ...]  # the last that its own commit index is sure of, and all behind it
    damage: str | None  # why it can't be read any further


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """All of them together."""

    survivors: tuple[Survivor, ...]  # most advanced first
    problems: dict[Path, str]  # of directories that can't be read

    @property
    def best(self) -> Survivor:
        return self.survivors[0]

    @property
    def voters(self) -> tuple[Member, ...]:
        """Who voted in the cluster, as the most advanced log says."""
        return tuple(each for each in self.best.membership.members_by_identity if each.standing == "voter")

    @property
    def lost(self) -> list[Member]:
        """Voters of whom there is no directory that can be read to its end."""
        here = {each.identity for each in self.survivors if each.damage is None}
        lost = [each for each in self.voters if each.identity not in here]
        return sorted(lost, key=lambda each: each.label)

    @property
    def has_majority(self) -> bool:
        """True where enough are left for the cluster to go on by itself."""
        return len(self.voters) - len(self.lost) >= self.majority

    @property
    def majority(self) -> int:
        return majority(len(self.voters))

    @property
    def commit_index(self) -> int:
        """The highest that any of them knows to be committed."""
        return max(each.commit_index for each in self.survivors)

    @property
    def known(self) -> Point:
        """How far the most advanced log is known to be committed: up to here it is the log of all others, too."""
        points = self.best.points
        return max((each for each in points if each.index <= self.commit_index), key=_index, default=points[0])

    @property
    def missing_behind(self) -> int | None:
        """The entry behind which acknowledged ones may be missing; None: none is.

        The most advanced log may hold entries behind it, and others may have been committed in their place: those of
        a leader that the lost ones deposed are the last that anybody here heard of.
        """
        return None if self.is_complete else self.known.index

    @property
    def could_decide(self) -> Membership | None:
        """Members of whom the lost ones were a majority, as far as can be known here; None: of none.

        A change of the members that is not known to be committed may have been undone, or be in force.
        """
        here = {each.identity for each in self.survivors if each.damage is None}
        uncertain = [each.membership for each in self.best.points if each.index > self.known.index]
        for membership in (self.best.membership, self.known.membership, *uncertain):
            if membership.has_quorum({*membership.voters} - here):
                return membership
        return None

    @property
    def is_complete(self) -> bool:
        """True where every acknowledged entry is on a survivor.

        Only a majority is sure of that: any that the lost ones made, of whatever members, would have one of it. Where
        the lost ones are no majority of the members that are known here, they may have changed those, one by one.
        """
        return self.has_majority

    @property
    def standing_of(self) -> dict[str, str]:
        """What each survivor is to the cluster, by identity."""
        known = {each.identity: str(each.standing) for each in self.best.membership.members_by_identity}
        return {each.identity: known.get(each.identity, "removed") for each in self.survivors}

    def sentences(self) -> list[str]:
        """What may be missing, and what is kept that may not have been acknowledged."""
        best, known, could_decide = self.best, self.known, self.could_decide
        end = f"entry {best.last_index} (term {best.last_term}, revision {best.revision})"
        said = [f"The most advanced is {best.label}: its log ends with {end}."]
        if best.damage is not None:
            said.append(f"It can't be read any further: {best.damage}.")
        if self.is_complete:
            said.append("Nothing that was acknowledged is missing: whatever a majority held, one of these holds.")
        elif could_decide is None:
            said.append(
                f"What may be missing: nothing that a majority of these {len(self.voters)} voters held. Only if the "
                "lost ones changed the members before, there may be more that no directory here ever held."
            )
        else:
            said.append(self._what_may_be_missing(could_decide))
        if best.last_index > known.index:
            said.append(
                f"Entries {known.index + 1} to {best.last_index} are not known to be committed here. They are kept: "
                "actions may be among them whose callers got no answer, or were told that they are not applied."
            )
        return said

    def _what_may_be_missing(self, membership: Membership) -> str:
        here = {each.identity for each in self.survivors if each.damage is None}
        voters = [each for each in membership.members_by_identity if each.standing == "voter"]
        lost = sorted(each.label for each in voters if each.identity not in here)
        return (
            f"What may be missing: entries behind {self.known.index}. {', '.join(lost)} are {len(lost)} of "
            f"{len(voters)} voters; {majority(len(voters))} make a majority, and may have acknowledged actions behind "
            f"revision {self.known.revision} that no directory here ever held. Whether there were any, nothing here "
            "can tell."
        )


def _index(point: Point) -> int:
    return point.index


def find(paths: Sequence[Path]) -> Findings:
    """Read these directories. Changes nothing.

    Raises:
        ConfluxError: none of them can be read, or they are of more than one cluster.
    """
    survivors, problems = [], {}
    for path in paths:
        try:
            survivors.append(_read(path))
        except ConfluxError as error:
            problems[path] = str(error)
    if not survivors:
        hint = "Name those that are left: conflux recover --from DIR, once for each."
        raise ConfluxError(f"no directory can be read: {'; '.join(problems.values()) or 'there is none'}", hint=hint)
    if len({each.cluster_id for each in survivors}) > 1:
        named = ", ".join(f"{each.path} ({each.cluster_id[:8]})" for each in survivors)
        raise ConfluxError(f"these directories are of different clusters: {named}", hint="Name them with --from.")
    survivors.sort(key=lambda each: each.label)
    survivors.sort(key=lambda each: (each.last_term, each.last_index, each.commit_index), reverse=True)
    return Findings(survivors=tuple(survivors), problems=problems)


def _read(path: Path) -> Survivor:
    with closing(StandingLog(path)) as log:
        if not log.cluster_id or log.accepted is None:
            raise ConfluxError(f"the cluster of {path} was never formed")
        base, state = log.base, log.state
        founders = (Member(each.identity, each.label, each.public_key) for each in log.accepted.founders)
        membership = Membership.made_of(founders)
        revision = 0
        if base is not None:
            membership, revision = decode_fields(base.fields).members.membership(), base.revision
        last_index, last_term, damage = log.first_index - 1, base.term if base is not None else 0, None
        points = [Point(last_index, revision, membership)]
        try:
            for entry in log.entries(state.last_index):
                last_index, last_term = entry.index, entry.term
                revision = next_revision_of(entry.payload) - 1
                if entry.kind is Kind.MEMBERSHIP:
                    membership = membership_of(entry.payload) or membership
                if last_index <= state.commit_index:
                    points.clear()
                points.append(Point(last_index, revision, membership))
        except Damaged as error:
            damage = str(error)
        return Survivor(
            label=log.mine.label,
            identity=log.mine.identity,
            path=path,
            app=log.mine.app,
            app_version=log.mine.app_version,
            cluster=log.mine.cluster,
            cluster_id=log.cluster_id,
            term=state.term,
            commit_index=min(state.commit_index, last_index) if damage else state.commit_index,
            first_index=log.first_index,
            last_index=last_index,
            last_term=last_term,
            revision=revision,
            membership=membership,
            points=tuple(points),
            damage=damage,
        )
