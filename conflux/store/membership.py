"""`Membership`: who belongs to the cluster, by name, and who is on the way in or out. Immutable.

It *is* the configuration that the core counts with, with all that the rest has to know of the members beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from msgspec import Struct

from conflux import limits
from conflux.raft.configuration import Configuration

Standing = Literal["voter", "learner", "joining"]  # joining: a learner that becomes a voter once it has caught up


class Member(Struct, array_like=True, frozen=True):
    """One node of the cluster."""

    identity: str
    label: str  # unique among the members
    public_key: str
    standing: Standing = "voter"
    address: str = ""  # where it was when it joined: a hint for dialling


class Token(Struct, array_like=True, frozen=True):
    """An invitation to join, good for one node. The secret itself is nowhere but with whoever asked for it."""

    digest: bytes
    standing: Standing
    expires_us: int  # log time


class Replacement(Struct, array_like=True, frozen=True):
    """An intent: `new` takes the place of `old`, whoever leads until that is done."""

    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Membership(Configuration):
    """All that the log says of the members."""

    members_by_identity: tuple[Member, ...] = ()  # sorted by identity
    removed: tuple[str, ...] = ()  # identities that never return, sorted
    tokens: tuple[Token, ...] = ()
    replacement: Replacement | None = None

    @classmethod
    def made_of(
        cls,
        members: Iterable[Member],
        *,
        removed: Iterable[str] = (),
        tokens: Iterable[Token] = (),
        replacement: Replacement | None = None,
    ) -> Membership:
        """The membership of these, in any order."""
        everyone = tuple(sorted(members, key=lambda member: member.identity))
        return cls(
            tuple(member.identity for member in everyone if member.standing == "voter"),
            tuple(member.identity for member in everyone if member.standing != "voter"),
            everyone,
            tuple(sorted(set(removed))),
            tuple(tokens),
            replacement,
        )

    def find(self, name: str) -> Member | None:
        """The member of this label, identity, or unique beginning of an identity."""
        exact = [member for member in self.members_by_identity if name in (member.label, member.identity)]
        begins = [member for member in self.members_by_identity if name and member.identity.startswith(name)]
        found = exact or begins
        return found[0] if len(found) == 1 else None

    def joining(self) -> list[Member]:
        """Those who become voters once they have caught up."""
        return [member for member in self.members_by_identity if member.standing == "joining"]

    def with_member(self, member: Member) -> Membership:
        """One more, or the same one with another standing."""
        others = [each for each in self.members_by_identity if each.identity != member.identity]
        return self._with_members([*others, member])

    def without(self, identity: str) -> Membership:
        """One less; it never returns."""
        gone = self.find(identity)
        assert gone is not None
        others = [each for each in self.members_by_identity if each.identity != identity]
        replacement = self.replacement
        if replacement is not None and identity in (replacement.old, replacement.new):
            others = [
                _with_label(each, gone.label) if each.label == label_beside(gone.label, each.identity) else each
                for each in others
            ]
            replacement = None
        return replace(
            self._with_members(others), removed=tuple(sorted({*self.removed, identity})), replacement=replacement
        )

    def promoted(self, identity: str) -> Membership:
        """A learner becomes a voter."""
        member = self.find(identity)
        assert member is not None
        return self.with_member(_standing(member, "voter"))

    def intending(self, replacement: Replacement) -> Membership:
        """With the intent to let one member take another's place."""
        return replace(self, replacement=replacement)

    def inviting(self, token: Token) -> Membership:
        """With one more invitation."""
        return replace(self, tokens=(*self.tokens, token))

    def token_of(self, secret: str, log_time_us: int) -> Token | None:
        """The invitation that a secret opens, if it is still good."""
        digest = token_digest(secret)
        found = [token for token in self.tokens if token.digest == digest and token.expires_us > log_time_us]
        return found[0] if found else None

    def without_token(self, used: Token) -> Membership:
        """An invitation is used up."""
        return replace(self, tokens=tuple(token for token in self.tokens if token != used))

    def without_expired(self, log_time_us: int) -> Membership:
        """Without the invitations that nobody came for in time."""
        return replace(self, tokens=tuple(token for token in self.tokens if token.expires_us > log_time_us))

    def problem(self) -> str | None:
        """Why this is no membership that a cluster could have; None where it is one."""
        labels = [member.label for member in self.members_by_identity]
        identities = {member.identity for member in self.members_by_identity}
        rules = [
            (len(self.voters) >= 1, "a cluster needs a voter"),
            (len(labels) <= limits.MEMBERS_MAX + limits.REPLACEMENTS_MAX, "a cluster has at most 9 members"),
            (len(set(labels)) == len(labels), "two members have the same label"),
            (len(identities) == len(labels), "two members have the same identity"),
            (not identities & set(self.removed), "a removed member never returns"),
        ]
        return next((sentence for holds, sentence in rules if not holds), None)

    def _with_members(self, members: Iterable[Member]) -> Membership:
        return Membership.made_of(members, removed=self.removed, tokens=self.tokens, replacement=self.replacement)


NOBODY = Membership(())


def token_digest(secret: str) -> bytes:
    """What the log knows of an invitation."""
    return hashlib.blake2b(secret.encode(), digest_size=16).digest()


def label_beside(label: str, identity: str) -> str:
    """What a newcomer is called while the member that it replaces has its label."""
    return f"{label}-{identity[:4]}"


def _with_label(member: Member, label: str) -> Member:
    return Member(member.identity, label, member.public_key, member.standing, member.address)


def _standing(member: Member, standing: Standing) -> Member:
    return Member(member.identity, member.label, member.public_key, standing, member.address)
