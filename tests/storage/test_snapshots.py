"""What `Snapshots` promises, and the cut of a log at them: asked of the disk and of its memory twin alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conflux import limits
from conflux.errors import Closed, Damaged
from conflux.raft.invariant import InvariantViolated
from conflux.storage.interface import SnapshotHeader
from tests.storage.making import append, entries, read_all, take_snapshot
from tests.storage.test_conformance import Place, in_memory, on_disk

CHUNKS = (b"first" * 1000, b"second", bytes(range(256)) * 1024)


@pytest.fixture(params=[on_disk, in_memory])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A log of entries 1..20 in terms 1 and 2, committed to 15."""
    made: Place = request.param(tmp_path / "node")
    append(made.storage, [*entries(1, 10), *entries(11, 20, 2)], commit_index=15)
    yield made
    made.storage.close()


def compact(place: Place) -> None:
    while place.storage.compact_some():
        pass


def indices(place: Place) -> list[int]:
    return [header.index for header in place.storage.snapshots.all()]


def test_a_new_storage_has_no_snapshots(place: Place) -> None:
    assert place.storage.snapshots.newest() is None
    assert place.storage.snapshots.all() == []
    with pytest.raises(KeyError):
        place.storage.snapshots.open(5)


def test_a_finished_snapshot_comes_back_as_it_was_also_after_a_restart(place: Place) -> None:
    header = SnapshotHeader(index=10, term=1, revision=77, fields=b"members")
    take_snapshot(place.storage, 10, 1, CHUNKS, revision=77, fields=b"members")
    for _ in range(2):
        snapshot = place.storage.snapshots.newest()
        assert snapshot is not None
        assert (snapshot.header, snapshot.chunk_count, snapshot.body_bytes) == (header, 3, sum(map(len, CHUNKS)))
        assert tuple(snapshot.chunk(number) for number in range(3)) == CHUNKS
        for number in (-1, 3):
            with pytest.raises(KeyError):
                snapshot.chunk(number)
        snapshot.close()
        place.reopen()


def test_a_snapshot_without_a_body_is_one(place: Place) -> None:
    take_snapshot(place.storage, 10, 1, ())
    place.reopen()
    snapshot = place.storage.snapshots.open(10)
    assert (snapshot.chunk_count, snapshot.body_bytes) == (0, 0)
    snapshot.close()


def test_the_checksum_is_of_header_and_body_and_not_of_how_it_was_cut(place: Place) -> None:
    def checksum(index: int, term: int, chunks: tuple[bytes, ...], **header: object) -> bytes:
        take_snapshot(place.storage, index, term, chunks, **header)
        snapshot = place.storage.snapshots.open(index)
        snapshot.close()
        place.storage.snapshots.keep_only(())
        return snapshot.checksum

    whole = checksum(10, 1, (b"abcd",))
    assert checksum(10, 1, (b"ab", b"c", b"d")) == whole
    others = [checksum(10, 1, (b"abce",)), checksum(9, 1, (b"abcd",)), checksum(10, 1, (b"abcd",), revision=5)]
    others += [checksum(10, 1, (b"bcd",), fields=b"a"), checksum(10, 1, (b"abcd",), fields=b"a")]
    assert len({whole, *others}) == 6


def test_a_writer_says_what_it_has_before_it_ends(place: Place) -> None:
    writer = place.storage.snapshots.begin(SnapshotHeader(index=10, term=1, revision=1, fields=b""))
    writer.write(b"abc")
    writer.write(b"d")
    assert (writer.chunk_count, writer.body_bytes, writer.is_behind) == (2, 4, False)
    checksum = writer.checksum()
    writer.start_finish()
    writer.start_finish()
    snapshot = writer.finish()
    assert writer.is_finished and writer.finish() is snapshot and snapshot.checksum == checksum
    writer.abandon()
    assert indices(place) == [10]
    snapshot.close()
    snapshot.close()


def test_what_is_not_finished_is_gone_after_a_restart(place: Place) -> None:
    place.storage.snapshots.begin(SnapshotHeader(index=10, term=1, revision=1, fields=b"")).write(b"abc")
    place.storage.snapshots.begin(SnapshotHeader(index=12, term=2, revision=1, fields=b""), received=True)
    assert indices(place) == []
    place.reopen()
    assert indices(place) == []
    take_snapshot(place.storage, 10, 1, CHUNKS)


def test_one_that_was_abandoned_makes_room_for_the_next(place: Place) -> None:
    for _ in range(3):
        writer = place.storage.snapshots.begin(SnapshotHeader(index=10, term=1, revision=1, fields=b""))
        writer.write(b"abc")
        writer.abandon()
        writer.abandon()
    assert indices(place) == []
    writer = place.storage.snapshots.begin(SnapshotHeader(index=10, term=1, revision=1, fields=b""))
    writer.start_finish()
    writer.abandon()
    place.reopen()
    assert indices(place) == []


def test_of_each_kind_one_is_written_at_a_time(place: Place) -> None:
    header = SnapshotHeader(index=10, term=1, revision=1, fields=b"")
    own = place.storage.snapshots.begin(header)
    received = place.storage.snapshots.begin(header, received=True)
    for kind in (False, True):
        with pytest.raises(InvariantViolated):
            place.storage.snapshots.begin(header, received=kind)
    own.write(b"own")
    received.write(b"received")
    own.abandon()
    snapshot = received.finish()
    assert snapshot.chunk(0) == b"received"
    snapshot.close()


@pytest.mark.parametrize("chunk", [b"", b"x" * (limits.SNAPSHOT_CHUNK_BYTES + 1)])
def test_a_chunk_is_neither_empty_nor_too_large(place: Place, chunk: bytes) -> None:
    writer = place.storage.snapshots.begin(SnapshotHeader(index=10, term=1, revision=1, fields=b""))
    with pytest.raises(InvariantViolated):
        writer.write(chunk)
    writer.abandon()


def test_nothing_is_written_to_a_snapshot_that_has_ended(place: Place) -> None:
    writer = place.storage.snapshots.begin(SnapshotHeader(index=10, term=1, revision=1, fields=b""))
    writer.finish().close()
    with pytest.raises(InvariantViolated):
        writer.write(b"more")


def test_those_that_are_not_kept_are_gone_but_for_who_reads_them(place: Place) -> None:
    for index in (5, 10):
        take_snapshot(place.storage, index, 1, (b"at %d" % index,))
    older = place.storage.snapshots.open(5)
    place.storage.snapshots.keep_only([10])
    assert indices(place) == [10] and older.chunk(0) == b"at 5"
    take_snapshot(place.storage, 5, 1, (b"again",))
    again = place.storage.snapshots.open(5)
    assert (older.chunk(0), again.chunk(0)) == (b"at 5", b"again")
    older.close()
    again.close()
    place.storage.snapshots.keep_only([10])
    place.reopen()
    assert indices(place) == [10]


def test_two_readers_of_one_snapshot_do_not_touch_each_other(place: Place) -> None:
    take_snapshot(place.storage, 10, 1, CHUNKS)
    one, other = place.storage.snapshots.open(10), place.storage.snapshots.open(10)
    one.close()
    one.close()
    assert other.chunk(1) == b"second"
    other.close()


def test_a_cut_log_begins_after_the_snapshot_over_restarts(place: Place) -> None:
    take_snapshot(place.storage, 12, 2)
    place.storage.install_base(12, 2, keep_log=True)
    for step in range(3):
        restored = place.storage.restored()
        if step:
            assert (restored.snapshot_index, restored.snapshot_term, restored.last_index) == (12, 2, 20)
            assert (restored.commit_index, restored.term_starts) == (15, ((13, 2),))
        for index in (1, 12):
            with pytest.raises(KeyError):
                place.storage.read(index, index, 1)
        assert read_all(place.storage, 13, 20) == entries(13, 20, 2)
        if step == 1:
            compact(place)
        place.reopen()


def test_H4_a_log_may_be_cut_at_its_tip_and_goes_on_from_there(place: Place) -> None:
    take_snapshot(place.storage, 20, 2)
    place.storage.install_base(20, 2, keep_log=True)
    append(place.storage, entries(21, 22, 3))
    compact(place)
    restored = place.reopen().restored()
    assert (restored.snapshot_index, restored.last_index, restored.last_term) == (20, 22, 3)
    assert restored.term_starts == ((21, 3),) and restored.commit_index == 20
    assert read_all(place.storage, 21, 22) == entries(21, 22, 3)


def test_what_a_snapshot_includes_is_committed(place: Place) -> None:
    take_snapshot(place.storage, 18, 2)
    assert place.reopen().restored().commit_index == 18


@pytest.mark.parametrize(("index", "term"), [(16, 3), (20, 3), (21, 2), (500, 3)])
def test_H3_a_log_that_does_not_hold_the_snapshots_entry_goes_whole(place: Place, index: int, term: int) -> None:
    place.storage.persist(term=3, vote=None, entries=[], commit_index=15)
    take_snapshot(place.storage, index, term)
    place.storage.install_base(index, term, keep_log=False)
    assert read_all_is_empty(place, index)
    new = entries(index + 1, index + 4, 3)
    for step in range(3):
        if step == 0:
            append(place.storage, new[:2])
            append(place.storage, new[1:])  # replaces one
        assert read_all(place.storage, index + 1, index + 4) == new
        if step == 1:
            compact(place)
        restored = place.reopen().restored()
        assert (restored.snapshot_index, restored.snapshot_term, restored.last_index) == (index, term, index + 4)
        assert (restored.commit_index, restored.term_starts) == (index, ((index + 1, 3),))


def read_all_is_empty(place: Place, index: int) -> bool:
    for each in (1, index, index + 1):
        with pytest.raises(KeyError):
            place.storage.read(each, each, 1)
    return True


def test_H5_logs_cut_and_dropped_again_and_again_never_come_back(place: Place) -> None:
    last = 20
    for term in range(3, 12):
        dropped = term % 2 == 1
        base, base_term = (last + 7, term) if dropped else (last, term - 1)
        place.storage.persist(term=term, vote=None, entries=[], commit_index=0)
        take_snapshot(place.storage, base, base_term)
        place.storage.install_base(base, base_term, keep_log=not dropped)
        append(place.storage, entries(base + 1, base + 5, term))
        if term % 4 == 0:
            place.storage.compact_some()
        last = base + 5
        restored = place.reopen().restored()
        assert (restored.snapshot_index, restored.last_index) == (base, last)
        assert read_all(place.storage, base + 1, last) == entries(base + 1, last, term)


def test_the_same_base_again_is_harmless(place: Place) -> None:
    take_snapshot(place.storage, 12, 2)
    for _ in range(2):
        place.storage.install_base(12, 2, keep_log=True)
    place.storage.install_base(12, 2, keep_log=False)
    assert read_all(place.storage, 13, 20) == entries(13, 20, 2)


@pytest.mark.parametrize(
    ("index", "term", "keep_log", "sentence"),
    [
        (11, 2, True, "the base never goes back"),
        (14, 1, True, "terms of bases never go back"),
        (15, 3, False, "no base is of a term that the node hasn't reached"),
        (14, 2, False, "the log is kept where it holds"),
        (21, 2, True, "the log is kept where it holds"),
        (16, 2, True, "after a finished snapshot"),
    ],
)
def test_H2_a_base_that_breaks_an_invariant_is_refused_and_changes_nothing(
    place: Place, index: int, term: int, keep_log: bool, sentence: str
) -> None:
    take_snapshot(place.storage, 12, 2)
    place.storage.install_base(12, 2, keep_log=True)
    with pytest.raises(InvariantViolated, match=sentence):
        place.storage.install_base(index, term, keep_log=keep_log)
    restored = place.reopen().restored()
    assert (restored.snapshot_index, restored.last_index) == (12, 20)


def test_a_committed_entry_is_never_dropped_for_a_snapshot_of_another_history(place: Place) -> None:
    place.storage.persist(term=3, vote=None, entries=[], commit_index=15)
    take_snapshot(place.storage, 15, 3)
    with pytest.raises(InvariantViolated, match="committed entry"):
        place.storage.install_base(15, 3, keep_log=False)


@pytest.mark.parametrize(("index", "term"), [(25, 2), (15, 1), (5, 1)])
def test_H1_a_snapshot_that_the_log_does_not_lead_to_is_gone_after_a_restart(
    place: Place, index: int, term: int
) -> None:
    take_snapshot(place.storage, 10, 1)
    place.storage.install_base(10, 1, keep_log=True)
    take_snapshot(place.storage, index, term)
    place.reopen()
    assert indices(place) == [10]


def test_H9_a_cut_log_whose_snapshot_is_gone_is_damage(place: Place) -> None:
    take_snapshot(place.storage, 12, 2)
    place.storage.install_base(12, 2, keep_log=True)
    place.storage.snapshots.keep_only(())
    with pytest.raises(Damaged, match="the log begins after entry 12, and "):
        place.reopen()


def test_a_closed_storage_refuses_all_of_it(place: Place) -> None:
    place.storage.close()
    for use in (
        lambda: place.storage.snapshots,
        lambda: place.storage.install_base(12, 2, keep_log=True),
        place.storage.compact_some,
    ):
        with pytest.raises(Closed):
            use()
