"""`Founding`: who this node is, who the others say they are, and how they become a cluster."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from conflux import limits
from conflux.errors import DiskFull
from conflux.node import directory as directories
from conflux.node.directory import Directory
from conflux.node.formation import Accept, Formation, Formed, GiveUp, Never
from conflux.node.joining import Joining
from conflux.node.links import Links
from conflux.storage.interface import Storage
from conflux.store.membership import Member, Membership
from conflux.wire.frames import NOBODY, PeerFrame
from conflux.wire.peers import RAFT_MESSAGES, AskSnapshot, Candidate, Hello, Removed, SnapshotGone, SnapshotPart

FROM_UNKNOWN_MEMBERS = (*RAFT_MESSAGES, AskSnapshot, SnapshotGone, SnapshotPart, Removed)

TELL_SECONDS = 1.0  # between two lines of the log on what is waited for

_log = logging.getLogger("conflux.node")


class Founding:
    """Keeps the directory true while a formation goes on, and greets.

    Args:
        counts: where what is dropped is counted.
        on_formed: called once, when this node is a member of a formed cluster and that is on disk.
        on_removed: called once, when this node was removed from its cluster for good.
        committed: the members that are committed, where those in force may yet be taken back: only whose removal is
            committed is told so, and heard no more.
        on_candidate: told of each greeting of a node that wants to join.
        join: the token of a node that wants to join a cluster; None: it takes part in a formation.
    """

    def __init__(
        self,
        directory: Directory,
        links: Links,
        counts: Counter[str],
        *,
        settle_s: float,
        now_s: float,
        on_formed: Callable[[], None],
        on_removed: Callable[[], None],
        committed: Callable[[], Membership],
        on_candidate: Callable[[Candidate], None],
        join: str | None,
    ) -> None:
        self.directory = directory
        self._counts = counts
        self._links = links
        self._on_formed = on_formed
        self._on_removed = on_removed
        self._committed = committed
        self._on_candidate = on_candidate
        self._join = join
        self._joining = None if join is None or directory.formed else Joining(directory.self, join)
        self._disk_full: str | None = None
        self._told = ""
        self._next_tell_s = now_s
        mine = directory.self
        self._formation = Formation(
            mine.founder,
            name=mine.cluster,
            size=mine.size,
            app=mine.app,
            app_version=mine.app_version,
            accepted=directory.accepted,
            nevers=directory.nevers,
            settle_s=settle_s,
            now_s=now_s,
        )
        self._membership: Membership | None = None
        self._note_members()

    def membership(self) -> Membership:
        """The members, as far as they are known: as the log has them, or as they were when the cluster was formed."""
        if self._membership is not None:
            return self._membership
        accepted, own = self.directory.accepted, self.directory.self.founder
        founders = accepted.founders if accepted else (own,)
        return Membership.made_of(Member(each.identity, each.label, each.public_key) for each in founders)

    def members_changed(self, membership: Membership) -> None:
        """The log has other members now."""
        self._membership = membership
        for member in membership.members_by_identity:
            self._links.expect(member.identity, member.address)
        self._note_members()
        self._links.greet_soon()

    @property
    def is_outside(self) -> bool:
        """True where this node is of the cluster, and no member as far as it knows what is committed.

        It was let in a moment ago, or by a leader whose entry was lost: then it has to be let in again. It may have
        that entry in its log, and nobody who leads will ever cut it out there.
        """
        directory = self.directory
        return directory.formed and not directory.removed and directory.self.identity not in self._committed().members

    def members_committed(self, removed: Collection[str]) -> None:
        """These are removed for good: their links are cut."""
        for identity in removed:
            self._links.cut_off(identity)

    def was_removed(self) -> None:
        """A member says that this node was removed from the cluster, for good."""
        if not self.directory.removed:
            self._record(directories.record_removed)
            self._reread()
            self._on_removed()

    def waiting_for(self) -> str:
        """Who or what is missing, in one line."""
        if self._joining is not None:
            return self._joining.waiting_for()
        remarks = sorted(self._formation.strangers.values())
        if self._disk_full is not None:
            remarks.append(f"disk full: {self._disk_full}")
        return "; ".join([self._formation.waiting_for(), *remarks, *self._links.remarks()])

    @property
    def wants_to_join(self) -> bool:
        """True until a cluster that was formed before has let this node in."""
        return self._joining is not None

    def settles_at_s(self) -> float | None:
        """See `Formation.settles_at_s`."""
        return self._formation.settles_at_s()

    def form(self, now_s: float) -> None:
        """One step of the formation. What the disk has no room for is not decided: the next turn tries again."""
        if self._joining is not None:
            return
        try:
            while self._carry_out_decision(now_s):
                self._links.greet_soon()
        except DiskFull as error:
            self._disk_full = str(error)
        else:
            self._disk_full = None
        self._links.forget(self._formation.take_gone())

    def greet(self, now_s: float) -> None:
        """Greet all others, when it is time."""
        if now_s < self._links.greets_at_s:
            return
        forming = not self.directory.formed
        if forming:
            self._tell(now_s)
        lonely = forming or not self._others <= self._links.heard
        self._links.greet_all(self._hello(answer_me=lonely), now_s, forming=forming, lonely=lonely)

    def hear(self, frame: PeerFrame, hello: Hello, now_s: float) -> None:
        """Take a greeting."""
        own = self.directory.self.identity
        if hello.founder.identity in (own, NOBODY) or frame.sender != hello.founder.identity:
            return
        if self._joining is not None:
            self._joining.hear(hello)
            self._links.learn(hello)
        elif not self.directory.formed:
            if hello.join is None:
                self._formation.hear(hello, now_s)
                self._links.learn(hello)
                if hello.address not in self._formation.strangers:
                    self._expect(hello.others)
        elif self._is_member(hello):
            self._expect(each for each in hello.others if each[0] in self._others)
            if self._links.learn(hello):
                self._record(lambda storage: directories.record_addresses(storage, self._links.addresses))
        elif hello.founder.identity in self._committed().removed:
            self._links.tell(hello, Removed())
        elif frame.cluster == self._accepted_id:
            self._links.learn(hello)  # a member, of which the log has not told yet, or will not
            if hello.join is not None:
                self._on_candidate(Candidate(hello.founder, hello.address, hello.join))
        elif hello.join is not None:
            self._links.learn(hello)
            self._on_candidate(Candidate(hello.founder, hello.address, hello.join))
        else:
            self._counts["strangers"] += 1
            self._links.dial(hello.address)
            self._refuse_late_proposal(hello)
        if hello.answer_me:
            self._links.greet(self._hello(answer_me=False), hello.address)

    def is_from_a_member(self, frame: PeerFrame) -> bool:
        """True where a frame is of this node's cluster, to this node, from another that wasn't removed.

        Such a frame forms the cluster, where this node did not know: all must have accepted it. To a node that wants
        to join it says that it was let in. A member takes Raft's messages from a node that it doesn't know, too: the
        log that would tell of that one may still be on its way (thesis 4.1).
        """
        if frame.receiver != self.directory.self.identity:
            return False
        if (
            frame.sender in self._others
            and frame.cluster == self._accepted_id
            and self.directory.formed
            and self._joining is None
        ):
            return True  # as nearly always: what follows is for frames that change who is known
        if self._joining is not None and not self._is_let_in(self._joining, frame):
            return False
        if frame.cluster != self._accepted_id or frame.sender == frame.receiver:
            return False
        if self.directory.formed:
            committed = self._committed()
            if frame.sender in self.membership().members or frame.sender in committed.members:
                return True
            return isinstance(frame.message, FROM_UNKNOWN_MEMBERS) and frame.sender not in committed.removed
        if frame.sender not in self._others:
            return False
        self._record(lambda _: self._formed())
        return self.directory.formed

    # -- inside --------------------------------------------------------------------------------------------------

    def _expect(self, hints: Iterable[tuple[str, str]]) -> None:
        """Others may know where a node is that this one was never told of: each may be named to one other alone."""
        for identity, address in hints:
            self._links.expect(identity, address)

    def _is_member(self, hello: Hello) -> bool:
        identity = hello.founder.identity
        member = self.membership().find(identity) or self._committed().find(identity)
        return member is not None and member.public_key == hello.founder.public_key

    def _is_let_in(self, joining: Joining, frame: PeerFrame) -> bool:
        """Make this node a member of the cluster whose leader sent this; False where that can't be."""
        proposal = joining.proposal_of(frame.cluster)
        if proposal is None:
            return False
        self._record(lambda storage: directories.record_joined(storage, proposal))
        self._reread()
        if self.directory.formed:
            self._joining = None
            self._on_formed()
            self._links.greet_soon()
        return self.directory.formed

    def _carry_out_decision(self, now_s: float) -> bool:
        """True where there may be another one at once: a founder that is alone forms its cluster in one turn."""
        storage, nevers = self.directory.storage, self.directory.nevers
        match self._formation.decide(now_s):
            case Accept(proposal):
                directories.record_accepted(storage, proposal)
            case Never(refused):
                directories.record_never(storage, nevers | {refused}, gives_up=False)
            case GiveUp(refused):
                directories.record_never(storage, nevers | {refused}, gives_up=True)
            case Formed():
                self._formed()
                return False
            case None:
                return False
        self._reread()
        return True

    def _tell(self, now_s: float) -> None:
        """What is waited for goes to the log too, whenever it changes."""
        if now_s < self._next_tell_s:
            return
        waiting_for = self.waiting_for()
        if waiting_for != self._told:
            self._told, self._next_tell_s = waiting_for, now_s + TELL_SECONDS
            _log.info("not formed yet: %s", waiting_for)

    def _formed(self) -> None:
        directories.record_formed(self.directory.storage)
        self._reread()
        self._on_formed()
        self._links.greet_soon()

    def _refuse_late_proposal(self, hello: Hello) -> None:
        """A node still waits for this one to accept another proposal: it never will, and says so for good."""
        late = hello.accepted
        if late is None or self.directory.self.founder not in late.founders:
            return
        nevers = self.directory.nevers | {directories.cluster_id(late)}
        if nevers != self.directory.nevers and len(nevers) <= limits.CANDIDATES_MAX:
            self._record(lambda storage: directories.record_never(storage, nevers, gives_up=False))
            self._reread()

    def _record(self, write: Callable[[Storage], None]) -> None:
        """Write down what can wait for a better time, should the disk be full now."""
        try:
            write(self.directory.storage)
        except DiskFull:
            self._counts["disk full"] += 1

    def _reread(self) -> None:
        self.directory = directories.read(self.directory.storage)
        self._formation.accepted = self.directory.accepted
        self._formation.nevers = self.directory.nevers
        self._note_members()

    def _note_members(self) -> None:
        accepted = self.directory.accepted
        self._accepted_id = directories.cluster_id(accepted) if accepted else None
        self._others = set(self.membership().members) - {self.directory.self.identity}

    def _hello(self, *, answer_me: bool) -> Hello:
        """An answer never asks for one in turn: two nodes would greet each other without end."""
        mine = self.directory.self
        others = self._links.confirmed()
        if self.directory.formed:
            others = {identity: address for identity, address in others.items() if identity in self._others}
        return Hello(
            founder=mine.founder,
            address=self._links.own_address,
            name=mine.cluster,
            size=max(1, mine.size),
            app=mine.app,
            app_version=mine.app_version,
            accepted=self.directory.accepted,
            nevers=tuple(sorted(self.directory.nevers))[: limits.CANDIDATES_MAX],
            formed=self.directory.formed,
            answer_me=answer_me,
            join=(self._join or "") if self._joining is not None or self.is_outside else None,
            others=tuple(sorted(others.items()))[: limits.MEMBERS_MAX],
        )
