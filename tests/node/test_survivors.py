"""What surviving directories hold together, and what is said of what they can't know."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import lmdb
import msgspec
import pytest

from conflux.discovery.local import KEY
from conflux.errors import ConfluxError, Damaged, SnapshotDamaged
from conflux.node import directory as directories
from conflux.node import refounding
from conflux.node.directory import Self
from conflux.node.refounding import Base, refound
from conflux.node.standing import StandingLog
from conflux.node.survivors import Findings, find
from conflux.raft.entry import Entry, Kind
from conflux.storage import layout
from conflux.storage.lmdb_storage import LmdbStorage
from conflux.storage.snapshots import SNAPSHOTS
from conflux.store.membership import Member, Membership
from conflux.store.records import Header, encode_payload, members_changed
from conflux.wire.peers import Founder, Proposal
from tests.cli.making import payload
from tests.node.test_backups import plan
from tests.store.harness import make_app

LABELS = "abcde"
FOUNDERS = tuple(Founder(label.encode().hex().rjust(32, "0"), label, "p") for label in LABELS)
PROPOSAL = Proposal("test", "things", 1, FOUNDERS)


def entries(*terms: int) -> list[Entry]:
    return [Entry(index, term, Kind.RECORDS, payload(first_revision=index)) for index, term in enumerate(terms, 1)]


def directory(
    place: Path,
    label: str,
    *terms: int,
    commit: int = 0,
    proposal: Proposal | None = PROPOSAL,
    term: int = 9,
    app: str = "things",
) -> Path:
    """A node's directory whose log has entries of these terms."""
    path = place / label
    storage = LmdbStorage.open(path, create=True)
    identity = label.encode().hex().rjust(32, "0")
    mine = Self(identity, label, "p", "s", "test", 5, app, 1)

    storage.record_facts({directories.SELF: msgspec.msgpack.encode(mine)})
    if proposal is not None:
        directories.record_joined(storage, proposal)
    storage.persist(term=term, vote=None, entries=entries(*terms), commit_index=commit)
    storage.close()
    return path


def found(place: Path, **logs: tuple[int, ...]) -> Findings:
    return find([directory(place, label, *terms) for label, terms in logs.items()])


@pytest.mark.parametrize(
    ("logs", "best"),
    [
        ({"a": (1, 1), "b": (1, 1, 1)}, "b"),
        ({"a": (1, 1, 1), "b": (1, 2)}, "b"),  # as a vote would be given (section 5.4.1)
        ({"a": (1, 1), "b": (1, 1)}, "a"),
    ],
)
def test_the_most_advanced_is_the_one_that_all_others_would_vote_for(tmp_path: Path, logs: Any, best: str):
    assert found(tmp_path, **logs).best.label == best


def test_two_of_five_can_not_know_what_the_three_acknowledged(tmp_path: Path):
    findings = found(tmp_path, a=(1, 1), b=(1, 1, 1))
    assert [member.label for member in findings.lost] == ["c", "d", "e"]
    assert not findings.has_majority and not findings.is_complete
    assert "c, d, e are 3 of 5 voters; 3 make a majority" in " ".join(findings.sentences())


def test_three_of_five_need_no_recovery(tmp_path: Path):
    findings = found(tmp_path, a=(1,), b=(1,), c=(1,))
    assert findings.has_majority and findings.is_complete


def test_two_of_four_miss_nothing_that_a_majority_of_the_four_held(tmp_path: Path):
    proposal = Proposal("test", "things", 1, FOUNDERS[:4])
    paths = [directory(tmp_path, label, 1, 1, proposal=proposal) for label in "ab"]
    findings = find(paths)
    assert not findings.has_majority and not findings.is_complete  # the lost ones may have removed one of these
    assert "nothing that a majority of these 4 voters held" in " ".join(findings.sentences())


def test_a_survivor_that_was_removed_is_no_voter(tmp_path: Path):
    proposal = Proposal("test", "things", 1, FOUNDERS[:3])
    paths = [directory(tmp_path, label, 1, 1, proposal=proposal) for label in "ae"]
    assert [*find(paths).standing_of.values()] == ["voter", "removed"]


def test_what_is_not_known_to_be_committed_is_said_to_be_kept(tmp_path: Path):
    paths = [directory(tmp_path, "a", 1, 1, 1, commit=1), directory(tmp_path, "b", 1, 1, commit=2)]
    findings = find(paths)
    assert findings.commit_index == 2
    assert "Entries 3 to 3 are not known to be committed" in " ".join(findings.sentences())


def test_others_may_have_been_committed_in_the_place_of_what_is_kept(tmp_path: Path):
    """The log of a leader that was deposed is the longest here: what the others agreed on meanwhile is nowhere."""
    findings = find([directory(tmp_path, "a", 1, 1, 2, 2, commit=2), directory(tmp_path, "b", 1, 1, commit=1)])
    assert (findings.best.label, findings.best.last_index, findings.missing_behind) == ("a", 4, 2)
    said = " ".join(findings.sentences())
    assert "entries behind 2." in said and "behind revision 1 " in said
    assert "Entries 3 to 4 are not known to be committed here. They are kept" in said


def test_a_change_of_the_members_that_may_have_been_undone_is_not_counted_on(tmp_path: Path):
    """Of three voters one took in a fourth, all by itself: the two that are lost may have gone on without either."""
    proposal = Proposal("test", "things", 1, FOUNDERS[:3])
    path = directory(tmp_path, "a", 1, 1, commit=2, proposal=proposal)
    members = Membership.made_of(Member(each.identity, each.label, "p") for each in FOUNDERS[:4])
    header = Header(app_version=1, actions=0, first_revision=3, log_time_us=0, wall_time_us=0)
    change = Entry(3, 1, Kind.MEMBERSHIP, encode_payload(header, [members_changed(members)]))
    with closing(LmdbStorage.open(path, create=False)) as storage:
        storage.persist(term=9, vote=None, entries=[change], commit_index=2)
    findings = find([path, directory(tmp_path, "d", 1, proposal=proposal)])
    assert (len(findings.voters), [each.label for each in findings.lost]) == (4, ["b", "c"])
    assert findings.missing_behind == 2
    assert "b, c are 2 of 3 voters; 2 make a majority" in " ".join(findings.sentences())


def test_a_directory_that_can_not_be_read_is_said_and_left_out(tmp_path: Path):
    good, bad = directory(tmp_path, "a", 1), directory(tmp_path, "b", 1)
    (bad / "data.mdb").write_bytes(b"x" * 8192)
    findings = find([good, bad])
    assert [each.label for each in findings.survivors] == ["a"]
    assert [*findings.problems] == [bad]


def test_without_a_directory_that_can_be_read_there_is_an_error(tmp_path: Path):
    with pytest.raises(ConfluxError, match="no directory can be read"):
        find([])
    with pytest.raises(ConfluxError, match="was never formed"):
        find([directory(tmp_path, "a", 1, proposal=None)])


def test_directories_of_two_clusters_are_refused(tmp_path: Path):
    other = Proposal("test", "things", 1, FOUNDERS, 1)
    paths = [directory(tmp_path, "a", 1), directory(tmp_path, "b", 1, proposal=other)]
    with pytest.raises(ConfluxError, match="of different clusters"):
        find(paths)


def damage_entry(path: Path, index: int) -> None:
    env = lmdb.open(str(path), max_dbs=3)
    with env.begin(write=True, db=env.open_db(layout.LOG)) as transaction:
        value = bytearray(transaction.get(layout.entry_key(index)))
        value[-1] ^= 1
        transaction.put(layout.entry_key(index), bytes(value))
    env.close()


def test_a_log_with_a_damaged_entry_counts_up_to_it_and_its_node_as_lost(tmp_path: Path):
    good, bad = directory(tmp_path, "a", 1), directory(tmp_path, "b", 1, 1, 1, 1, commit=4)
    damage_entry(bad, 3)
    findings = find([good, bad])
    assert (findings.best.label, findings.best.last_index, findings.best.commit_index) == ("b", 2, 2)
    assert "b" in [member.label for member in findings.lost]
    assert "entry 3" in " ".join(findings.sentences())


def a_cut_log(tmp_path: Path) -> Path:
    """A directory that begins with a snapshot at entry 1, of revision 0, and has three entries behind it."""
    from conflux.storage.interface import SnapshotHeader
    from conflux.store.image import encode_body, encode_fields
    from conflux.store.machine import Machine, fold

    app = make_app()
    machine = fold(Machine.initial(app), Entry(1, 1, Kind.NOOP, payload()), app)
    header = SnapshotHeader(index=1, term=1, revision=0, fields=encode_fields(machine, app))
    later = [Entry(index, 2, Kind.RECORDS, payload(first_revision=1)) for index in (2, 3, 4)]
    refound(plan(tmp_path, size=1), Base(header=header, chunks=[b"".join(encode_body(machine, app))]), later)
    return tmp_path / "new" / "n1"


def test_a_cut_log_is_read_from_its_snapshot_on(tmp_path: Path):
    with closing(StandingLog(a_cut_log(tmp_path))) as log:
        assert log.base is not None and (log.base.index, log.first_index) == (1, 2)
        assert [entry.index for entry in log.entries(log.state.last_index)] == [2, 3, 4, 5]
        assert sum(map(len, log.chunks())) == log.base_checksum()[0]


def test_without_its_snapshot_a_cut_log_is_damaged(tmp_path: Path):
    path = a_cut_log(tmp_path)
    for snapshot in (path / SNAPSHOTS).iterdir():
        (snapshot / "data.mdb").write_bytes(b"")
    with pytest.raises(SnapshotDamaged, match="no snapshot there leads to it"):
        StandingLog(path)


def test_entries_that_are_gone_are_an_error(tmp_path: Path):
    with (
        closing(StandingLog(directory(tmp_path, "a", 1, 1))) as log,
        pytest.raises(Damaged, match="entry 3 is no longer"),
    ):
        list(log.entries(3))


def test_a_recovered_log_can_be_recovered_again(tmp_path: Path):
    path = a_cut_log(tmp_path)
    (survivor,) = find([path]).survivors
    assert (survivor.last_index, survivor.last_term, survivor.term) == (5, 5, 5)
    assert [each.label for each in survivor.membership.members_by_identity] == ["n1"]
    with closing(StandingLog(path)) as log:
        assert log.base is not None
        again = plan(tmp_path, size=2, cluster="again", cluster_dir=tmp_path / "again", term=6)
        refound(again, Base(header=log.base, chunks=log.chunks()), log.entries(5))
    (first, second) = find([tmp_path / "again" / "n1", tmp_path / "again" / "n2"]).survivors
    assert (first.last_index, second.last_index) == (6, 6)


def test_an_old_cluster_is_set_aside_as_it_is(tmp_path: Path):
    old = directory(tmp_path / "new", "a", 1, 1)
    before = (old / "data.mdb").read_bytes()
    with closing(StandingLog(old)) as log:
        refound(plan(tmp_path, size=2), None, log.entries(2), aside=tmp_path / "new.before")
    assert (tmp_path / "new.before" / "a" / "data.mdb").read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "new").glob("*/")) == ["n1", "n2"]


def test_an_old_cluster_stays_in_its_place_where_no_new_one_can_be_made(tmp_path: Path):
    old = directory(tmp_path / "new", "a", 1, 1)
    before = (old / "data.mdb").read_bytes()
    with closing(StandingLog(old)) as log, pytest.raises(Damaged, match="entry 3 is no longer"):
        refounding.refound(plan(tmp_path, size=2), None, log.entries(3), aside=tmp_path / "new.before")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert (old / "data.mdb").read_bytes() == before


def test_where_a_majority_is_left_nothing_is_said_to_be_missing(tmp_path: Path):
    said = " ".join(found(tmp_path, a=(1,), b=(1,), c=(1,)).sentences())
    assert "Nothing that was acknowledged is missing" in said


def test_an_entry_that_is_missing_in_the_middle_is_an_error(tmp_path: Path):
    path = directory(tmp_path, "a", 1, 1, 1)
    with lmdb.open(str(path), max_dbs=3) as env, env.begin(write=True, db=env.open_db(layout.LOG)) as transaction:
        transaction.delete(layout.entry_key(2))
    with closing(StandingLog(path)) as log, pytest.raises(Damaged, match="entry 2 is no longer"):
        list(log.entries(3))


def test_a_later_snapshot_takes_the_place_of_one_that_is_damaged(tmp_path: Path):
    path = a_cut_log(tmp_path)
    with closing(StandingLog(path)) as log:
        assert log.base is not None
        header, chunks = log.base, [*log.chunks()]
    storage = LmdbStorage.open(path, create=False)
    for index, term in ((3, 7), (4, 2)):  # one of a log that is not this one, and one that is
        writer = storage.snapshots.begin(replace(header, index=index, term=term))
        for chunk in chunks:
            writer.write(chunk)
        writer.finish().close()
    storage.close()
    (first, *_) = sorted((path / SNAPSHOTS).iterdir())
    (first / "data.mdb").write_bytes(b"")
    with closing(StandingLog(path)) as log:
        assert log.base is not None and log.base.index == 4
        assert [entry.index for entry in log.entries(5)] == [5]


def test_a_directory_that_names_no_node_is_damaged(tmp_path: Path):
    storage = LmdbStorage.open(tmp_path / "a", create=True)
    storage.close()
    with pytest.raises(Damaged, match="does not say which node it is"):
        StandingLog(tmp_path / "a")
    storage = LmdbStorage.open(tmp_path / "a", create=False)
    storage.record_facts({directories.SELF: b"\xc1"})
    storage.close()
    with pytest.raises(Damaged, match="does not decode"):
        StandingLog(tmp_path / "a")


def test_a_cluster_without_a_key_has_none_afterwards_and_long_logs_are_written_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(refounding, "BATCH_BYTES", 1)
    manifest = refound(plan(tmp_path, size=1, key=None), None, entries(1, 1, 1))
    assert manifest.insecure and not (tmp_path / "new" / KEY).exists()
    with closing(StandingLog(tmp_path / "new" / "n1")) as log:
        assert [entry.index for entry in log.entries(3)] == [1, 2, 3]
