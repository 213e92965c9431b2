"""Named points of the way that a call takes, at which a node dies the n-th time that it passes.

Nothing in Conflux knows of them: they are put around its functions from outside, in a node's process alone. A point is
armed when the process starts, or by SIGUSR1 (`CONFLUX_FAILPOINT_ARM=signal`), so that a cluster can form and choose its
leader before. A file of the point's name in `CONFLUX_FAILPOINT_DIR` says afterwards that the node died there and
nowhere else.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

# Which points there are, and what a node does when it passes: "leader", "follower", "any" (in each role), "candidate",
# "forming", "starting", "compacting", "archiving", "installing", "changing" (leader and follower).
POINTS = {
    "propose.before": "leader",  # judged, not yet in the log
    "propose.after": "leader",  # in the log, neither sent nor on disk
    "append.before_send": "leader",
    "append.after_send": "leader",
    "persist.before": "any",
    "persist.reserved": "any",  # room on disk, nothing written
    "persist.written": "any",  # in the journal, not synced
    "persist.after": "any",
    "accepted.before_send": "follower",  # on disk, the leader doesn't know
    "accepted.after_send": "follower",
    "commit.before_apply": "any",
    "apply.before_answer": "leader",
    "answer.before": "leader",
    "answer.after": "leader",
    "read.before_answer": "any",
    "commit_index.before": "any",  # written down alone, when idle
    "commit_index.written": "any",
    "take.in_transaction": "any",  # LMDB has all that the journal holds, not committed
    "take.after": "any",  # committed: what the journal holds is of an epoch that is over
    "commit_index.after": "any",
    "vote.request_before_send": "candidate",  # its own vote is on disk
    "vote.request_after_send": "candidate",
    "vote.before_send": "voter",  # on disk, the candidate doesn't know
    "vote.after_send": "voter",
    "noop.before_persist": "candidate",  # elected, and nothing of the new term on disk
    "start.journal_in_transaction": "starting",
    "start.before_recovery": "starting",
    "start.reading": "starting",  # in the middle of the log
    "start.folding": "starting",
    "start.before_listening": "starting",
    "snapshot.begun": "compacting",
    "snapshot.written": "compacting",  # a chunk of it
    "snapshot.before_end": "compacting",  # every chunk
    "snapshot.before_sync": "compacting",
    "snapshot.after_sync": "compacting",
    "snapshot.after_rename": "compacting",
    "snapshot.finished": "compacting",  # durable, the log doesn't know
    "base.in_transaction": "compacting",  # put, not committed
    "base.installed": "compacting",  # nothing deleted
    "compact.in_transaction": "compacting",
    "compact.after": "compacting",
    "snapshot.removed": "compacting",  # renamed, perhaps not unlinked
    "archive.begun": "archiving",
    "archive.before_sync": "archiving",  # all written
    "archive.after_rename": "archiving",  # durable, the node's loop doesn't know
    "archive.added": "archiving",  # nothing cut
    "install.between_chunks": "installing",  # some have come, others not
    "install.received": "installing",  # whole and durable, nothing of it read
    "install.before_base": "installing",  # read, the log doesn't know
    "install.after_base": "installing",  # the log begins behind it, the machine is the old one
    "install.after_swap": "installing",  # nothing older removed
    "members.appended": "leader changing",  # in force, neither sent nor on disk
    "members.before_persist": "changing",
    "members.after_persist": "changing",
    "members.before_answer": "leader changing",
    "form.before_self": "forming",  # a directory that does not say whose it is
    "form.after_self": "forming",
    "form.before_accepted": "forming",
    "form.after_accepted": "forming",
    "form.before_formed": "forming",
    "form.after_formed": "forming",
}


@dataclass(slots=True)
class Trap:
    """The one point of this process."""

    name: str
    passes_left: int
    directory: Path
    armed: bool

    def passing(self, name: str) -> None:
        """Die here, if it is time."""
        if not self.armed or name != self.name:
            return
        self.passes_left -= 1
        if self.passes_left <= 0:
            (self.directory / self.name).touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def arm(self, *_signal: object) -> None:
        self.armed = True


def set_trap(spec: str, directory: str, *, arm: str) -> Trap:
    """Put the point around the functions of this process."""
    name, _, count = spec.partition(":")
    assert name in POINTS, name
    trap = Trap(name, int(count or 1), Path(directory), arm != "signal")
    if arm == "signal":
        signal.signal(signal.SIGUSR1, trap.arm)
    for install in (_in_storage, _in_replica, _in_links, _in_answers, _at_start, _in_formation):
        install(trap.passing)
    for install in (_in_compaction, _in_archive, _in_installation, _in_changes):
        install(trap.passing)
    return trap


def take_many_snapshots(here: bool) -> None:
    """Have this process take a snapshot at each hash point, or never, however long it runs.

    Chunks are of a few bytes, since sessions and a state of two values fill no larger ones.
    """
    from conflux.node import snapshots
    from conflux.node.options import NodeOptions

    NodeOptions.__init__.__kwdefaults__ |= {"snapshot_entries": 1} if here else NEVER
    snapshots.CHUNK_BYTES = 64


NEVER = {"snapshot_entries": 1 << 60, "snapshot_bytes": 1 << 60}
Passing = Callable[[str], None]


def around(owner: Any, name: str, *, before: Any = None, after: Any = None) -> None:
    """Call `before` with a function's arguments, and `after` with them once it has returned."""
    function = getattr(owner, name)

    @wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        if before is not None:
            before(*args, **kwargs)
        result = function(*args, **kwargs)
        if after is not None:
            after(*args, **kwargs)
        return result

    setattr(owner, name, wrapped)


def _in_storage(passing: Passing) -> None:
    from conflux.raft.entry import Kind
    from conflux.storage import journal, lmdb_storage, taking
    from conflux.storage.lmdb_storage import LmdbStorage
    from conflux.storage.reserve import Reserve

    def before(_self: Any, *, entries: Any, **_rest: Any) -> None:
        if entries:
            passing("persist.before")
        if entries and entries[-1].kind is Kind.NOOP:
            passing("noop.before_persist")

    def after(_self: Any, *, entries: Any, **_rest: Any) -> None:
        if entries:
            passing("persist.after")

    around(LmdbStorage, "persist", before=before, after=after)
    around(Reserve, "require", after=lambda *_: passing("persist.reserved"))
    point = "persist.written"

    def appending(_self: Any, *, entries: Any, **_rest: Any) -> None:
        nonlocal point  # a commit index that is written alone comes without an entry
        point = "persist.written" if entries else "commit_index.written"

    around(LmdbStorage, "persist", before=appending)
    around(journal, "_sync", before=lambda *_: passing(point))
    around(lmdb_storage, "take", after=lambda *_: passing("take.in_transaction"))
    around(LmdbStorage, "_take", after=lambda *_: passing("take.after"))
    around(taking, "take", after=lambda *_: passing("start.journal_in_transaction"))


def _in_replica(passing: Passing) -> None:
    from conflux.node.member_work import MemberWork
    from conflux.node.replica import Replica
    from conflux.raft.core import Raft

    around(Raft, "propose", before=lambda *_: passing("propose.before"), after=lambda *_: passing("propose.after"))

    def before_apply(self: Any, _seconds: float) -> None:
        if self.is_behind:
            passing("commit.before_apply")

    around(Replica, "apply", before=before_apply)
    around(MemberWork, "applied", before=lambda *_: passing("apply.before_answer"))
    write_commit_index = Replica.write_commit_index

    def wrapped(self: Any) -> None:
        on_disk = self.commit_on_disk
        if on_disk < self.raft.commit_index and not self.is_stuck:
            passing("commit_index.before")
        write_commit_index(self)
        if self.commit_on_disk > on_disk:
            passing("commit_index.after")

    Replica.write_commit_index = wrapped  # type: ignore[method-assign]


def _in_links(passing: Passing) -> None:
    from conflux.node.links import Links
    from conflux.raft.messages import Accepted, Append, VoteReply, VoteRequest

    def point_of(message: Any) -> str | None:
        match message:
            case Append(entries=entries) if entries:
                return "append.{}_send"
            case Accepted():
                return "accepted.{}_send"
            case VoteReply(pre=False, granted=True):
                return "vote.{}_send"
            case VoteRequest(pre=False):
                return "vote.request_{}_send"
            case _:
                return None

    def at(when: str) -> Callable[[Any, Any], None]:
        def sent(_self: Any, envelope: Any) -> None:
            if point := point_of(envelope.message):
                passing(point.format(when))

        return sent

    around(Links, "send_raft", before=at("before"), after=at("after"))


def _in_answers(passing: Passing) -> None:
    from conflux.node.desk import Desk
    from conflux.wire.clients import Answers, StatePart

    def before(_self: Any, _origin: Any, message: Any) -> None:
        if isinstance(message, Answers):
            passing("answer.before")
        elif isinstance(message, StatePart):
            passing("read.before_answer")

    def after(_self: Any, _origin: Any, message: Any) -> None:
        if isinstance(message, Answers):
            passing("answer.after")

    around(Desk, "reply", before=before, after=after)


def _at_start(passing: Passing) -> None:
    from conflux.node import opening, replica
    from conflux.storage import layout, lmdb_storage

    around(lmdb_storage, "recover", before=lambda *_: passing("start.before_recovery"))
    around(layout, "checked_term", before=lambda *_: passing("start.reading"))
    around(replica, "fold", before=lambda *_: passing("start.folding"))
    around(opening, "_checked", after=lambda *_: passing("start.before_listening"))


def _in_formation(passing: Passing) -> None:
    from conflux.node import directory

    for function, point in (("create", "self"), ("record_accepted", "accepted"), ("record_formed", "formed")):
        around(
            directory,
            function,
            before=lambda *_, point=point, **__: passing(f"form.before_{point}"),
            after=lambda *_, point=point, **__: passing(f"form.after_{point}"),
        )


def _in_compaction(passing: Passing) -> None:
    from conflux.storage import lmdb_storage
    from conflux.storage.lmdb_storage import LmdbStorage
    from conflux.storage.snapshot_writer import LmdbSnapshotWriter
    from conflux.storage.snapshots import LmdbSnapshots

    def at(point: str) -> Callable[..., None]:
        return lambda *_, **__: passing(point)

    installing = False

    def begun(*_: Any, **__: Any) -> None:
        nonlocal installing
        installing = True

    def installed(*_: Any, **__: Any) -> None:
        nonlocal installing
        installing = False
        passing("base.installed")

    around(LmdbSnapshots, "begin", after=at("snapshot.begun"))
    around(LmdbSnapshotWriter, "write", after=at("snapshot.written"))
    around(LmdbSnapshotWriter, "start_finish", before=at("snapshot.before_end"))
    around(LmdbSnapshotWriter, "_sync", before=at("snapshot.before_sync"), after=at("snapshot.after_sync"))
    around(LmdbSnapshotWriter, "_rename", after=at("snapshot.after_rename"))
    around(LmdbSnapshotWriter, "finish", after=at("snapshot.finished"))
    around(LmdbStorage, "install_base", before=begun, after=installed)
    around(lmdb_storage, "take", after=lambda *_: passing("base.in_transaction") if installing else None)
    around(LmdbStorage, "_delete", after=at("compact.in_transaction"))
    around(LmdbStorage, "compact_some", after=at("compact.after"))
    around(LmdbSnapshots, "_remove", after=at("snapshot.removed"))


def _in_archive(passing: Passing) -> None:
    from conflux.storage.archive import Archive
    from conflux.storage.artefact import ArtefactWriter

    def at(point: str) -> Callable[..., None]:
        return lambda *_, **__: passing(point)

    around(Archive, "begin", after=at("archive.begun"))
    around(ArtefactWriter, "finish", before=at("archive.before_sync"), after=at("archive.after_rename"))
    around(Archive, "add", after=at("archive.added"))


def _in_installation(passing: Passing) -> None:
    from conflux.node.installing import Installer
    from conflux.node.replica import Replica
    from conflux.storage.lmdb_storage import LmdbStorage

    installing = False

    def taken(self: Any, _part: Any) -> None:
        progress = self.progress()
        if progress is not None and 0 < progress["bytes"] < progress["bytes_total"]:
            passing("install.between_chunks")

    def before(*_: Any) -> None:
        nonlocal installing
        installing = True
        passing("install.before_base")

    def after(*_: Any) -> None:
        nonlocal installing
        installing = False
        passing("install.after_swap")

    def base(*_: Any, **__: Any) -> None:
        if installing:  # a cut of the log has points of its own
            passing("install.after_base")

    around(Installer, "take", after=taken)
    around(Installer, "_finished", before=lambda *_: passing("install.received"))
    around(Replica, "install", before=before, after=after)
    around(LmdbStorage, "install_base", after=base)


def _in_changes(passing: Passing) -> None:
    from conflux.node.desk import Desk
    from conflux.raft.core import Raft
    from conflux.raft.entry import Kind
    from conflux.storage.lmdb_storage import LmdbStorage
    from conflux.wire.clients import Changed

    def at(point: str) -> Callable[..., None]:
        def persisting(_self: Any, *, entries: Any, **_rest: Any) -> None:
            if any(entry.kind is Kind.MEMBERSHIP for entry in entries):
                passing(point)

        return persisting

    def answering(_self: Any, _origin: Any, message: Any) -> None:
        if isinstance(message, Changed):
            passing("members.before_answer")

    around(Raft, "change_membership", after=lambda *_: passing("members.appended"))
    around(LmdbStorage, "persist", before=at("members.before_persist"), after=at("members.after_persist"))
    around(Desk, "reply", before=answering)
