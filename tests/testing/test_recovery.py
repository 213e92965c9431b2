"""Recovery and backups in simulated weather: that they happen there, and that what is said untruthfully is found."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from conflux.node.survivors import Findings, find
from conflux.raft.entry import Entry, Kind
from conflux.storage.interface import SnapshotHeader
from conflux.storage.memory import MemoryStorage
from conflux.testing import Violation
from conflux.testing.campaign import Job, run
from conflux.testing.platters import read_directory, write_directory
from conflux.testing.recovery import check_findings, common
from tests.node.test_survivors import FOUNDERS, directory, entries
from tests.testing.test_network import World

SEEDS_MAX = 25


def test_clusters_are_recovered_and_begin_with_backups_beside_the_old_ones():
    counts: Counter[str] = Counter()
    for seed in range(SEEDS_MAX):
        report = run(Job(seed=seed, steps=2500, weather="recover"))
        assert not report.problem, f"{report.problem}\n{report.job.command()}"
        counts += report.counts
        if counts["clusters recovered"] > 1 and counts["clusters restored from a backup"]:
            return
    raise AssertionError(f"not within {SEEDS_MAX} seeds: {counts}")


# ---- What is said of what may be missing ----


def two_of_five(tmp_path: Path) -> Findings:
    """A deposed leader with two entries that are not known to be committed, and one more that knows two that are."""
    return find([directory(tmp_path, "a", 1, 1, 2, 2, commit=2), directory(tmp_path, "b", 1, 1, commit=1)])


@pytest.mark.parametrize("committed", [(1, 1), (1, 1, 2), (1, 1, 2, 2), (1, 1, 2, 2, 2), (1, 1, 3, 3, 3)])
def test_what_it_says_is_no_less_than_what_is_missing(tmp_path: Path, committed: tuple[int, ...]):
    check_findings(two_of_five(tmp_path), entries(1, 1, 2, 2), entries(*committed))


def test_an_entry_that_a_survivor_knows_to_be_committed_must_not_be_lost(tmp_path: Path):
    with pytest.raises(Violation, match="knows to be committed is kept"):
        check_findings(two_of_five(tmp_path), entries(1, 2, 2), entries(1, 1, 3))


def test_a_bound_that_is_too_high_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As it was: whatever stands in the log that is left was taken for what the others had agreed on."""
    monkeypatch.setattr(Findings, "missing_behind", property(lambda findings: findings.best.last_index))
    with pytest.raises(Violation, match="missing behind 4, it says"):
        check_findings(two_of_five(tmp_path), entries(1, 1, 2, 2), entries(1, 1, 3, 3))


def test_to_say_that_nothing_is_missing_where_something_is_is_found(tmp_path: Path):
    three = find([directory(tmp_path, label, 1, 1, commit=1) for label in "abc"])
    check_findings(three, entries(1, 1), entries(1, 1))
    with pytest.raises(Violation, match="nothing is missing, it says"):
        check_findings(three, entries(1, 1), entries(1, 1, 1))


def test_where_the_lost_ones_are_no_majority_only_a_change_of_members_explains_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Findings, "could_decide", None)
    change = Entry(3, 1, Kind.MEMBERSHIP, b"")
    findings = two_of_five(tmp_path)
    check_findings(findings, entries(1, 1), [*entries(1, 1), change])
    with pytest.raises(Violation, match="only where members were changed"):
        check_findings(findings, entries(1, 1), entries(1, 1, 1))


@pytest.mark.parametrize(
    ("one", "other", "length"), [((), (), 0), ((1,), (1, 1), 1), ((1, 1), (1,), 1), ((1, 1, 2), (1, 1, 3), 2)]
)
def test_what_two_logs_have_in_common(one: tuple[int, ...], other: tuple[int, ...], length: int):
    assert common(entries(*one), entries(*other)) == length


# ---- What it takes ----


def test_a_simulated_disk_is_the_same_after_its_way_through_a_directory(tmp_path: Path):
    storage = MemoryStorage()
    storage.record_facts({"self": b"me"})
    storage.persist(term=3, vote=FOUNDERS[0].identity, entries=entries(1, 1, 2, 3), commit_index=3)
    for index in (1, 2):
        writer = storage.snapshots.begin(SnapshotHeader(index=index, term=1, revision=index, fields=b"fields"))
        writer.write(b"body")
        writer.finish()
    storage.install_base(1, 1, keep_log=True)
    found = write_directory(storage, tmp_path / "n1")
    back = read_directory(tmp_path / "n1")
    assert back.restored() == found.restored()
    assert back.facts() == found.facts() == {"self": b"me"}
    assert back.read(2, 4, 1000) == found.read(2, 4, 1000)
    assert back.snapshots.finished() == found.snapshots.finished()


def test_a_client_with_the_key_of_another_cluster_gets_no_link():
    world = World()
    assert world.client.send("a:1", b"\x01")
    world.client.key = "b"
    assert not world.client.send("a:1", b"\x01")
    world.pass_time()
    assert len(world.a.receive_from_clients(100)) == 1
    assert world.network.counts["frames refused for their key"] == 1
