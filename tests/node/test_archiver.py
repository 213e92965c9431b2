"""What is cut of a log is in the archive before: over crashes, installs, gaps, and where the archive takes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conflux import limits
from conflux.errors import ConfluxError, Damaged, SnapshotDamaged
from conflux.node import archiver as archivers
from conflux.node.directory import Directory
from conflux.node.node import Node
from conflux.raft.entry import Entry
from conflux.storage.archive import Archive, Owner, segments_of
from conflux.storage.archive_writer import SegmentWriter
from conflux.storage.archived import look, pieces_of, runs_of
from conflux.storage.artefact import ArtefactWriter
from conflux.storage.memory_snapshots import MemorySnapshot
from conflux.store.image import decode_fields, decode_slices
from conflux.store.machine import Machine
from conflux.store.replaying import replay
from tests.node.harness import Disk, World, label_of
from tests.node.test_snapshots import first_index, grow, settle, snapshot_now, snapshots

PATIENCE_S = 20.0


class Archiving(World):
    """A world in which each node keeps what it cuts, but those that are named."""

    def __init__(self, root: Path, size: int = 1, without: str = "", **options: Any) -> None:
        self.root = root
        self.without = without
        super().__init__(size, **options)

    def archive_for(self, directory: Directory) -> Archive | None:
        mine = directory.self
        owner = Owner(cluster=mine.cluster, label=mine.label, identity=mine.identity)
        return None if mine.label in self.without else Archive.open(self.root, owner)

    def wait(self, condition: Callable[[], object]) -> None:
        """As `until`, where a thread has something to do, which takes real time."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline_s, "it did not come"
            self.step()
            time.sleep(0.001)

    def compact(self, *labels: str, calls: int = 1, thing: str = "x") -> None:
        """Let nodes take two snapshots and cut their logs at the older."""
        for _ in range(2):
            user = self.user(self.leader())
            for _ in range(calls):
                user.perform(("add", thing))
            self.run(0.2)
            for label in labels or sorted(self.nodes):
                snapshot_now(self, self.nodes[label])
        self.wait(lambda: all(is_idle(self.nodes[label]) for label in labels or self.nodes))

    def history(self, label: str) -> list[int]:
        """The indices in a node's archive, read with all checksums."""
        (archive,) = look(self.root / label)
        return [entry.index for run in runs_of(pieces_of(archive)) for entry in entries_of(run)]


def entries_of(run: Any) -> list[Entry]:
    chunks, entries = run.contents()
    for _ in chunks:
        pass
    return list(entries)


def is_idle(node: Node) -> bool:
    assert node.member is not None
    return not node.member.snapshots.has_work and not node.member.snapshots.waits


def archive_of(node: Node) -> Any:
    assert node.member is not None and node.member.snapshots.archiver is not None
    return node.member.snapshots.archiver


def state_from(world: Archiving, label: str) -> Machine:
    """What the first run of an archive folds into, with its own hashes held against it."""
    (archive,) = look(world.root / label)
    run = runs_of(pieces_of(archive))[-1]
    chunks, entries = run.contents()
    if run.base is None:
        machine = Machine.initial(world.app)
    else:
        fields = decode_fields(run.base.fields)
        place = {"index": run.base.index, "term": run.base.term, "bytes_total": run.base.body_bytes}
        machine = next(each for each in decode_slices(fields, chunks, world.app, **place) if each is not None)
    return replay(machine, entries, world.app)  # type: ignore[return-value]


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """While there is a reason in it, no file of an archive can be finished."""
    reasons: list[str] = []
    finish = ArtefactWriter.finish

    def finish_or_not(self: ArtefactWriter) -> None:
        if reasons:
            raise ConfluxError(reasons[0])
        finish(self)

    monkeypatch.setattr(ArtefactWriter, "finish", finish_or_not)
    yield reasons
    reasons.clear()


def test_what_is_cut_is_in_the_archive(tmp_path: Path):
    world = Archiving(tmp_path, 3)
    world.compact()
    world.compact()
    for label, node in world.nodes.items():
        assert first_index(node) > 1
        assert world.history(label) == list(range(1, first_index(node)))
        status = archive_of(node).status()
        assert status == {
            "directory": str(tmp_path / label),
            "last_index": first_index(node) - 1,
            "problem": None,
        }
    found = state_from(world, "a")
    assert found.revision and list(found.state) == ["x"] * found.revision


def test_a_node_without_one_cuts_as_ever(tmp_path: Path):
    world = Archiving(tmp_path, 1, without="a")
    world.compact()
    assert first_index(world.nodes["a"]) > 1 and list(tmp_path.iterdir()) == []
    assert world.nodes["a"].member.snapshots.status()["archive"] is None


def test_nothing_is_cut_before_the_archive_holds_it(tmp_path: Path, broken: list[str]):
    world = Archiving(tmp_path)
    broken.append("/archive: No space left on device")
    node = world.nodes["a"]
    for _ in range(4):
        world.user().perform(("add", "x"))
        snapshot_now(world, node)
    world.wait(lambda: archive_of(node).problem is not None)
    assert first_index(node) == 1 and world.history("a") == []
    assert "No space left" in node.member.snapshots.status()["archive"]["problem"]
    assert node.problem() is None  # it serves on
    assert len(snapshots(node)) == 3  # the two newest, and the one that the archive is at: others would pile up
    broken.clear()
    world.clock.now_s += archivers.RETRY_SECONDS
    world.wait(lambda: first_index(node) > 1)
    assert archive_of(node).problem is None
    assert world.history("a") == list(range(1, first_index(node)))


def test_a_node_that_cuts_a_second_time_keeps_the_snapshot_that_its_log_begins_with(tmp_path: Path, broken: list[str]):
    world = Archiving(tmp_path)
    world.compact()
    node = world.nodes["a"]
    base = first_index(node) - 1
    broken.append("full")
    for _ in range(3):
        world.user().perform(("add", "x"))
        snapshot_now(world, node)
    world.wait(lambda: archive_of(node).problem is not None)
    kept = snapshots(node)
    assert len(kept) == 4 and kept[-1] == base == first_index(node) - 1
    node = world.restart("a")
    world.until(lambda: node.is_leading)
    assert first_index(node) == base + 1


def test_what_waited_when_the_node_ended_is_archived_and_cut_when_it_starts(tmp_path: Path, broken: list[str]):
    world = Archiving(tmp_path)
    broken.append("full")
    for _ in range(2):
        world.user().perform(("add", "x"))
        snapshot_now(world, world.nodes["a"])
    world.wait(lambda: archive_of(world.nodes["a"]).problem is not None)
    broken.clear()
    node = world.restart("a")
    world.wait(lambda: first_index(node) > 1)
    assert world.history("a") == list(range(1, first_index(node)))


def test_a_crash_between_the_archive_and_the_cut_leaves_no_gap_and_nothing_twice(tmp_path: Path):
    world = Archiving(tmp_path)
    for _ in range(2):
        world.user().perform(("add", "x"))
        snapshot_now(world, world.nodes["a"])
    node = world.nodes["a"]
    archived: list[int] = []
    node.replica.cut_log = lambda index, term: archived.append(index)  # it dies here
    world.wait(lambda: archived)
    assert first_index(node) == 1 and world.history("a") == list(range(1, archived[0] + 1))
    node = world.restart("a")
    world.wait(lambda: first_index(node) == archived[0] + 1)
    world.compact()
    assert world.history("a") == list(range(1, first_index(node)))


def behind(world: Archiving, away: str) -> Node:
    """Stop a node, let the others cut behind it, and start it again."""
    disk = world.disk(away)
    world.stop(away)
    world.compact(calls=3)
    world.compact(calls=3)
    return world.start(away, disk.reopened())


def test_an_install_that_jumps_over_entries_is_a_gap_with_the_state_behind_it(tmp_path: Path):
    world = Archiving(tmp_path, 3)
    world.compact()
    away = label_of(world.followers()[0])
    last = world.nodes[away].replica.raft.log.last_index
    node = behind(world, away)
    world.wait(lambda: node.member is not None and node.member.snapshots.installer.installs == 1)
    settle(world)
    installed = first_index(node) - 1
    assert world.history(away) == list(range(1, last + 1))  # what it had is kept before it goes
    world.compact()
    (archive,) = look(tmp_path / away)
    before, after = runs_of(pieces_of(archive))
    assert (before.first_index, before.last_index) == (1, last)
    assert after.first_index == installed + 1 and after.base is not None and after.base.index == installed
    found = state_from(world, away)
    leader = world.leader()
    assert found.revision <= leader.machine.revision and list(found.state) == ["x"] * found.revision
    whole = runs_of(piece for each in look(tmp_path) for piece in pieces_of(each))
    assert len(whole) == 1 and whole[0].first_index == 1  # the others have it all


def test_what_was_never_committed_is_in_no_archive(tmp_path: Path):
    world = Archiving(tmp_path, 3)
    user = world.user()
    user.perform(("add", "x"))
    deposed = label_of(user.node)
    world.isolate(deposed)
    log, committed = user.node.replica.raft.log, user.node.replica.raft.commit_index
    user.send(user.request(("add", "lost")))
    world.until(lambda: log.last_index > committed)
    world.run(1.0)
    others = [label for label in sorted(world.nodes) if label != deposed]
    world.compact(*others, calls=3)
    world.compact(*others, calls=3)
    world.heal()
    installer = world.nodes[deposed].member.snapshots.installer
    world.wait(lambda: installer.installs == 1)
    assert world.history(deposed) == list(range(1, committed + 1))


def test_an_install_waits_for_the_archive(tmp_path: Path, broken: list[str]):
    world = Archiving(tmp_path, 3)
    away = label_of(world.followers()[0])
    last = world.nodes[away].replica.raft.log.last_index
    disk = world.disk(away)
    world.stop(away)
    world.compact(calls=3)
    world.compact(calls=3)
    broken.append("full")
    node = world.start(away, disk.reopened())
    world.wait(lambda: archive_of(node).problem is not None)
    assert node.member.snapshots.installer.installs == 0 and not node.member.snapshots.installer.has_work
    assert first_index(node) == 1
    broken.clear()
    world.clock.now_s += archivers.RETRY_SECONDS
    world.wait(lambda: node.member.snapshots.installer.installs == 1)
    assert world.history(away) == list(range(1, last + 1))


def test_an_archive_that_begins_late_begins_with_the_state_there(tmp_path: Path):
    world = Archiving(tmp_path, 1, without="a")
    world.compact()
    world.without = ""
    node = world.restart("a")
    base = first_index(node) - 1
    world.compact()
    (run,) = runs_of(pieces_of(look(tmp_path)[0]))
    assert run.first_index == base + 1 and run.base is not None and run.base.index == base
    assert list(state_from(world, "a").state) == ["x"] * state_from(world, "a").revision


@pytest.mark.parametrize("where", ["open", "chunk"])
def test_where_the_state_behind_a_gap_is_damaged_the_entries_are_kept_without(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
):
    world = Archiving(tmp_path, 1, without="a")
    world.compact()
    world.without = ""
    node = world.restart("a")
    base = first_index(node) - 1

    def damaged(self: Any, number: int) -> bytes:
        raise SnapshotDamaged("a chunk")

    if where == "open":
        kept = node.directory.storage.snapshots.open

        def open_(index: int) -> Any:
            if index == base:
                raise KeyError(index)
            return kept(index)

        monkeypatch.setattr(node.directory.storage.snapshots, "open", open_)
    else:
        monkeypatch.setattr(MemorySnapshot, "chunk", damaged)
    for _ in range(2):
        world.user().perform(("add", "x"))
        snapshot_now(world, node)
    world.wait(lambda: first_index(node) > base + 1 or archive_of(node).problem)
    world.clock.now_s += archivers.RETRY_SECONDS
    world.wait(lambda: first_index(node) > base + 1)
    (run,) = runs_of(pieces_of(look(tmp_path)[0]))
    assert run.first_index == base + 1 and run.base is None and run.replayable() is None


def test_an_entry_that_is_damaged_is_never_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    world = Archiving(tmp_path)
    node = world.nodes["a"]
    for _ in range(2):
        world.user().perform(("add", "x"))
        snapshot_now(world, node)
    log = node.replica.raft.log

    def damaged(first: int, last: int, bytes_max: int) -> Any:
        raise Damaged("entry 1 does not match its checksum")

    monkeypatch.setattr(log, "entries", damaged)
    world.wait(lambda: archive_of(node).problem)
    assert "does not match" in archive_of(node).problem and first_index(node) == 1


def test_a_long_log_becomes_several_files_of_slices(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(limits, "ARCHIVE_SEGMENT_ENTRIES", 10)
    world = Archiving(tmp_path)
    grow(world.user(), calls=25, thing="x" * 1000)
    monkeypatch.setattr(archivers, "SLICE_SECONDS", -1.0)  # a block a slice
    world.compact()
    node = world.nodes["a"]
    sizes = [each.last_index + 1 - each.first_index for each in segments_of(tmp_path / "a")]
    assert set(sizes[:-1]) == {10} and sum(sizes) == first_index(node) - 1
    assert world.history("a") == list(range(1, first_index(node)))


def test_a_writer_that_is_behind_is_given_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    world = Archiving(tmp_path)
    is_behind = [True]
    monkeypatch.setattr(SegmentWriter, "is_behind", property(lambda self: is_behind[0]))
    for _ in range(2):
        world.user().perform(("add", "x"))
        snapshot_now(world, world.nodes["a"])
    node = world.nodes["a"]
    world.until(lambda: archive_of(node).waits)
    assert not archive_of(node).has_work
    archive_of(node).work()
    assert not node.member.snapshots.has_work
    is_behind[0] = False
    world.wait(lambda: first_index(node) > 1)


def test_a_node_that_ends_gives_up_what_it_was_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    world = Archiving(tmp_path)
    monkeypatch.setattr(SegmentWriter, "is_behind", property(lambda self: True))
    for _ in range(2):
        world.user().perform(("add", "x"))
        snapshot_now(world, world.nodes["a"])
    node = world.nodes["a"]
    world.until(lambda: archive_of(node).waits)
    node.close()
    assert not archive_of(node).waits
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["archive.json"]


def test_a_file_is_not_begun_again_before_the_one_that_was_given_up_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    world = Archiving(tmp_path)
    over = [False]
    monkeypatch.setattr(SegmentWriter, "is_behind", property(lambda self: True))
    for _ in range(2):
        world.user().perform(("add", "x"))
        snapshot_now(world, world.nodes["a"])
    archiver = archive_of(world.nodes["a"])
    world.until(lambda: archiver.waits)
    monkeypatch.setattr(SegmentWriter, "is_over", property(lambda self: over[0]))
    archiver._failed("for a test")
    world.clock.now_s += archivers.RETRY_SECONDS
    assert not archiver.has_work and not archiver.waits
    over[0] = True
    assert archiver.has_work
    monkeypatch.undo()
    world.wait(lambda: first_index(world.nodes["a"]) > 1)
    assert world.history("a") == list(range(1, first_index(world.nodes["a"])))


def test_an_archive_that_is_slower_than_the_snapshots_come_is_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    world = Archiving(tmp_path)
    node, finished, allowed = world.nodes["a"], [], [0]
    is_over, finish = SegmentWriter.is_over.fget, SegmentWriter.finish
    monkeypatch.setattr(SegmentWriter, "is_over", property(lambda self: len(finished) < allowed[0] and is_over(self)))
    monkeypatch.setattr(SegmentWriter, "finish", lambda self: (finished.append(self), finish(self)))
    for _ in range(3):
        for _ in range(2):  # another one is there before the file is
            world.user().perform(("add", "x"))
            snapshot_now(world, node)
        begun, first = len(finished), first_index(node)
        world.until(lambda: archive_of(node).waits)
        allowed[0] = begun + 1
        world.wait(lambda: first_index(node) > first)  # noqa: B023
        assert len(finished) == begun + 1
    assert world.history("a")[: first_index(node) - 1] == list(range(1, first_index(node)))


def test_an_idle_node_has_no_work_for_its_archive(tmp_path: Path):
    world = Archiving(tmp_path)
    world.compact()
    disk = world.disk("a")
    assert isinstance(disk, Disk) and is_idle(world.nodes["a"])
    syncs = disk.syncs
    world.run(1.0)
    assert disk.syncs <= syncs + 1 and is_idle(world.nodes["a"])
