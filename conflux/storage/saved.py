"""What artefacts hold: a snapshot that was saved, a log that was exported, or a part of a log that was archived."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

from conflux.errors import ConfluxError, Damaged
from conflux.raft.entry import Entry
from conflux.storage import layout
from conflux.storage.artefact import CHUNK, ENTRY, HEADER, OTHER_COPY, ArtefactWriter, read_blocks
from conflux.storage.interface import SnapshotHeader
from conflux.storage.snapshot_layout import SnapshotHasher


class SavedSnapshot(Struct, tag_field="kind", tag="snapshot", frozen=True):
    """The header of a saved snapshot, whose body follows in chunks."""

    cluster: str
    cluster_id: str  # of the cluster that it comes from
    app: str
    app_version: int
    saved_us: int  # wall time
    index: int
    term: int
    revision: int
    fields: bytes
    body_bytes: int
    checksum: bytes  # of the snapshot, as on a node's disk

    @property
    def header(self) -> SnapshotHeader:
        return SnapshotHeader(index=self.index, term=self.term, revision=self.revision, fields=self.fields)


class SavedLog(Struct, tag_field="kind", tag="log", frozen=True):
    """The header of an exported log: chunks of the snapshot that it begins with follow, then its entries."""

    cluster: str
    cluster_id: str
    node: str  # label of the one whose directory it was read from
    app: str
    app_version: int
    saved_us: int
    base: SavedSnapshot | None  # None: the log goes back to the beginning
    first_index: int
    last_index: int


class ArchivedLog(Struct, tag_field="kind", tag="archive", frozen=True):
    """The header of a file of an archive: chunks of the snapshot that it begins with follow, then its entries."""

    cluster: str
    cluster_id: str
    node: str  # label of the one that wrote it
    identity: str
    app: str
    app_version: int
    saved_us: int
    base: SavedSnapshot | None  # None: it goes on where another ends, or nothing is kept of what was before
    first_index: int
    last_index: int
    first_revision: int  # of the next action behind what was before
    last_revision: int

    def encoded(self) -> bytes:
        """As the first block holds it."""
        return _encode(self)


_encode = msgspec.msgpack.Encoder().encode
Header = TypeVar("Header", SavedSnapshot, SavedLog, ArchivedLog)
Log = SavedLog | ArchivedLog


def save_snapshot(path: Path, saved: SavedSnapshot, chunks: Iterable[bytes], *, force: bool) -> None:
    """Write a snapshot into a file.

    Raises:
        ConfluxError: the file is there already, or the system refuses.
        Damaged: the chunks are not that snapshot.
    """
    with ArtefactWriter(path, force=force) as writer:
        writer.write(HEADER, _encode(saved))
        for chunk in _checked(saved, chunks, "the snapshot that was sent"):
            writer.write(CHUNK, chunk)
        writer.finish()


def save_log(path: Path, saved: SavedLog, chunks: Iterable[bytes], entries: Iterable[Entry], *, force: bool) -> None:
    """Write a log into a file. Raises as `save_snapshot` does."""
    with ArtefactWriter(path, force=force) as writer:
        writer.write(HEADER, _encode(saved))
        if saved.base is not None:
            for chunk in _checked(saved.base, chunks, "the snapshot"):
                writer.write(CHUNK, chunk)
        for entry in entries:
            writer.write(ENTRY, layout.entry_key(entry.index) + layout.encode_entry(entry))
        writer.finish()


def load_snapshot(path: Path) -> tuple[SavedSnapshot, Iterator[bytes]]:
    """The header of a saved snapshot, and its chunks. Nothing is to be trusted before they came to their end.

    Raises:
        ConfluxError: it can't be read, or holds something else.
        NewerFormat: a later version wrote it.
        Damaged: it isn't what was written; the chunks raise that too.
    """
    blocks = read_blocks(path)
    saved = _header(path, blocks, SavedSnapshot, "a saved snapshot")
    return saved, _checked(saved, (content for _, content in blocks), str(path))


def load_log(path: Path) -> tuple[SavedLog, Iterator[bytes], Iterator[Entry]]:
    """Header, chunks and entries of an exported log, to be read in this order. Raises as `load_snapshot` does."""
    blocks = read_blocks(path)
    saved = _header(path, blocks, SavedLog, "an exported log")
    return saved, *_contents(path, saved, blocks)


def archived_header(path: Path) -> ArchivedLog:
    """The header of a file of an archive, without the rest of it. Raises as `load_snapshot` does."""
    blocks = read_blocks(path)
    try:
        return _header(path, blocks, ArchivedLog, "a file of an archive")
    finally:
        blocks.close()


def load_archived(path: Path) -> tuple[ArchivedLog, Iterator[bytes], Iterator[Entry]]:
    """The same of a file of an archive."""
    blocks = read_blocks(path)
    saved = _header(path, blocks, ArchivedLog, "a file of an archive")
    return saved, *_contents(path, saved, blocks)


def _contents(path: Path, saved: Log, blocks: Iterator[tuple[int, bytes]]) -> tuple[Iterator[bytes], Iterator[Entry]]:
    """Chunks and entries of a log."""
    pending: list[bytes] = []  # the first entry, which ends the chunks

    def chunks() -> Iterator[bytes]:
        for type_, content in blocks:
            if type_ != CHUNK:
                pending.append(content)
                return
            yield content

    def entries() -> Iterator[Entry]:
        expected = saved.first_index
        while True:
            content = pending.pop() if pending else next(blocks, (0, None))[1]
            if content is None:
                break
            entry = _entry(path, content)
            if entry.index != expected:
                raise Damaged(f"{path} goes on with entry {entry.index}, not {expected}", hint="")
            expected += 1
            yield entry
        if expected != saved.last_index + 1:
            raise Damaged(f"{path} ends with entry {expected - 1}, not {saved.last_index}", hint="")

    base: Iterator[bytes] = iter(()) if saved.base is None else _checked(saved.base, chunks(), str(path))
    return base, entries()


_HINTS: dict[type, str] = {
    SavedSnapshot: "`conflux snapshot restore` reads saved snapshots.",
    SavedLog: "`conflux replay` reads exported logs.",
    ArchivedLog: "`conflux export --archive` reads archives, as a whole.",
}


def _header(path: Path, blocks: Iterator[tuple[int, bytes]], kind: type[Header], what: str) -> Header:
    type_, content = next(blocks, (0, b""))
    try:
        saved = msgspec.msgpack.decode(content, type=SavedSnapshot | SavedLog | ArchivedLog)
    except ValueError as error:
        raise Damaged(f"{path}: its header does not decode: {error}", hint="") from error
    if type_ != HEADER or not isinstance(saved, kind):
        raise ConfluxError(f"{path} is not {what}", hint=_HINTS[type(saved)])
    return saved


def _checked(saved: SavedSnapshot, chunks: Iterable[bytes], what: str) -> Iterator[bytes]:
    """The chunks, and at their end the certainty that they are the whole snapshot."""
    hasher, body_bytes = SnapshotHasher(saved.header), 0
    for chunk in chunks:
        hasher.update(chunk)
        body_bytes += len(chunk)
        yield chunk
    if body_bytes != saved.body_bytes or hasher.digest() != saved.checksum:
        raise Damaged(f"{what} does not match its checksum", hint="")


def _entry(path: Path, content: bytes) -> Entry:
    try:
        return layout.decode_entry(layout.entry_position(content[:8]), memoryview(content)[8:])
    except Damaged as error:
        raise Damaged(f"{path}: {error}", hint=OTHER_COPY) from error
