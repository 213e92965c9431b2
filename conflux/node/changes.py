"""`MemberChanges`: what a leader does about the members. Operators ask; the log remembers; any leader carries on.

A newcomer is a learner first, and becomes a voter once it has caught up (thesis 4.2.1) and the quorum after it would
be healthy. A replacement is an intent in the log: each of its steps follows from the membership alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from conflux import limits
from conflux.node.candidates import Candidates
from conflux.node.catching_up import CatchingUp
from conflux.node.origin import Origin
from conflux.raft.configuration import Configuration, majority
from conflux.raft.core import Raft
from conflux.raft.roles import Leader
from conflux.store.membership import Member, Membership, Replacement, Standing, Token, label_beside, token_digest
from conflux.wire.clients import Change, Changed, ChangeMembers, Code, Refused
from conflux.wire.peers import Candidate

WAITING_CHANGES_MAX = 64


@dataclass(frozen=True, slots=True)
class Planned:
    """A change to be proposed."""

    membership: Membership
    origin: Origin | None = None  # who is told once it is committed
    request: int = 0
    token: str = ""


class _No(Exception):
    """A change that is refused, and why."""

    def __init__(self, text: str, code: Code = Code.BAD_ARGUMENTS) -> None:
        super().__init__(text)
        self.code = code


class MemberChanges:
    """The changes of one leader's term.

    Args:
        reply: hands an answer to whoever asked.
        catch_up_s: what a learner's last round may take at most.
        hand_over: asks the core to hand leadership to another voter. False: it can't now.
        draw_token: makes the secret of an invitation.
    """

    def __init__(
        self,
        raft: Raft,
        candidates: Candidates,
        reply: Callable[[Origin, Any], object],
        *,
        catch_up_s: float,
        hand_over: Callable[[], bool],
        draw_token: Callable[[], str],
    ) -> None:
        self._raft = raft
        self._candidates = candidates
        self._reply = reply
        self._hand_over = hand_over
        self._draw_token = draw_token
        self._catching_up = CatchingUp(catch_up_s)
        self._waiting: deque[tuple[Origin, ChangeMembers]] = deque()
        self._looked_at: Configuration | None = None
        self._goes_on = False

    @property
    def has_work(self) -> bool:
        """True where `plan` may have something to do."""
        return bool(self._waiting) and self._raft.may_change_membership

    @property
    def is_settled(self) -> bool:
        """True where nobody asks for a change and none goes on by itself: `plan` would find nothing.

        It is asked in every turn, so it is worked out once for each membership.
        """
        if self._waiting:
            return False
        membership = self._raft.configuration
        if membership is not self._looked_at:
            self._looked_at = membership
            self._goes_on = isinstance(membership, Membership) and bool(
                membership.replacement is not None or membership.joining() or membership.tokens
            )
        return not self._goes_on

    def take(self, origin: Origin, request: ChangeMembers) -> None:
        """Let a request wait until no other change is under way."""
        if len(self._waiting) >= WAITING_CHANGES_MAX:
            self._reply(origin, Refused(request.request, Code.BUSY, "too many changes of the members are waiting"))
        else:
            self._waiting.append((origin, request))

    def plan(self, now_s: float, log_time_us: int) -> Planned | None:
        """The next change to propose, if there is one and it may be proposed now."""
        membership = self._raft.configuration
        if not isinstance(membership, Membership):
            return None
        while (
            self.has_work
        ):  # asked anew each time: a leader that is to be removed hands over, and changes nothing then
            origin, request = self._waiting.popleft()
            try:
                return self._planned(membership, origin, request, now_s, log_time_us)
            except _No as refusal:
                self._reply(origin, Refused(request.request, refusal.code, str(refusal)))
        for step in (self._carry_on, self._admit_by_token):
            after = step(membership, now_s, log_time_us) if self._raft.may_change_membership else None
            if after is not None:
                return Planned(after)
        return None

    def committed(self, change: Planned, index: int) -> None:
        """A change that was planned here is committed."""
        if change.origin is not None:
            self._reply(change.origin, Changed(change.request, index, change.token))

    def end(self) -> None:
        """Leadership is over."""
        while self._waiting:
            origin, request = self._waiting.popleft()
            self._reply(origin, Refused(request.request, Code.NO_LEADER, "the leader has changed"))

    # -- what goes on by itself ------------------------------------------------------------------------------------

    def _carry_on(self, membership: Membership, now_s: float, _log_time_us: int) -> Membership | None:
        """The next step of a replacement, or of a learner that is to become a voter."""
        replacement = membership.replacement
        if replacement is not None and replacement.new in membership.voters:
            if replacement.old == self._raft.identity:
                self._hand_over()
                return None
            return membership.without(replacement.old)
        for member in membership.joining():
            if self._has_caught_up(member.identity, now_s) and self._may_count(membership, member.identity):
                return membership.promoted(member.identity)
        return None

    def _admit_by_token(self, membership: Membership, now_s: float, log_time_us: int) -> Membership | None:
        """Somebody came with an invitation that is still good: it is used up by this."""
        for candidate in self._candidates.all(now_s):
            token = membership.token_of(candidate.join, log_time_us) if candidate.join else None
            if token is None or self._why_not_admit(membership, candidate) is not None:
                continue
            after = membership.without_token(token).with_member(_member(candidate, token.standing))
            return after if after.problem() is None else None
        return None

    def _has_caught_up(self, identity: str, now_s: float) -> bool:
        role = self._raft.role
        progress = role.progress.get(identity) if isinstance(role, Leader) else None
        if progress is None:
            return False
        return self._catching_up.has(identity, progress.match_index, self._raft.log.last_index, now_s)

    def _may_count(self, membership: Membership, identity: str) -> bool:
        """True where the quorum with one more voter would have a healthy voter to spare, or all would be healthy."""
        voters = {*membership.voters, identity}
        healthy = len(voters & self._healthy())
        needed = majority(len(voters))
        return healthy > needed or healthy == len(voters) or (membership.replacement is not None and healthy >= needed)

    def _healthy(self) -> set[str]:
        """Members that were heard within the shortest election time-out, and this node."""
        role, silent = self._raft.role, self._raft.options.election_ticks_min
        assert isinstance(role, Leader)
        heard = {peer for peer, progress in role.progress.items() if progress.silence < silent}
        return heard | {self._raft.identity}

    # -- what operators ask ----------------------------------------------------------------------------------------

    def _planned(
        self, membership: Membership, origin: Origin, request: ChangeMembers, now_s: float, log_time_us: int
    ) -> Planned:
        token = ""
        membership = membership.without_expired(log_time_us)
        match request.change:
            case Change.ADD:
                after = membership.with_member(self._newcomer(membership, request.member, "joining", now_s))
            case Change.LEARN:
                after = membership.with_member(self._newcomer(membership, request.member, "learner", now_s))
            case Change.PROMOTE:
                after = self._promoting(membership, request.member)
            case Change.REMOVE:
                after = self._removing(membership, request)
            case Change.REPLACE:
                after = self._replacing(membership, request, now_s)
            case Change.INVITE | Change.INVITE_LEARNER:
                token = self._draw_token()
                after = _inviting(membership, request.change, log_time_us, token)
        if (problem := after.problem()) is not None:
            raise _No(problem)
        return Planned(after, origin, request.request, token)

    def _newcomer(self, membership: Membership, name: str, standing: Standing, now_s: float) -> Member:
        candidate = self._candidates.find(name, now_s)
        if candidate is None:
            if membership.find(name) is not None:
                raise _No(f"{name} is a member already")
            there = ", ".join(each.founder.label for each in self._candidates.all(now_s)) or "nobody"
            raise _No(f"no node {name!r} waits to join: {there} does. Start it there: conflux start --join wait")
        if (problem := self._why_not_admit(membership, candidate)) is not None:
            raise _No(problem)
        return _member(candidate, standing)

    def _why_not_admit(self, membership: Membership, candidate: Candidate) -> str | None:
        founder = candidate.founder
        if founder.identity in membership.removed:
            return f"{founder.label} was removed and never returns: a new directory makes it a new node"
        if founder.identity in membership.members:
            return f"{founder.label} is a member already"
        if any(member.label == founder.label for member in membership.members_by_identity):
            return f"there is a member {founder.label} already: replace it, or start the new one with another --id"
        return None

    def _promoting(self, membership: Membership, name: str) -> Membership:
        member = _known(membership, name)
        if member.standing == "voter":
            raise _No(f"{member.label} is a voter already")
        return membership.with_member(
            Member(member.identity, member.label, member.public_key, "joining", member.address)
        )

    def _removing(self, membership: Membership, request: ChangeMembers) -> Membership:
        member = _known(membership, request.member)
        after = membership.without(member.identity)
        if not after.voters:
            raise _No(f"{member.label} is the only voter: a cluster needs one")
        healthy = len(set(after.voters) & self._healthy())
        if member.standing == "voter" and healthy < majority(len(after.voters)) and not request.force:
            raise _No(
                f"without {member.label} only {healthy} of {len(after.voters)} voters would be healthy, "
                f"and {majority(len(after.voters))} are needed: --force"
            )
        if member.identity == self._raft.identity:
            if self._hand_over():
                raise _No(f"{member.label} leads and hands over first", Code.NO_LEADER)
            raise _No(f"{member.label} leads, and there is nobody to hand over to", Code.BUSY)
        return after

    def _replacing(self, membership: Membership, request: ChangeMembers, now_s: float) -> Membership:
        old = _known(membership, request.member)
        if membership.replacement is not None:
            raise _No("another member is being replaced", Code.BUSY)
        new = membership.find(request.other) if request.other else None
        if new is None or new.standing == "voter":
            new = self._replacing_newcomer(membership, old, request.other or old.label, now_s)
        joining = Member(new.identity, _label_beside(membership, new), new.public_key, "joining", new.address)
        return membership.with_member(joining).intending(Replacement(old.identity, new.identity))

    def _replacing_newcomer(self, membership: Membership, old: Member, name: str, now_s: float) -> Member:
        candidate = self._candidates.find(name, now_s)
        if candidate is None:
            raise _No(f"no node {name!r} waits to join. Start it there: conflux start --join wait")
        if candidate.founder.label != old.label and (problem := self._why_not_admit(membership, candidate)):
            raise _No(problem)
        if candidate.founder.identity in (*membership.removed, *membership.members):
            raise _No(f"{name} is a member already, or was one")
        return _member(candidate, "joining")


def _known(membership: Membership, name: str) -> Member:
    member = membership.find(name)
    if member is None:
        labels = ", ".join(each.label for each in sorted(membership.members_by_identity, key=lambda each: each.label))
        raise _No(f"there is no member {name}: the members are {labels}")
    return member


def _label_beside(membership: Membership, new: Member) -> str:
    """The newcomer's label, or one beside it while the member that it replaces has the same."""
    taken = {each.label for each in membership.members_by_identity if each.identity != new.identity}
    return new.label if new.label not in taken else label_beside(new.label, new.identity)


def _member(candidate: Candidate, standing: Standing) -> Member:
    founder = candidate.founder
    return Member(founder.identity, founder.label, founder.public_key, standing, candidate.address)


def _inviting(membership: Membership, change: Change, log_time_us: int, secret: str) -> Membership:
    if len(membership.tokens) >= limits.TOKENS_MAX:
        raise _No(f"{limits.TOKENS_MAX} invitations are open: they lapse after a day", Code.BUSY)
    standing: Standing = "joining" if change is Change.INVITE else "learner"
    expires_us = log_time_us + limits.TOKEN_SECONDS * 1_000_000
    return membership.inviting(Token(token_digest(secret), standing, expires_us))
