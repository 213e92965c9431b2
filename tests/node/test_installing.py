"""A follower fetches its leader's snapshot: chunks that come late, twice, damaged or not at all, disks that fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import msgspec
import pytest

from conflux.errors import ConfluxError, Damaged, DiskFull, StorageFailed
from conflux.node import snapshots as snapshots_module
from conflux.node.feeding import _part
from conflux.node.installing import AGAIN_SECONDS, LONG_SECONDS, PATIENCE_SECONDS
from conflux.node.replica import Replica
from conflux.raft.effects import SnapshotOffered
from conflux.storage.memory_snapshots import MemorySnapshotWriter
from conflux.wire.peers import AskSnapshot, SnapshotGone, SnapshotPart
from tests.node.harness import Clock, World, label_of
from tests.node.test_snapshots import grow, snapshot_now


class Fetch:
    """A follower that is cut off, what a leader would offer it, and what it asks for; its turns are the test's."""

    def __init__(self) -> None:
        self.world = World(3)
        follower = self.world.followers()[0]
        self.world.until(lambda: follower.machine.index)
        self.world.isolate(label_of(follower))
        grow(self.world.user(), calls=10)
        leader = self.world.leader()
        taken = snapshot_now(self.world, leader)
        snapshot = leader.directory.storage.snapshots.open(taken.index)
        self.parts = [_part(snapshot, number) for number in range(snapshot.chunk_count)]
        self.offer = SnapshotOffered(
            leader=leader.directory.self.identity, index=taken.index, term=snapshot.header.term
        )
        assert follower.member is not None and follower.replica is not None
        self.follower, self.replica = follower, follower.replica
        self.installer = follower.member.snapshots.installer
        self.asked: list[AskSnapshot] = []
        self.installer._ask = lambda _, ask: self.asked.append(ask) is None
        self.installer.offered(self.offer)

    def take(self, *parts: SnapshotPart) -> None:
        for part in parts:
            self.installer.take(part)

    def work(self, turns: int = 3) -> None:
        for _ in range(turns):
            self.installer.work()

    def wait(self, seconds: float) -> None:
        self.world.clock.now_s += seconds

    @property
    def is_installed(self) -> bool:
        return self.follower.machine.index == self.offer.index and self.installer.installs == 1


@pytest.fixture
def fetch(monkeypatch: pytest.MonkeyPatch) -> Fetch:
    monkeypatch.setattr(snapshots_module, "CHUNK_BYTES", 8_000)
    made = Fetch()
    assert len(made.parts) > 8
    return made


def failing(error: ConfluxError) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_all_chunks_make_a_snapshot_that_is_installed(fetch: Fetch) -> None:
    fetch.take(*fetch.parts)
    assert fetch.installer.has_work
    fetch.work()
    assert fetch.is_installed and not fetch.installer.waits and fetch.installer.problem is None


def test_more_is_asked_for_at_once_while_it_comes_quickly_and_less_where_it_takes_long(fetch: Fetch) -> None:
    fetch.take(*fetch.parts[:7])
    assert [ask.count for ask in fetch.asked] == [1, 2, 4, 8]
    fetch.wait(LONG_SECONDS + 0.01)
    fetch.installer._fetch.asked_end = 8  # type: ignore[union-attr]
    fetch.take(fetch.parts[7])
    assert fetch.asked[-1] == AskSnapshot(fetch.offer.index, 8, 4)


def test_a_pace_that_is_neither_quick_nor_slow_is_kept(fetch: Fetch) -> None:
    fetch.wait(LONG_SECONDS / 2)
    fetch.take(fetch.parts[0])
    assert [ask.count for ask in fetch.asked] == [1, 1]


def test_a_chunk_that_comes_twice_or_after_a_gap_changes_nothing(fetch: Fetch) -> None:
    first, _, third, *_ = fetch.parts
    fetch.take(first, first, third)
    assert fetch.installer.progress() == {
        "index": fetch.offer.index,
        "bytes": len(first.chunk),
        "bytes_total": first.bytes_total,
    }
    fetch.take(*fetch.parts)
    fetch.work()
    assert fetch.is_installed


def test_what_does_not_come_is_asked_for_again(fetch: Fetch) -> None:
    fetch.take(fetch.parts[0])
    fetch.work()
    assert len(fetch.asked) == 2
    fetch.wait(PATIENCE_SECONDS + 0.01)
    fetch.work(1)
    assert fetch.asked[-1] == AskSnapshot(fetch.offer.index, 1, 1)


def test_another_leaders_snapshot_of_that_index_is_fetched_from_the_beginning(fetch: Fetch) -> None:
    fetch.take(*fetch.parts[:3])
    others = [msgspec.structs.replace(part, checksum=b"another") for part in fetch.parts]
    fetch.take(others[3])
    assert fetch.asked[-1].first == 0
    fetch.take(others[0])
    assert fetch.installer.progress()["bytes"] == len(others[0].chunk)  # type: ignore[index]


def test_what_arrives_damaged_is_never_installed_and_fetched_anew_after_a_while(fetch: Fetch) -> None:
    last = fetch.parts[-1]
    fetch.take(*fetch.parts[:-1], msgspec.structs.replace(last, chunk=b"y" * len(last.chunk)))
    assert fetch.installer.problem == "the leader's snapshot arrived damaged"
    fetch.installer.offered(fetch.offer)
    assert not fetch.installer.waits  # not at once
    fetch.wait(AGAIN_SECONDS + 0.01)
    fetch.installer.offered(fetch.offer)
    fetch.take(*fetch.parts)
    fetch.work()
    assert fetch.is_installed and fetch.installer.problem is None


def test_a_snapshot_that_is_gone_is_given_up_and_another_one_is_not(fetch: Fetch) -> None:
    fetch.installer.gone(SnapshotGone(fetch.offer.index + 1))
    assert fetch.installer.waits
    fetch.installer.gone(SnapshotGone(fetch.offer.index))
    assert not fetch.installer.waits
    fetch.take(fetch.parts[0])
    assert fetch.installer.progress() is None


def test_another_offer_is_taken_up_once_nothing_comes_of_the_first(fetch: Fetch) -> None:
    later = replace(fetch.offer, index=fetch.offer.index + 1)
    fetch.installer.offered(later)
    assert len(fetch.asked) == 1
    fetch.wait(PATIENCE_SECONDS + 0.01)
    fetch.installer.offered(later)
    assert fetch.asked[-1].index == later.index


def test_what_the_log_brought_first_is_not_fetched(fetch: Fetch) -> None:
    fetch.installer._fetch.index = 1  # type: ignore[union-attr]
    fetch.work()
    assert not fetch.installer.waits


def test_what_the_log_brought_while_it_was_decoded_is_not_installed(fetch: Fetch) -> None:
    fetch.take(*fetch.parts)
    fetch.work(1)
    fetch.replica.raft.commit_index = fetch.offer.index
    fetch.work()
    assert fetch.installer.installs == 0 and not fetch.installer.has_work


def test_decoding_takes_a_slice_of_time_at_once(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    def monotonic_s(clock: Clock) -> float:
        clock.now_s += 1.0
        return clock.now_s

    fetch.take(*fetch.parts)
    fetch.work(1)
    monkeypatch.setattr(Clock, "monotonic_s", monotonic_s)
    fetch.work(1)
    assert fetch.installer.has_work and not fetch.is_installed
    fetch.installer.offered(fetch.offer)  # it is here: nothing is asked for
    fetch.work(1000)
    assert fetch.is_installed


def test_a_disk_without_room_for_a_chunk_is_a_problem_that_passes(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(MemorySnapshotWriter, "write", failing(DiskFull("no space left on device")))
        fetch.take(fetch.parts[0])
    assert fetch.installer.problem == "no space left on device" and not fetch.installer.waits


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (DiskFull("no room"), "no room"),
        (StorageFailed("Input/output error"), "Input/output error"),
        (Damaged("a chunk is gone"), "the leader's snapshot can't be used: a chunk is gone"),
    ],
)
def test_a_disk_that_does_not_take_the_whole_is_a_problem(
    error: ConfluxError, problem: str, fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch.take(*fetch.parts)
    monkeypatch.setattr(MemorySnapshotWriter, "finish", failing(error))
    fetch.work()
    assert fetch.installer.problem == problem and not fetch.is_installed


def test_a_disk_that_fails_when_the_log_is_to_begin_elsewhere_ends_the_node(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch.take(*fetch.parts)
    fetch.work(1)
    monkeypatch.setattr(Replica, "install", failing(StorageFailed("Input/output error")))
    with pytest.raises(StorageFailed):
        fetch.work()


def test_a_whole_one_that_the_disk_had_no_room_to_install_is_not_fetched_again(
    fetch: Fetch, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch.take(*fetch.parts)
    with monkeypatch.context() as patch:
        patch.setattr(Replica, "install", failing(DiskFull("no room")))
        fetch.work()
    assert fetch.installer.problem == "no room"
    asked = len(fetch.asked)
    fetch.wait(AGAIN_SECONDS + 0.01)
    fetch.installer.offered(fetch.offer)
    fetch.work()
    assert fetch.is_installed and len(fetch.asked) == asked


def test_it_waits_for_a_disk_that_takes_its_time(fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemorySnapshotWriter, "is_finished", False)
    fetch.take(*fetch.parts)
    fetch.work()
    assert fetch.installer.waits and not fetch.installer.has_work
    monkeypatch.setattr(MemorySnapshotWriter, "is_finished", True)
    fetch.work()
    assert fetch.is_installed


def test_a_node_that_is_stuck_asks_for_nothing(fetch: Fetch) -> None:
    fetch.replica.disk_full = "no space left on device"
    asked = len(fetch.asked)
    fetch.wait(PATIENCE_SECONDS + 0.01)
    fetch.work()
    assert len(fetch.asked) == asked


@pytest.mark.parametrize("count", [0, 1, None])
def test_closing_gives_back_what_has_come(fetch: Fetch, count: int | None) -> None:
    fetch.take(*fetch.parts[:count])
    fetch.work(1)
    fetch.installer.close()
    assert not fetch.installer.waits and not fetch.installer.has_work
