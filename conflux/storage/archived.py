"""Reading archives: which entries they hold, and the history that several of them give together.

Committed entries are the same on every node of a cluster, so what one archive lacks another one may have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from conflux.errors import Damaged, WrongDirectory
from conflux.raft.entry import Entry
from conflux.storage.archive import OWNER_FILE, Owner, Segment, owner_of, segments_of
from conflux.storage.saved import ArchivedLog, SavedSnapshot, archived_header, load_archived

Contents = tuple[Iterator[bytes], Iterator[Entry]]  # the base's chunks, then the entries: to be read in this order


@dataclass(frozen=True, slots=True)
class ReadArchive:
    """One node's archive, as it stands."""

    directory: Path
    owner: Owner
    segments: tuple[tuple[Segment, ArchivedLog], ...]

    @property
    def cluster_ids(self) -> set[str]:
        """Of its files: one, unless somebody mixed them up."""
        return {header.cluster_id for _, header in self.segments}


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """Entries that can be read somewhere: a file of an archive, or what a node's directory still holds."""

    first_index: int
    last_index: int
    node: str  # label
    app: str
    app_version: int
    base: SavedSnapshot | None  # the state before the first one
    open: Callable[[], Contents]


@dataclass(frozen=True, slots=True)
class Run:
    """Pieces that follow one another without a gap."""

    pieces: tuple[Piece, ...]

    @property
    def first_index(self) -> int:
        return self.pieces[0].first_index

    @property
    def last_index(self) -> int:
        return self.pieces[-1].last_index

    @property
    def base(self) -> SavedSnapshot | None:
        return self.pieces[0].base

    def replayable(self) -> Run | None:
        """The longest end of it that begins with a state, or with the first entry of all."""
        for place, piece in enumerate(self.pieces):
            if piece.base is not None or piece.first_index == 1:
                return Run(self.pieces[place:])
        return None

    def contents(self) -> Contents:
        """What stands in it. Each file is read to its end, so all checksums are looked at; raises Damaged."""
        chunks, first = self.pieces[0].open()
        return chunks, self._entries(first)

    def _entries(self, entries: Iterator[Entry]) -> Iterator[Entry]:
        expected = self.first_index
        for number, piece in enumerate(self.pieces):
            if number:
                chunks, entries = piece.open()
                for _ in chunks:
                    pass  # a state that is not needed here
            for entry in entries:
                if entry.index == expected:  # else an earlier piece had it
                    yield entry
                    expected += 1
            if expected != piece.last_index + 1:
                raise Damaged(f"entry {expected} is missing where {piece.node} should have it", hint="")


def look(place: Path) -> list[ReadArchive]:
    """The archives in a directory: each node's below it, or the one that it is.

    Raises:
        WrongDirectory: there's none.
        NewerFormat, Damaged, DirectoryError: one can't be read.
    """
    is_one = (place / OWNER_FILE).exists()
    directories = [place] if is_one else sorted(path.parent for path in place.glob(f"*/{OWNER_FILE}"))
    if not directories:
        hint = "Name the DIR that `conflux start --archive DIR` was given."
        raise WrongDirectory(f"{place} holds no archive", hint=hint)
    return [_look_at(directory) for directory in directories]


def pieces_of(archive: ReadArchive) -> list[Piece]:
    """The files of an archive."""
    return [_piece(segment, header) for segment, header in archive.segments]


def runs_of(pieces: Iterable[Piece]) -> list[Run]:
    """The runs that these pieces give together, in order; what lies between two of them is in none."""
    left = sorted(pieces, key=lambda piece: (piece.first_index, -piece.last_index))
    runs: list[list[Piece]] = []
    end = 0
    while left := [piece for piece in left if piece.last_index > end]:
        following = [piece for piece in left if piece.first_index <= end + 1]
        if following:
            chosen = max(following, key=lambda piece: piece.last_index)
        else:
            first = left[0].first_index
            # A state to begin with is worth more than the longest piece.
            chosen = min(left, key=lambda piece: (piece.first_index != first, piece.base is None, -piece.last_index))
        if not runs or not following:
            runs.append([])
        runs[-1].append(chosen)
        end = chosen.last_index
    return [Run(tuple(run)) for run in runs]


def _look_at(directory: Path) -> ReadArchive:
    segments = segments_of(directory)
    return ReadArchive(directory, owner_of(directory), tuple((each, _header(each)) for each in segments))


def _header(segment: Segment) -> ArchivedLog:
    header = archived_header(segment.path)
    if (header.first_index, header.last_index) != (segment.first_index, segment.last_index):
        holds = f"entries {header.first_index} to {header.last_index}"
        raise Damaged(f"{segment.path} holds {holds}, which its name does not say", hint="Give it its name back.")
    return header


def _piece(segment: Segment, header: ArchivedLog) -> Piece:
    def contents() -> Contents:
        _, chunks, entries = load_archived(segment.path)
        return chunks, entries

    return Piece(
        first_index=segment.first_index,
        last_index=segment.last_index,
        node=header.node,
        app=header.app,
        app_version=header.app_version,
        base=header.base,
        open=contents,
    )
