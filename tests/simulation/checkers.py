"""What must hold in every history, each as an object that watches. A checker knows nothing of how the core works."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conflux.raft.effects import Persist
from conflux.raft.entry import Entry
from conflux.raft.invariants import check
from conflux.raft.messages import Accepted, Envelope, NodeId, VoteReply, VoteRequest
from conflux.raft.roles import Leader

if TYPE_CHECKING:
    from tests.simulation.simulator import Host


class Violation(AssertionError):
    """The history is one that must not be."""


def require(condition: object, sentence: str) -> None:
    if not condition:
        raise Violation(sentence)


class Checker:
    """Watches a history. Each method is told of one thing, after it has happened."""

    def stepped(self, host: Host) -> None:
        """A door of this host's core was used."""

    def sent(self, host: Host, envelope: Envelope) -> None:
        """A message left this host."""

    def persisting(self, host: Host, persist: Persist) -> None:
        """This host is about to write."""

    def committed(self, host: Host, entries: list[Entry]) -> None:
        """This host was told that these entries of its disk are committed."""

    def acknowledged(self, index: int, payload: bytes) -> None:
        """A client was told that its proposal is committed."""

    def read_asked(self, context: int) -> None:
        """A client asked for a read."""

    def read_answered(self, host: Host, context: int, index: int) -> None:
        """It was answered from the state as of this index."""

    def ended(self) -> None:
        """The run is over, and healed."""


class Invariants(Checker):
    """The core's own invariants hold after each step."""

    def stepped(self, host: Host) -> None:
        check(host.raft)


class OneLeaderATerm(Checker):
    """Election safety: at most one node, and one run of it, leads in a term (A1)."""

    def __init__(self) -> None:
        self.leaders: dict[int, tuple[NodeId, int]] = {}

    def stepped(self, host: Host) -> None:
        if isinstance(host.raft.role, Leader):
            me = (host.identity, host.starts)
            other = self.leaders.setdefault(host.raft.term, me)
            require(other == me, f"one leader a term: {me} and {other} lead term {host.raft.term}")


class OneVoteATerm(Checker):
    """A node votes for one candidate a term, however often it restarts (A2)."""

    def __init__(self) -> None:
        self.votes: dict[tuple[NodeId, int], NodeId] = {}

    def sent(self, host: Host, envelope: Envelope) -> None:
        match envelope.message:
            case VoteReply(pre=False, granted=True):
                voted = envelope.receiver
            case VoteRequest(pre=False):
                voted = envelope.sender
            case _:
                return
        first = self.votes.setdefault((envelope.sender, envelope.term), voted)
        require(first == voted, f"one vote a term: {envelope.sender} votes for {first} and {voted} in {envelope.term}")


class LogMatching(Checker):
    """Entries of one index and term are the same everywhere, and so are those before them."""

    def __init__(self) -> None:
        self.entries: dict[tuple[int, int], tuple[Entry, int]] = {}

    def persisting(self, host: Host, persist: Persist) -> None:
        if not persist.entries:
            return
        first = persist.entries[0].index
        previous = host.raft.log.term_at(first - 1)
        for entry in persist.entries:
            known = self.entries.setdefault((entry.index, entry.term), (entry, previous))
            require(known == (entry, previous), f"log matching: {entry} after term {previous} on {host.identity}")
            previous = entry.term


class CommitsAgree(Checker):
    """State machine safety: what is committed at an index is the same everywhere and for ever, and comes in order."""

    def __init__(self) -> None:
        self.log: list[Entry] = []
        self.terms: list[int] = []  # the lowest term in which a node knew that the entry is committed
        self.payloads: set[bytes] = set()
        self.told: dict[tuple[NodeId, int], int] = {}

    def stepped(self, host: Host) -> None:
        run = (host.identity, host.starts)
        require(host.raft.commit_index >= self.told.get(run, 0), "the commit index never goes back")
        self.told[run] = host.raft.commit_index

    def committed(self, host: Host, entries: list[Entry]) -> None:
        for entry in entries:
            if entry.index > len(self.log):
                require(entry.index == len(self.log) + 1, "commits come without a gap")
                require(entry.payload not in self.payloads, f"no entry is committed twice: {entry}")
                self.payloads.add(entry.payload)
                self.log.append(entry)
                self.terms.append(host.raft.term)
            self.terms[entry.index - 1] = min(self.terms[entry.index - 1], host.raft.term)
            known = self.log[entry.index - 1]
            require(known == entry, f"commits agree: {host.identity} commits {entry}, but {known} is")


class LeaderCompleteness(Checker):
    """Who leads holds all that was committed in earlier terms."""

    def __init__(self, commits: CommitsAgree) -> None:
        self.commits = commits
        self.known: set[tuple[NodeId, int, int]] = set()
        self.hosts: dict[NodeId, Host] = {}

    def stepped(self, host: Host) -> None:
        self.hosts[host.identity] = host
        leadership = (host.identity, host.starts, host.raft.term)
        if isinstance(host.raft.role, Leader) and leadership not in self.known:
            self.known.add(leadership)
            self._require_complete(host)

    def committed(self, host: Host, entries: list[Entry]) -> None:
        for other in self.hosts.values():
            if other.up and isinstance(other.raft.role, Leader) and other.raft.term >= host.raft.term:
                self._require_complete(other)

    def _require_complete(self, host: Host) -> None:
        # Figure 8: an entry of an old term may be committed by a later leader, so the term of the commit counts.
        for last, committed_in in zip(reversed(self.commits.log), reversed(self.commits.terms), strict=True):
            if committed_in <= host.raft.term:
                log = host.raft.log
                complete = last.index <= log.last_index and log.term_at(last.index) == last.term
                require(complete, f"leader completeness: {host.identity} leads {host.raft.term} without {last}")
                return


class AcknowledgedStays(Checker):
    """What a client was told is committed is there at the end, once."""

    def __init__(self, commits: CommitsAgree) -> None:
        self.commits = commits
        self.promised: dict[int, bytes] = {}

    def acknowledged(self, index: int, payload: bytes) -> None:
        require(self.promised.setdefault(index, payload) == payload, f"index {index} was acknowledged twice")

    def ended(self) -> None:
        for index, payload in self.promised.items():
            require(index <= len(self.commits.log), f"acknowledged is never lost: {payload!r} at {index}")
            require(self.commits.log[index - 1].payload == payload, f"acknowledged is never lost: {payload!r}")


class ReadsAreLinearizable(Checker):
    """A read sees all that was acknowledged or read before it was asked (F4, F5)."""

    def __init__(self) -> None:
        self.seen = 0  # what someone outside knows to be committed
        self.floor: dict[int, int] = {}

    def acknowledged(self, index: int, payload: bytes) -> None:
        self.seen = max(self.seen, index)

    def read_asked(self, context: int) -> None:
        self.floor[context] = self.seen

    def read_answered(self, host: Host, context: int, index: int) -> None:
        floor = self.floor.pop(context)
        require(index >= floor, f"stale read: {host.identity} answers as of {index}, {floor} was known")
        require(index <= host.raft.commit_index, "a read is answered from committed state")
        self.seen = max(self.seen, index)


class PromisesAreOnDisk(Checker):
    """Nothing that promises is sent before it is on disk (A2, A10): terms, votes, acceptances."""

    def sent(self, host: Host, envelope: Envelope) -> None:
        disk, message = host.disk, envelope.message
        if isinstance(message, VoteRequest | VoteReply) and message.pre:
            return  # promises nothing
        require(disk.term >= envelope.term, f"on disk before it is sent: term {envelope.term} of {host.identity}")
        if disk.term > envelope.term:
            return  # overtaken in one turn: a promise in a term that is over on disk can't be broken any more
        match message:
            case VoteReply(granted=True):
                require(disk.vote == envelope.receiver, f"on disk before it is sent: the vote of {host.identity}")
            case VoteRequest():
                require(disk.vote == envelope.sender, f"on disk before it is sent: the own vote of {host.identity}")
            case Accepted(match_index=index):
                require(len(disk.entries) >= index, f"on disk before it is sent: entry {index} of {host.identity}")


def history_checkers() -> list[Checker]:
    """Those that look at the history alone, as a user could."""
    commits = CommitsAgree()
    return [
        commits,
        OneLeaderATerm(),
        LogMatching(),
        LeaderCompleteness(commits),
        AcknowledgedStays(commits),
        ReadsAreLinearizable(),
    ]


def all_checkers() -> list[Checker]:
    return [Invariants(), *history_checkers(), OneVoteATerm(), PromisesAreOnDisk()]
