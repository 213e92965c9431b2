"""Each checker sees what it is there for: a planted violation. Hosts and nodes are stand-ins."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec import structs

from conflux.client.committed import Committed
from conflux.raft.configuration import Configuration
from conflux.raft.configurations import Configurations
from conflux.raft.core import Raft
from conflux.raft.effects import RoleChanged, RoleName
from conflux.raft.entry import Entry, Kind
from conflux.raft.invariant import InvariantViolated
from conflux.raft.options import Options
from conflux.store.machine import Machine
from conflux.store.membership import Member, Membership
from conflux.testing import checkers
from conflux.testing.history import Call
from conflux.testing.violation import Violation, require
from conflux.testing.workload import journal
from tests.raft.harness import Disk


def entry(index: int, term: int = 1, payload: bytes = b"") -> Entry:
    return Entry(index, term, Kind.RECORDS, payload)


VOTERS = Membership.made_of(Member(label * 32, label, "key") for label in ("1", "2", "3"))


class Held(SimpleNamespace):
    """A platter that holds these entries."""

    def entry(self, index: int) -> Entry | None:
        return self.entries[index - 1] if 0 < index <= len(self.entries) else None

    def term_at(self, index: int) -> int | None:
        found = self.entry(index)
        return 0 if index == 0 else found.term if found else None

    def holds(self, entry: Entry) -> bool:
        return self.entry(entry.index) == entry


class Log(SimpleNamespace):
    snapshot_index = 0

    def term_at(self, index: int) -> int:
        return self.entries[index - 1].term

    @property
    def last_index(self) -> int:
        return len(self.entries)


def host(
    label: str = "n1",
    *,
    opened: int = 1,
    entries: tuple[Entry, ...] = (),
    commit: int = 0,
    term: int = 1,
    **node: Any,
) -> Any:
    log, configurations = Log(entries=entries), Configurations(VOTERS)
    raft = SimpleNamespace(commit_index=commit, log=log, configurations=configurations, term=term)
    replica = SimpleNamespace(raft=raft, refusal=None)
    node = {
        "replica": replica,
        "directory": SimpleNamespace(cluster_id="c"),
    } | node
    return SimpleNamespace(
        label=label,
        identity=label[-1] * 32,
        opened=opened,
        platter=Held(entries=entries),
        node=SimpleNamespace(**node),
    )


def leads(term: int) -> RoleChanged:
    return RoleChanged(role=RoleName.LEADER, term=term, leader="me")


def machine(index: int = 1, **changes: Any) -> Machine:
    return structs.replace(Machine.initial(journal()), index=index, **changes)


def test_a_sentence_is_put_together_only_where_it_is_needed():
    class Never:
        def __str__(self) -> str:
            raise AssertionError

    require(True, "{}", Never())
    with pytest.raises(Violation, match="one is not two"):
        require(False, "{} is not {}", "one", "two")


def test_two_leaders_of_a_term_are_seen():
    checker = checkers.OneLeaderATerm()
    checker.role_changed(host("n1"), leads(3))
    checker.role_changed(host("n1"), leads(3))
    checker.role_changed(host("n2"), leads(4))
    with pytest.raises(Violation, match="one leader a term"):
        checker.role_changed(host("n2"), leads(3))


def test_a_leader_that_was_restarted_is_another_one():
    checker = checkers.OneLeaderATerm()
    checker.role_changed(host("n1"), leads(3))
    with pytest.raises(Violation, match="one leader a term"):
        checker.role_changed(host("n1", opened=2), leads(3))


def test_a_changed_vote_and_a_term_that_goes_back_are_seen():
    checker = checkers.OneVoteATerm()
    checker.written(host(), 2, None, ())
    checker.written(host(), 2, "a", ())
    checker.written(host("n2"), 2, "b", ())
    with pytest.raises(Violation, match="one vote a term"):
        checker.written(host(), 2, "b", ())
    with pytest.raises(Violation, match="never go back"):
        checker.written(host(), 1, "b", ())


def test_logs_that_do_not_match_are_seen():
    checker = checkers.LogMatching()
    first = entry(1)
    checker.written(host(entries=(first,)), 1, None, (first,))
    checker.written(host(entries=(first,)), 1, None, (entry(2),))
    with pytest.raises(Violation, match="log matching"):
        checker.written(host("n2", entries=(first,)), 1, None, (entry(2, payload=b"other"),))
    with pytest.raises(Violation, match="log matching"):
        checker.written(host("n2", entries=(entry(1, 0),)), 1, None, (entry(2),))
    with pytest.raises(Violation, match="no gap"):
        checker.written(host("n2"), 1, None, (entry(2),))


def test_commits_that_do_not_agree_are_seen():
    checker = checkers.CommitsAgree()
    checker.applied(host("n1"), entry(1), machine())
    checker.applied(host("n2"), entry(1), machine())
    with pytest.raises(Violation, match="commits agree"):
        checker.applied(host("n3"), entry(1, payload=b"other"), machine())


def test_a_gap_or_a_repeat_in_folding_is_seen():
    checker = checkers.CommitsAgree()
    checker.applied(host(), entry(1), machine())
    with pytest.raises(Violation, match="comes next"):
        checker.applied(host(), entry(1), machine())
    with pytest.raises(Violation, match="comes next"):
        checker.applied(host(), entry(3), machine())
    checker.applied(host(opened=2), entry(1), machine())


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"log_hash": b"x" * 16}, "equal hashes"),
        ({"revision": 1}, "equal machines"),
        ({"log_time_us": 1}, "equal machines"),
        ({"state": [1]}, "equal states"),
        ({"sessions": {1: "other"}}, "equal sessions"),
    ],
)
def test_equal_logs_that_fold_into_something_else_are_seen(changes, sentence):
    checker = checkers.CommitsAgree()
    for index in range(1, 9):
        checker.applied(host("n1"), entry(index), machine(index))
    for index in range(1, 8):
        checker.applied(host("n2"), entry(index), machine(index))
    with pytest.raises(Violation, match=sentence):
        checker.applied(host("n2"), entry(8), machine(8, **changes))


def test_a_commit_index_that_goes_back_is_seen():
    checker = checkers.CommitsAgree()
    checker.turned(host(commit=5))
    checker.turned(host(commit=2, opened=2))
    with pytest.raises(Violation, match="never goes back"):
        checker.turned(host(commit=1, opened=2))


def test_a_leader_without_a_committed_entry_is_seen():
    commits = checkers.CommitsAgree()
    commits.log, commits.terms = [entry(1), entry(2), entry(3, term=9)], [1, 1, 9]
    checker = checkers.LeaderCompleteness(commits)
    checker.role_changed(host(entries=(entry(1), entry(2))), leads(2))
    with pytest.raises(Violation, match="leader completeness"):
        checker.role_changed(host(entries=(entry(1),)), leads(2))
    with pytest.raises(Violation, match="leader completeness"):
        checker.role_changed(host(entries=(entry(1), entry(2))), leads(9))


def test_a_leader_of_a_term_before_an_old_entry_was_committed_need_not_have_it():
    """Figure 8: n3 commits an entry of term 1 in term 3, and only then n2 hears that it had won term 2."""
    commits = checkers.CommitsAgree()
    for term in (7, 3):  # who folds it first may have heard of later terms
        commits.applied(host(f"n{term}", term=term), entry(1), machine())
    checker = checkers.LeaderCompleteness(commits)
    checker.role_changed(host("n2"), leads(2))
    with pytest.raises(Violation, match="leader completeness"):
        checker.role_changed(host("n2"), leads(3))


def test_an_answer_that_a_minority_holds_is_seen():
    commits = checkers.CommitsAgree()
    commits.log, commits.machines = [entry(1)], [machine(membership=VOTERS)]
    hosts = [host("n1", entries=(entry(1),)), host("n2"), host("n3")]
    checker = checkers.AnsweredIsOnDisk(commits, hosts)
    call = Call(0, "c", "append", [1], False, 0.0, result=Committed(1, 1, 1, 0, None))
    checker.answered(replace(call, appended=True))
    checker.turned(hosts[0])
    checker.answered(call)
    with pytest.raises(Violation, match="only"):
        checker.turned(hosts[0])
    hosts[1].platter = hosts[0].platter
    checker.turned(hosts[0])
    commits.log = []
    checker = checkers.AnsweredIsOnDisk(commits, hosts)
    checker.answered(call)
    with pytest.raises(Violation, match="nobody has folded"):
        checker.turned(hosts[0])


def test_a_majority_of_voters_that_were_in_force_only_for_a_moment_is_one():
    """Churn, seed 2541: one removal made the leader the only voter, it committed, and let the next one in at once."""
    commits = checkers.CommitsAgree()
    commits.log, commits.machines = [entry(1)], [machine(membership=VOTERS)]
    hosts = [host("n1", entries=(entry(1),)), host("n2"), host("n3")]
    configurations = hosts[0].node.replica.raft.configurations
    checker = checkers.AnsweredIsOnDisk(commits, hosts)
    call = Call(0, "c", "append", [1], False, 0.0, result=Committed(1, 1, 1, 0, None))
    checker.answered(call)
    configurations.append(3, VOTERS)
    with pytest.raises(Violation, match="only"):
        checker.turned(hosts[0])
    configurations.truncate(3)
    configurations.append(2, Configuration.of(["1" * 32]))
    configurations.append(3, VOTERS)
    checker.turned(hosts[0])


def test_two_clusters_and_a_node_that_changes_its_cluster_are_seen():
    checker = checkers.OneCluster()
    checker.turned(host("n1"))
    checker.turned(host("n2", directory=SimpleNamespace(cluster_id=None)))
    with pytest.raises(Violation, match="stays in its cluster"):
        checker.turned(host("n1", directory=SimpleNamespace(cluster_id="d")))
    with pytest.raises(Violation, match="one cluster"):
        checker.turned(host("n2", directory=SimpleNamespace(cluster_id="d")))


def test_the_invariants_of_the_core_and_a_diverged_node_are_seen():
    disk = Disk()
    raft = Raft(
        identity="a",
        configuration=Configuration.of("a"),
        options=Options(),
        log=disk.log(1000),
        random=Random(1),
        noop_payload=lambda last: b"",
    )
    checker = checkers.CoreInvariants()
    replica = SimpleNamespace(raft=raft, refusal=None)
    checker.turned(host(replica=replica))
    replica.refusal = "not ours"
    with pytest.raises(Violation, match="diverges: n1: not ours"):
        checker.turned(host(replica=replica))
    raft.commit_index = 7
    with pytest.raises(InvariantViolated):
        checker.turned(host(replica=replica))
