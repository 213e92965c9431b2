"""What the surviving directories of a cluster hold, which of them is most advanced, and what nobody can know."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from conflux.errors import ConfluxError, Damaged
from conflux.node.standing import StandingLog
from conflux.raft.entry import Kind
from conflux.store.image import decode_fields
from conflux.store.membership import Member, Membership
from conflux.store.records import membership_of, next_revision_of


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
        return len(self.voters) // 2 + 1

    @property
    def commit_index(self) -> int:
        """The highest that any of them knows to be committed."""
        return max(each.commit_index for each in self.survivors)

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
        best, lost = self.best, self.lost
        end = f"entry {best.last_index} (term {best.last_term}, revision {best.revision})"
        said = [f"The most advanced is {best.label}: its log ends with {end}."]
        if best.damage is not None:
            said.append(f"It can't be read any further: {best.damage}.")
        if self.is_complete:
            said.append("Nothing that was acknowledged is missing: whatever a majority held, one of these holds.")
        elif len(lost) < self.majority:
            said.append(
                f"What may be missing: nothing that a majority of these {len(self.voters)} voters held. Only if the "
                "lost ones changed the members before, there may be more that no directory here ever held."
            )
        else:
            labels = ", ".join(member.label for member in lost)
            said.append(
                f"What may be missing: entries behind {best.last_index}. {labels} are {len(lost)} of "
                f"{len(self.voters)} voters; {self.majority} make a majority, and may have acknowledged actions behind "
                f"revision {best.revision} that no directory here ever held. Whether there were any, nothing here can "
                "tell."
            )
        if best.last_index > self.commit_index:
            said.append(
                f"Entries {self.commit_index + 1} to {best.last_index} are not known to be committed here. They are "
                "kept: actions whose callers never got an answer may be among them."
            )
        return said


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
        raise ConfluxError(f"no directory can be read: {'; '.join(problems.values()) or 'there is none'}")
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
        try:
            for entry in log.entries(state.last_index):
                last_index, last_term = entry.index, entry.term
                revision = next_revision_of(entry.payload) - 1
                if entry.kind is Kind.MEMBERSHIP:
                    membership = membership_of(entry.payload) or membership
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
            damage=damage,
        )
