"""What must hold in every history of nodes, each as an object that watches. A checker knows nothing of how nodes work.

What must hold for clients is in `judge`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from conflux.app import App
from conflux.client.committed import Committed
from conflux.errors import SessionExpired
from conflux.raft import invariants
from conflux.raft.configuration import Configuration
from conflux.raft.effects import RoleChanged, RoleName
from conflux.raft.entry import Entry
from conflux.store.dumps import dumped
from conflux.store.machine import Machine
from conflux.testing.violation import require

if TYPE_CHECKING:
    from conflux.node.directory import Directory
    from conflux.testing.history import Call
    from conflux.testing.host import Host

STATES_COMPARED_EVERY = 8  # indices: a state is compared as a whole only now and then, since it may be large


class Checker:
    """Watches a cluster. Each method is told of one thing, after it has happened."""

    def turned(self, host: Host) -> None:
        """A node had a turn."""

    def written(self, host: Host, term: int, vote: str | None, entries: Sequence[Entry]) -> None:
        """A write reached a disk."""

    def applied(self, host: Host, entry: Entry, machine: Machine) -> None:
        """A node folded a committed entry."""

    def began(self, host: Host, machine: Machine) -> None:
        """A node has this machine from a snapshot: its own, when it started, or its leader's."""

    def role_changed(self, host: Host, change: RoleChanged) -> None:
        """A node's role, term or leader changed."""

    def answered(self, call: Call) -> None:
        """A client was told what became of its call."""

    def ended(self) -> None:
        """The run is over, and healed."""


class CoreInvariants(Checker):
    """The core's own invariants hold after each turn, and a node's state is that of a cluster that exists once."""

    def turned(self, host: Host) -> None:
        node = host.node
        if node is not None and node.replica is not None:
            invariants.check(node.replica.raft)
            require(node.replica.refusal is None, "no node diverges: {}: {}", host.label, node.replica.refusal)


class OneCluster(Checker):
    """A node belongs to one cluster, for ever, and no two clusters are formed of nodes of one name."""

    def __init__(self) -> None:
        self._formed: set[str] = set()
        self._clusters: dict[str, str] = {}
        self._seen: dict[str, Directory] = {}  # by label: it never changes, a node that knows more has another one

    def turned(self, host: Host) -> None:
        node = host.node
        if node is None or self._seen.get(host.label) is node.directory:
            return
        self._seen[host.label] = node.directory
        cluster = node.directory.cluster_id
        if cluster is None:
            return
        require(self._clusters.setdefault(host.label, cluster) == cluster, "{} stays in its cluster", host.label)
        self._formed.add(cluster)
        require(len(self._formed) == 1, "one cluster: {} is of another one than {}", host.label, self._clusters)


class OneLeaderATerm(Checker):
    """Election safety: at most one node, and one start of it, leads in a term (A1)."""

    def __init__(self) -> None:
        self._leaders: dict[int, tuple[str, int]] = {}

    def role_changed(self, host: Host, change: RoleChanged) -> None:
        if change.role is RoleName.LEADER:
            me = (host.label, host.opened)
            other = self._leaders.setdefault(change.term, me)
            require(other == me, "one leader a term: {} and {} lead term {}", me, other, change.term)


class OneVoteATerm(Checker):
    """What a disk says of a term's vote never changes, nor does its term go back (A2, A3)."""

    def __init__(self) -> None:
        self._votes: dict[tuple[str, int], str] = {}  # by identity and term
        self._terms: dict[str, int] = {}

    def written(self, host: Host, term: int, vote: str | None, entries: Sequence[Entry]) -> None:
        require(term >= self._terms.get(host.identity, 0), "terms never go back: {} writes {}", host.label, term)
        self._terms[host.identity] = term
        if vote is not None:
            first = self._votes.setdefault((host.identity, term), vote)
            require(first == vote, "one vote a term: {} votes for {} and {} in {}", host.label, first, vote, term)


class LogMatching(Checker):
    """Entries of one index and term are the same on every disk, and so are those before them."""

    def __init__(self) -> None:
        self._entries: dict[tuple[int, int], tuple[Entry, int]] = {}

    def was_written(self, index: int, term: int) -> bool:
        """True where a disk has held an entry of this term at this index."""
        return (index, term) in self._entries

    def written(self, host: Host, term: int, vote: str | None, entries: Sequence[Entry]) -> None:
        if not entries:
            return
        first = entries[0].index
        before = host.platter.term_at(first - 1)
        require(before is not None, "a log has no gap: {} writes {}", host.label, first)
        previous = before or 0
        for entry in entries:
            known = self._entries.setdefault((entry.index, entry.term), (entry, previous))
            require(known == (entry, previous), "log matching: {} after term {} on {}", entry, previous, host.label)
            previous = entry.term


class CommitsAgree(Checker):
    """What is committed at an index is the same everywhere and for ever, and what it folds into, too (A14, A16).

    Attributes:
        log: all that any node has folded.
        machines: what each entry of it folds into.
        terms: the least term in which a node folded it: it is the one in which it was committed, or a later one.
    """

    def __init__(self, app: App[Any, Any] | None = None) -> None:
        self._app: App[Any, Any] = app or App()
        self.log: list[Entry] = []
        self.machines: list[Machine] = []
        self.terms: list[int] = []
        self._folded: dict[str, tuple[int, int]] = {}  # by node: (start, index)
        self._committed: dict[str, tuple[int, int]] = {}

    def turned(self, host: Host) -> None:
        if host.node is None or host.node.replica is None:
            return
        now = (host.opened, host.node.replica.raft.commit_index)
        before = self._committed.get(host.label, (0, 0))
        if now == before:
            return
        require(now >= before, "the commit index never goes back: {} from {} to {}", host.label, before[1], now[1])
        self._committed[host.label] = now

    def applied(self, host: Host, entry: Entry, machine: Machine) -> None:
        start, index = self._folded.get(host.label, (0, 0))
        expected = index + 1 if start == host.opened else 1
        require(entry.index == expected, "{} folds {} where {} comes next", host.label, entry.index, expected)
        self._folded[host.label] = (host.opened, entry.index)
        if machine.index == len(self.log) + 1:
            check_membership(self.machines[-1] if self.machines else None, machine)
        assert host.node is not None and host.node.replica is not None
        term = host.node.replica.raft.term
        if entry.index > len(self.log):
            self.log.append(entry)
            self.machines.append(machine)
            self.terms.append(term)
            return
        place = entry.index - 1
        self.terms[place] = min(self.terms[place], term)
        require(self.log[place] == entry, "commits agree: {} commits {}, but {} is", host.label, entry, self.log[place])
        self._compare(host.label, machine, self.machines[place])

    def began(self, host: Host, machine: Machine) -> None:
        require(machine.index <= len(self.log), "a snapshot holds what is committed: {} has {}", host.label, machine)
        known = self.machines[machine.index - 1]
        self._compare(host.label, machine, known)
        require(self._are_same(machine, known), "a snapshot holds the state, on {}: {}", host.label, machine)
        require(machine.sessions == known.sessions, "a snapshot holds the sessions, on {}: {}", host.label, machine)
        self._folded[host.label] = (host.opened, machine.index)

    def _compare(self, label: str, machine: Machine, known: Machine) -> None:
        if machine is known:
            return
        require(machine.log_hash == known.log_hash, "equal logs have equal hashes, on {}: {}", label, machine)
        require(machine.membership == known.membership, "equal logs have equal members, on {}: {}", label, machine)
        here = (machine.term, machine.revision, machine.log_time_us, machine.sweep_us, machine.hash_logged)
        there = (known.term, known.revision, known.log_time_us, known.sweep_us, known.hash_logged)
        require(here == there, "equal logs fold into equal machines, on {}: {}, {}", label, here, there)
        require(machine.membership == known.membership, "equal logs have equal members, on {}: {}", label, machine)
        if machine.index % STATES_COMPARED_EVERY == 0:
            require(self._are_same(machine, known), "equal logs fold into equal states, on {}: {}", label, machine)
            require(machine.sessions == known.sessions, "equal logs hold equal sessions, on {}: {}", label, machine)

    def _are_same(self, machine: Machine, known: Machine) -> bool:
        """By what stands for the states: the app's own need not compare."""
        return bool(dumped(self._app, machine.state) == dumped(self._app, known.state))


class LeaderCompleteness(Checker):
    """Who leads holds all that was committed in earlier terms."""

    def __init__(self, commits: CommitsAgree) -> None:
        self._commits = commits

    def role_changed(self, host: Host, change: RoleChanged) -> None:
        if change.role is not RoleName.LEADER or host.node is None or host.node.replica is None:
            return
        log = host.node.replica.raft.log
        # Figure 8: a later leader may commit an entry of an old term, so the term of the commit counts. A leader of a
        # past term need not know what was committed after it: it has not heard yet.
        for last, committed_in in zip(reversed(self._commits.log), reversed(self._commits.terms), strict=True):
            if committed_in <= change.term:
                included = last.index < log.snapshot_index
                complete = included or (last.index <= log.last_index and log.term_at(last.index) == last.term)
                require(complete, "leader completeness: {} leads {} without {}", host.label, change.term, last)
                return


class AnsweredIsOnDisk(Checker):
    """What a client was told is committed is synced on a majority's disks: then it can't be lost (A10, A11)."""

    def __init__(self, commits: CommitsAgree, hosts: list[Host]) -> None:
        self._commits = commits
        self._hosts = hosts
        self._checked = 0
        self._told: list[Call] = []

    def answered(self, call: Call) -> None:
        if isinstance(call.result, Committed) and not call.appended and call.result.index > self._checked:
            self._told.append(call)  # a program that embeds the node is told before the checkers are

    def turned(self, host: Host) -> None:
        if not self._told:
            return
        for call in self._told:
            assert isinstance(call.result, Committed)
            index = call.result.index
            require(index <= len(self._commits.log), "an answer names an index that nobody has folded: {}", call)
            entry = self._commits.log[index - 1]
            holders = [host for host in self._hosts if host.platter.holds(entry)]
            identities = {host.identity for host in holders}
            require(
                any(configuration.has_quorum(identities) for configuration in self._configurations(index)),
                "{} was answered, and only {} hold it: {}",
                index,
                [host.label for host in holders],
                call,
            )
            self._checked = max(self._checked, index)
        self._told.clear()

    def _configurations(self, index: int) -> list[Configuration]:
        """Those that may have counted an entry: the one in force there, and each later one of some node's log."""
        replicas = [host.node.replica for host in self._hosts if host.node is not None]
        later = [each for replica in replicas if replica for each in replica.raft.configurations.after(index)]
        return [self._commits.machines[index - 1].membership, *later]


class ExpiredIsGone(Checker):
    """Whoever is told that a session is gone is told so once the committed log says it: it never comes back."""

    def __init__(self, commits: CommitsAgree) -> None:
        self._commits = commits
        self._told: list[Call] = []

    def answered(self, call: Call) -> None:
        if isinstance(call.result, SessionExpired):
            self._told.append(call)  # a program that embeds the node is told before the checkers are

    def turned(self, host: Host) -> None:
        if not self._told:
            return
        open_now = self._commits.machines[-1].sessions if self._commits.machines else {}
        for call in self._told:
            require(call.session not in open_now, "told that its session is gone, and it is there: {}", call)
        self._told.clear()


class AppendedIsOnDisk(Checker):
    """Who is content with the leader's disk is told of an entry that was on a disk (design 4)."""

    def __init__(self, matching: LogMatching) -> None:
        self._matching = matching
        self._told: list[Call] = []

    def answered(self, call: Call) -> None:
        if call.appended and isinstance(call.result, Committed):
            self._told.append(call)

    def turned(self, host: Host) -> None:
        for call in self._told:
            assert isinstance(call.result, Committed)
            written = self._matching.was_written(call.result.index, call.result.term)
            require(written, "told that it is in a log, and no disk has held that entry: {}", call)
        self._told.clear()


def check_membership(before: Machine | None, after: Machine) -> None:
    """Voters come and go one at a time, a removed member stays away, and there's always a voter (thesis, chapter 4)."""
    if before is None or before.membership is after.membership:
        return
    old, new = before.membership, after.membership
    require(len(set(old.voters) ^ set(new.voters)) <= 1, "one voter at a time: {} to {}", old, new)
    require(set(old.removed) <= set(new.removed), "who is removed stays removed: {} to {}", old, new)
    require(new.problem() is None, "a membership that a cluster can have: {}", new)


def all_checkers(hosts: list[Host], app: App[Any, Any]) -> tuple[CommitsAgree, list[Checker]]:
    """One of each; the first knows the committed log."""
    commits, matching = CommitsAgree(app), LogMatching()
    others = [
        CoreInvariants(),
        OneCluster(),
        OneLeaderATerm(),
        OneVoteATerm(),
        matching,
        LeaderCompleteness(commits),
        AnsweredIsOnDisk(commits, hosts),
        ExpiredIsGone(commits),
        AppendedIsOnDisk(matching),
    ]
    return commits, [commits, *others]
